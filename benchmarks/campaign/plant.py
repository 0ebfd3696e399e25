"""The plant of the campaign: simulator, broker, host, gateway; each can be killed, each link be made bad."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from benchmarks.campaign.rough_link import RoughLink
from benchmarks.campaign.witness import Key, Kill, Metronome, Stop, Truth
from firmware_sim.demo.host_api import HostApi, Row
from firmware_sim.demo.processes import Child, DemoError, free_port, gaugeline, wait_for_port
from tests.servers import InfluxDB, Mosquitto

GROUP, GATEWAY, HOST = "campaign", "gw", "gaugeline"
DEVICES, TAGS = ("d1", "d2"), ("a", "b", "c")
KEYS: tuple[Key, ...] = tuple((device, tag) for device in DEVICES for tag in TAGS)
LINE_OF = {device: f"line-{device}" for device in DEVICES}
KEEPALIVE_S = 5  # the shortest that site.yaml takes: half-open connections are found in 8 s
Store = Literal["duckdb", "influx"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def scenario(seed: int) -> str:
    """Counters of milliseconds, so that no value comes twice; each tag has its own hundred million."""
    source = {"kind": "counter", "rate_per_s": 1000.0}
    return json.dumps(
        {
            "name": "campaign",
            "seed": seed,
            "lines": [{"name": line, "kind": "modbus-tcp"} for line in LINE_OF.values()],
            "devices": [
                {
                    "id": device,
                    "model": "registers",
                    "line": LINE_OF[device],
                    "unit_id": 1,
                    "step_s": 0.001,
                    "signals": [
                        {"name": tag, "address": 2 * i, "type": "uint32", "source": {**source, "start": i * 1e8}}
                        for i, tag in enumerate(TAGS)
                    ],
                }
                for device in DEVICES
            ],
        }
    )


class Plant:
    """start, then anything, then stop. kills and stops are what the judge needs to know of it.

    gaps_due: gap records of a kill that must stand in the end; gaps_more: those that may.
    """

    def __init__(self, folder: Path, seed: int, store: Store) -> None:
        self.folder, self.store, self.dice = folder, store, random.Random(seed)
        for part in ("", "gateway", "host"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.broker = Mosquitto(folder / "broker")
        self.influx = InfluxDB(folder / "influx") if store == "influx" else None
        self.gateway_link = RoughLink(self.broker.port, random.Random(seed + 1))
        self.host_link = RoughLink(self.broker.port, random.Random(seed + 2))
        self.database_link = RoughLink(self.influx.port, random.Random(seed + 3), mqtt=False) if self.influx else None
        self.truth = Truth(folder / "truth.jsonl")
        self.site, self.outbox = folder / "site.yaml", folder / "gateway" / "outbox.db"
        self.api = HostApi(f"http://127.0.0.1:{free_port()}")
        (folder / "scenario.yaml").write_text(scenario(seed))
        self.simulator = self._child(
            "simulator", "sim", "run", str(folder / "scenario.yaml"), "--truth", str(folder / "truth.jsonl"), out=True
        )
        self.gateway = self._child("gateway", "gateway", "run", str(self.site))
        self.host: Child | None = None
        self.metronome = Metronome(folder)
        self.kills: list[Kill] = []
        self.stops: list[Stop] = []
        self.gaps_due = self.gaps_more = 0
        self.collisions_allowed = False
        self._began = False
        self.started_ms = 0

    def _child(self, name: str, *arguments: str, out: bool = False) -> Child:
        return Child(name, gaugeline(*arguments), self.folder, read_stdout=out)

    def start(self) -> None:
        self.broker.start()
        links = [self.gateway_link, self.host_link]
        if self.influx is not None and self.database_link is not None:
            self.influx.start()
            links.append(self.database_link)
        for link in links:
            link.start()
        self.metronome.start()
        self._began = True
        self.started_ms = now_ms()
        self.simulator.start()
        where = {entry["id"]: entry for entry in json.loads(self.simulator.stdout.readline())["devices"]}
        self.site.write_text(self.site_text(where, self.outbox))
        store = f"duckdb:{self.folder / 'host' / 'samples.duckdb'}"
        if self.database_link is not None:
            store = f"influxdb+v1://127.0.0.1:{self.database_link.port}/campaign"
        self.host = self._child(
            *("host", "cloud", "run", "--broker", f"mqtt://127.0.0.1:{self.host_link.port}", "--store", store),
            *("--state", str(self.folder / "host" / "state.db"), "--host-id", HOST),
            *("--http", self.api.url.removeprefix("http://")),
        )
        self.start_host()
        self.gateway.start()
        self._where = where
        self.wait_flowing()

    def site_text(self, where: dict[str, dict[str, Any]], outbox: Path) -> str:
        tags = [{"name": t, "table": "holding", "address": 2 * i, "type": "uint32"} for i, t in enumerate(TAGS)]
        broker = {"url": f"mqtt://127.0.0.1:{self.gateway_link.port}", "keepalive_s": KEEPALIVE_S}
        return json.dumps(
            {
                "group": GROUP,
                "gateway": GATEWAY,
                "broker": broker,
                "hosts": [HOST],
                "outbox": {"path": str(outbox)},
                "lines": [
                    {"name": LINE_OF[d], "driver": "modbus-tcp", "host": where[d]["host"], "port": where[d]["port"],
                     "timeout_s": 1.0, "fault_reserve": False}
                    for d in DEVICES
                ],
                "devices": [{"id": d, "line": LINE_OF[d], "period_s": 0.1, "tags": tags} for d in DEVICES],
            }
        )  # fmt: skip

    def second_gateway(self) -> Child:
        """Another one with the same id and devices, and an outbox of its own; not started."""
        site = self.folder / "second.yaml"
        site.write_text(self.site_text(self._where, self.folder / "gateway" / "second.db"))
        return self._child("second-gateway", "gateway", "run", str(site))

    def stop(self) -> None:
        for child in (self.gateway, self.host, self.simulator):
            if child is not None:
                child.end(15)
        if self._began:
            self.metronome.stop()
            for link in (self.gateway_link, self.host_link, self.database_link):
                if link is not None:
                    link.stop()
        for server in (self.broker, self.influx):
            if server is not None:
                with suppress(ProcessLookupError):
                    if server.process is not None:
                        server.process.send_signal(signal.SIGCONT)
                server.stop()

    # The gateway

    def kill_gateway(self, starting: bool = False) -> None:
        """kill -9, and the note of it. starting: perhaps before it opened its outbox, which leaves no trace then."""
        self.kills.append(Kill(now_ms(), self.metronome.late_ms()))
        kill(self.gateway)
        if starting:
            self.gaps_more += 1
        else:
            self.gaps_due += 1

    def stop_gateway(self, child: Child | None = None) -> int | None:
        """SIGTERM; the gateway drains. The exit code."""
        child = child or self.gateway
        began = now_ms()
        code = child.end(20)
        self.stops.append(Stop(began, now_ms()))
        return code

    def status(self) -> dict[str, Any]:
        """`gaugeline gateway status`: for waiting, never for judging."""
        command = gaugeline("gateway", "status", str(self.site), "--json")
        answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, start_new_session=True)
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    # The host

    def start_host(self) -> None:
        host = self.the_host
        host.start()
        wait_for_port(host, "127.0.0.1", int(self.api.url.rpartition(":")[2]), 60.0)
        self.api.wait_ready(host, 60.0)

    @property
    def the_host(self) -> Child:
        if self.host is None:
            raise DemoError("the plant was not started")
        return self.host

    def rows(self, from_ms: int) -> dict[Key, list[Row]]:
        """Raises DemoError while the host or its database does not answer."""
        to_ms = now_ms() + 2000
        where = {"group": GROUP, "node": GATEWAY}
        return {(d, t): self.api.raw_series({**where, "device": d, "name": t}, max(0, from_ms), to_ms) for d, t in KEYS}

    def wait_flowing(self, gateway: Child | None = None, timeout_s: float = 60.0) -> None:
        """Until every tag has a row that was taken after this call."""
        since, until = now_ms(), time.monotonic() + timeout_s
        while True:
            (gateway or self.gateway).check()
            with suppress(DemoError):
                if all(rows for rows in self.rows(since).values()):
                    return
            if time.monotonic() > until:
                raise DemoError(f"no fresh rows within {timeout_s:g} s:\n{self.gateway.last_words()}")
            time.sleep(0.2)

    @contextmanager
    def small_disk(self, part: Literal["gateway", "host"], megabytes: int) -> Iterator[Path]:
        """The part's folder on a disk of its own of so many MB; its process is stopped around both moves."""
        folder = self.folder / part
        stop, start = (
            (self.stop_gateway, self.gateway.start) if part == "gateway" else (self.the_host.end, self.start_host)
        )
        stop()
        aside = folder.with_name(f"{part}-aside")
        folder.rename(aside)
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True, ignore=_no_sockets)
            start()
            yield folder
            stop()
        finally:
            shutil.rmtree(aside)
            shutil.copytree(folder, aside, ignore=_no_sockets)
            subprocess.run(["umount", str(folder)], check=True)
            folder.rmdir()
            aside.rename(folder)
        start()


def kill(child: Child) -> None:
    """kill -9 of one process."""
    if child.process is not None:
        child.process.kill()
        child.process.wait(10)


def _no_sockets(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_socket() or name == "filler"}
