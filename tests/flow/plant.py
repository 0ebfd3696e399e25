"""A whole plant for flow tests: simulator, broker, gateway and hosts as processes that may be killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firmware_sim.demo.host_api import HostApi, Row
from firmware_sim.demo.processes import Child, gaugeline, wait_for_port
from firmware_sim.demo.site import site_yaml
from firmware_sim.demo.witness import Served, read_truth, served_values
from tests.servers import Mosquitto, free_port


@dataclass
class Host:
    """One cloud process with its own store, host id and page."""

    name: str
    store: str
    folder: Path
    broker_url: str
    port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def api(self) -> HostApi:
        return HostApi(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        command = gaugeline(
            *("cloud", "run", "--broker", self.broker_url, "--store", self.store, "--host-id", self.name),
            *("--state", str(self.folder / f"{self.name}.state.db"), "--http", f"127.0.0.1:{self.port}"),
        )
        self.child = Child(f"cloud-{self.name}", command, self.folder)
        self.child.start()
        wait_for_port(self.child, "127.0.0.1", self.port)
        self.api.wait_ready(self.child)

    def kill(self) -> None:
        assert self.child is not None
        assert self.child.process is not None
        self.child.process.kill()
        self.child.process.wait(60)

    def rows(self, from_ms: int, to_ms: int) -> dict[tuple[str, str], list[Row]]:
        """(device, tag) -> every stored row."""
        return {(t["device"], t["name"]): self.api.raw_series(t, from_ms, to_ms) for t in self.api.tags()}


class Plant:
    """The demo's site on real servers, with as many hosts as named; the gateway waits for all of them."""

    def __init__(self, folder: Path, stores: dict[str, str]) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder / "broker")
        self.hosts = {name: Host(name, store, folder, self.broker.url) for name, store in stores.items()}
        self.truth_path = folder / "truth.jsonl"
        self.site = folder / "site.yaml"
        command = gaugeline("sim", "run", "demo", "--truth", str(self.truth_path), "--seed", "7")
        self.simulator = Child("simulator", command, folder, read_stdout=True)
        self.gateway = Child("gateway", gaugeline("gateway", "run", "--verbose", str(self.site)), folder)
        self.started_ms = now_ms()

    def start(self) -> None:
        self.broker.start()
        self.simulator.start()
        ready = json.loads(self.simulator.stdout.readline())
        text = site_yaml({entry["id"]: entry for entry in ready["devices"]}, self.broker.port)
        self.site.write_text(text.replace("hosts: [gaugeline]", f"hosts: [{', '.join(self.hosts)}]"))
        for host in self.hosts.values():
            host.start()
        self.gateway.start()

    def stop(self) -> None:
        self.gateway.end(60)
        for host in self.hosts.values():
            if host.child is not None:
                host.child.end()
        self.simulator.end()
        self.broker.stop()

    def kill_gateway(self) -> int:
        """kill -9. Returns the time just before it."""
        assert self.gateway.process is not None
        at = now_ms()
        self.gateway.process.kill()
        self.gateway.process.wait(60)
        return at

    def truth(self) -> Served:
        return served_values(read_truth(self.truth_path))

    def outbox(self) -> dict[str, Any]:
        """What the outbox says of itself; the gateway may run or not."""
        command = gaugeline("gateway", "status", str(self.site), "--json")
        answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
        status: dict[str, Any] = json.loads(answer.stdout)
        return status

    def wait_stored(self, more_than: int, hosts: Sequence[str] = (), timeout_s: float = 90.0) -> None:
        """Returns once each host stored more than so many samples."""
        for name in hosts or self.hosts:
            until = time.monotonic() + timeout_s
            while (stored := self.hosts[name].api.balance()["stored"]) <= more_than:
                self.gateway.check()
                assert time.monotonic() < until, f"{name} stored {stored} samples, not more than {more_than}"
                time.sleep(0.2)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
