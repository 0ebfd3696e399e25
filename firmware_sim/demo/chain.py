"""The demo's processes in their order: broker, simulator, cloud, gateway; and back again."""

from __future__ import annotations

import json
import select
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.demo.broker import broker_child
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, DemoError, check_port, free_port, gaugeline, wait_for_port
from firmware_sim.demo.site import GATEWAY, HOST, site_yaml

MARK = "gaugeline-demo.txt"
"""Stands in a folder that the demo made, so that it never empties anybody else's."""


@dataclass(frozen=True)
class DemoSettings:
    """What a person may choose. broker_port 0 takes any free port."""

    folder: Path
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    broker_port: int = 0
    store: str = ""
    seed: int = 1
    embedded_broker: bool = False


class Chain:
    """Everything that runs. start() raises DemoError with what to do; stop() may be called at any time."""

    def __init__(self, settings: DemoSettings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.folder = settings.folder.resolve()
        self.children: dict[str, Child] = {}
        self.api = HostApi(f"http://{settings.http_host}:{settings.http_port}")
        self.truth = self.folder / "truth.jsonl"
        self.site = self.folder / "site.yaml"
        self.started_ms = 0
        self.broker_name = ""
        self.gateway = GATEWAY

    def start(self) -> None:
        check_port(self.settings.http_host, self.settings.http_port, "--http HOST:PORT (make demo PORT=...)")
        port = self.settings.broker_port or free_port()
        check_port("127.0.0.1", port, "--broker-port")
        self._empty_folder()
        self.started_ms = time.time_ns() // 1_000_000
        if self.settings.store:
            # A database that outlives the run holds the rows of earlier ones: a name of its own keeps them apart.
            self.gateway = f"{GATEWAY}-{self.started_ms // 1000}"
        broker, self.broker_name = broker_child(self.folder, port, embedded=self.settings.embedded_broker)
        self._start(broker)
        wait_for_port(broker, "127.0.0.1", port)
        self.say(f"broker     {self.broker_name} on 127.0.0.1:{port}")
        self._start_simulator(port)
        self._start_cloud(port)
        gateway = Child("gateway", gaugeline("gateway", "run", str(self.site)), self.folder)
        self._start(gateway)
        self._wait_for_gateway(gateway)
        self.say(f"gateway    {self.site}")

    def _empty_folder(self) -> None:
        if self.folder.exists():
            if not (self.folder / MARK).exists() and any(self.folder.iterdir()):
                raise DemoError(f"{self.folder} holds files that are not the demo's: choose another with --folder")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        (self.folder / MARK).write_text("Made by `gaugeline demo`, which empties this folder at every start.\n")

    def _start(self, child: Child) -> None:
        self.children[child.name] = child
        child.start()

    def _start_simulator(self, broker_port: int) -> None:
        command = gaugeline("sim", "run", "demo", "--truth", str(self.truth), "--seed", str(self.settings.seed))
        simulator = Child("simulator", command, self.folder, read_stdout=True)
        self._start(simulator)
        ready = self._ready_line(simulator)
        devices = {entry["id"]: entry for entry in ready["devices"]}
        self.site.write_text(site_yaml(devices, broker_port, self.gateway))
        for name, entry in devices.items():
            where = f"{entry['host']}:{entry['port']}" if "host" in entry else entry["port"]
            self.say(f"device     {name:14} {entry['kind']:12} {where}")

    def _wait_for_gateway(self, gateway: Child, timeout_s: float = 30.0) -> None:
        """Until it answers questions: from then on a SIGTERM ends it in order, with its outbox in place."""
        until = time.monotonic() + timeout_s
        while not (self.folder / "outbox.db.sock").exists():
            gateway.check()
            if time.monotonic() > until:
                raise DemoError(f"the gateway does not answer after {timeout_s:.0f} s:\n{gateway.last_words()}")
            time.sleep(0.05)

    @staticmethod
    def _ready_line(simulator: Child, timeout_s: float = 30.0) -> dict[str, Any]:
        readable, _, _ = select.select([simulator.stdout], [], [], timeout_s)
        line = simulator.stdout.readline() if readable else b""
        if not line:
            simulator.check()
            raise DemoError(f"the simulator was not ready after {timeout_s:.0f} s:\n{simulator.last_words()}")
        ready: dict[str, Any] = json.loads(line)
        return ready

    def _start_cloud(self, broker_port: int) -> None:
        store = self.settings.store or f"duckdb:{self.folder / 'samples.duckdb'}"
        command = gaugeline(
            *("cloud", "run", "--broker", f"mqtt://127.0.0.1:{broker_port}", "--store", store),
            *("--state", str(self.folder / "state.db"), "--host-id", HOST),
            *("--http", f"{self.settings.http_host}:{self.settings.http_port}"),
        )
        cloud = Child("cloud", command, self.folder)
        self._start(cloud)
        wait_for_port(cloud, self.settings.http_host, self.settings.http_port)
        self.api.wait_ready(cloud)
        self.say(f"cloud      store {store}")

    def check(self) -> None:
        """Raises DemoError when a process has ended by itself; takes memory and CPU of each."""
        for child in self.children.values():
            child.check()
            child.measure()

    def stop_sampling(self, drain_s: float = 10.0) -> None:
        """The gateway stops sampling, delivers what it holds for at most drain_s, and ends."""
        gateway = self.children["gateway"]
        gateway.measure()
        code = gateway.end(timeout_s=drain_s + 5.0)
        if code != 0:
            raise DemoError(f"the gateway ended with exit code {code}:\n{gateway.last_words()}")

    def stop(self) -> None:
        """Ends what still runs, in the order in which the data flows."""
        for name in ("gateway", "cloud", "simulator", "broker"):
            if name in self.children:
                self.children[name].end(timeout_s=15.0 if name == "gateway" else 8.0)
