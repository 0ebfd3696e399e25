"""A simulator, a mosquitto, a cloud host and a gateway, each a process of its own, for benchmarks of the whole."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.link import Link
from benchmarks.site_files import TAGS_PER_DEVICE, scenario, site
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, free_port, gaugeline, wait_for_port
from gateway.status import ask
from tests.servers import Mosquitto

OUTBOX = "outbox.db"


@dataclass(slots=True)
class Plant:
    """What runs. link: what the gateway speaks to the broker over. process: the gateway's."""

    folder: Path
    link: Link
    host: HostApi
    cloud: Child
    process: psutil.Process

    def status(self) -> dict[str, Any]:
        """What `gateway status --json` shows, without the second that a command takes to start."""
        return asyncio.run(ask(self.folder / OUTBOX, {"cmd": "status"}))

    def produced(self) -> int:
        return sum(int(entry["produced"]) for entry in self.status()["devices"].values())

    def restart_cloud(self) -> None:
        """So that its latencies are those from now on."""
        self.cloud.end(15)
        self.cloud.start()
        self.host.wait_ready(self.cloud)


@contextmanager
def running(
    folder: Path, tags: int, per_device: int = TAGS_PER_DEVICE, model: str | None = None, more: str = "{}"
) -> Iterator[Plant]:
    """The plant, one sample a second of each tag. more: JSON of further keys of site.yaml."""
    folder.mkdir()
    (folder / "scenario.yaml").write_text(scenario(tags, per_device))
    broker = Mosquitto(folder / "broker")
    port = free_port()
    simulator = Child("simulator", gaugeline("sim", "run", str(folder / "scenario.yaml")), folder, read_stdout=True)
    cloud_command = gaugeline(
        *("cloud", "run", "--broker", broker.url, "--store", f"duckdb:{folder / 'samples.duckdb'}"),
        *("--state", str(folder / "state.db"), "--http", f"127.0.0.1:{port}"),
    )
    cloud = Child("cloud", cloud_command, folder)
    gateway = Child("gateway", gaugeline("gateway", "run", str(folder / "site.yaml")), folder)
    try:
        broker.start()
        with Link(broker.port) as link:
            simulator.start()
            devices: list[dict[str, Any]] = json.loads(simulator.stdout.readline())["devices"]
            given = json.loads(site(devices, link.port, model, per_device)) | json.loads(more)
            given["outbox"] = {"path": OUTBOX}
            (folder / "site.yaml").write_text(json.dumps(given))
            cloud.start()
            wait_for_port(cloud, "127.0.0.1", port)
            host = HostApi(f"http://127.0.0.1:{port}")
            host.wait_ready(cloud)
            gateway.start()
            if gateway.process is None:
                raise RuntimeError("the gateway did not start")
            plant = Plant(folder, link, host, cloud, psutil.Process(gateway.process.pid))
            _wait_for_samples(plant, gateway)
            yield plant
            gateway.end(15)
    finally:
        for child in (gateway, cloud, simulator):
            child.end(15)
        broker.stop()


def _wait_for_samples(plant: Plant, gateway: Child, at_most_s: float = 60.0) -> None:
    """Reading a large site takes its time: what is measured begins when samples come."""
    until_s = time.monotonic() + at_most_s
    while plant.host.balance()["produced"] == 0:
        gateway.check()
        if time.monotonic() > until_s:
            raise TimeoutError(f"no sample within {at_most_s:g} s")
        time.sleep(0.5)
