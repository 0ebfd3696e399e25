"""The processes of the soak, what happens to them, and their memory second by second."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak_site import HOST, scenario, site, writable
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, DemoError, free_port, gaugeline, wait_for_port
from gateway.status import ask
from tests.servers import Mosquitto
from wire.errors import ConfigError

CALM_S = 15.0  # at the end, so that what was given up is found again: probes come every 3 s
WRITE_EVERY_S, STATUS_EVERY_S = 3.0, 5.0
Event = tuple[float, str, Callable[[], None]]


@dataclass
class Seen:
    """What was noted while the plant ran.

    memory: process -> (second, MB); a new process is a new name. writes: result -> how many.
    """

    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    disturbed: list[tuple[float, str]] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=dict)
    wrote: list[tuple[int, str]] = field(default_factory=list)  # epoch ms, line
    cpu_percent: dict[str, float] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    started_ms: int = 0
    began_ms: int = 0  # when the second 0 of all others was
    ended_ms: int = 0
    exit_code: int | None = None


class Soak:
    """start, run, stop_gateway; stop at any time. say: told of each disturbance. Times in seconds since start."""

    def __init__(
        self, folder: Path, seconds: float, seed: int, density: float = 1.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.folder, self.seconds, self.seed, self._say = folder, seconds, seed, say
        folder.mkdir(parents=True, exist_ok=True)
        self.faults_end_s = max(20.0, seconds - CALM_S - 15.0)  # the longest fault holds for 12 s
        self.broker = Mosquitto(folder / "broker")
        self.api = HostApi(f"http://127.0.0.1:{free_port()}")
        self.truth, self.site, self.outbox = folder / "truth.jsonl", folder / "site.yaml", folder / "outbox.db"
        (folder / "scenario.yaml").write_text(scenario(seed, self.faults_end_s, density))
        self.simulator = self._child("sim", "run", str(folder / "scenario.yaml"), "--truth", str(self.truth), out=True)
        self.cloud = self._child(
            *("cloud", "run", "--broker", self.broker.url, "--store", f"duckdb:{folder / 'samples.duckdb'}"),
            *("--state", str(folder / "state.db"), "--host-id", HOST, "--http", self.api.url.removeprefix("http://")),
        )
        self.gateway = self._child("gateway", "run", str(self.site))
        self.seen = Seen()
        self._where: dict[str, dict[str, Any]] = {}
        self._changed = False
        self._dice = random.Random(seed)
        self._hosts = 0
        self._began = 0.0

    def _child(self, *arguments: str, out: bool = False) -> Child:
        return Child(arguments[0], gaugeline(*arguments), self.folder, read_stdout=out)

    def start(self) -> None:
        self.broker.start()
        self.seen.started_ms = time.time_ns() // 1_000_000
        self.simulator.start()
        self._where = {entry["id"]: entry for entry in json.loads(self.simulator.stdout.readline())["devices"]}
        self.site.write_text(site(self._where, self.broker.port))
        self.cloud.start()
        wait_for_port(self.cloud, "127.0.0.1", int(self.api.url.rpartition(":")[2]))
        self.api.wait_ready(self.cloud)
        self.gateway.start()
        self._began, self.seen.began_ms = time.monotonic(), time.time_ns() // 1_000_000

    def now_s(self) -> float:
        return time.monotonic() - self._began

    def run(self, progress: Callable[[float, dict[str, Any]], None] = lambda done, status: None) -> None:
        """Until the time is over. Raises DemoError when gateway or simulator ended by itself."""
        events = sorted(self._events(), key=lambda event: event[0])
        write_s, status_s, second = 5.0, STATUS_EVERY_S, 0
        while (now := self.now_s()) < self.seconds:
            while events and events[0][0] <= now:
                _, name, act = events.pop(0)
                self.seen.disturbed.append((round(now, 1), name))
                self._say(f"{now:6.0f} s  {name}")
                act()
            if now >= write_s:
                write_s = now + WRITE_EVERY_S
                self._write()
            if now >= status_s:
                status_s = now + STATUS_EVERY_S
                self.seen.status = self.asked({"cmd": "status"}) or self.seen.status
                progress(now, self.seen.status)
            if now >= second:
                second = int(now) + 1
                self._measure(now)
            time.sleep(0.1)
        self.seen.status = self.asked({"cmd": "status"}) or self.seen.status

    def asked(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """The running gateway's answer; None when it gave none in time."""
        self.gateway.check()
        try:
            return asyncio.run(ask(self.outbox, command))
        except ConfigError:
            return None

    def _write(self) -> None:
        """A set point, up to where a clamping device holds it."""
        if self.now_s() > self.faults_end_s:
            return
        tag, value = self._dice.choice(writable()), round(self._dice.uniform(5, 60), 1)
        self.seen.wrote.append((time.time_ns() // 1_000_000, tag.rpartition("-")[0]))
        answer = self.asked({"cmd": "write", "tag": tag, "value": str(value)}) or {"error": "no answer"}
        result = str(answer.get("result", "error"))
        self.seen.writes[result] = self.seen.writes.get(result, 0) + 1

    def _measure(self, now: float) -> None:
        self.simulator.check()
        children = {"gateway": self.gateway.process, "simulator": self.simulator.process, "broker": self.broker.process}
        children[f"host-{self._hosts}" if self._hosts else "host"] = self.cloud.process
        for name, process in children.items():
            if process is not None and process.poll() is None:
                megabytes = psutil.Process(process.pid).memory_info().rss / 1e6
                self.seen.memory.setdefault(name, []).append((round(now, 1), round(megabytes, 3)))
        for name, process in (("gateway", self.gateway.process), ("simulator", self.simulator.process)):
            if process is not None and process.poll() is None:
                used = sum(psutil.Process(process.pid).cpu_times()[:2])
                self.seen.cpu_percent[name] = round(100 * used / max(now, 1.0), 1)

    def _events(self) -> Iterator[Event]:
        """Each disturbance in turn, in an order and at times that the seed says; all of them at least once."""
        yield from self._reload(8.0)  # early, because the first one brings the reader of YAML into memory for good
        kinds = [self._broker_restart, self._broker_frozen, self._host_killed, self._reload]
        mean_s = min(60.0, (self.faults_end_s - 15.0) / (len(kinds) + 1))
        at_s = 10.0
        while True:
            self._dice.shuffle(kinds)
            for kind in kinds:
                at_s += mean_s * self._dice.uniform(0.7, 1.2)
                if at_s > self.faults_end_s - 5.0:
                    return
                yield from kind(at_s)

    def _broker_restart(self, at_s: float) -> Iterator[Event]:
        yield at_s, "broker killed", self.broker.kill
        yield at_s + self._dice.uniform(1, 5), "broker started", self.broker.start

    def _broker_frozen(self, at_s: float) -> Iterator[Event]:
        yield at_s, "broker frozen", lambda: self._signal_broker(signal.SIGSTOP)
        yield at_s + self._dice.uniform(3, 9), "broker thawed", lambda: self._signal_broker(signal.SIGCONT)

    def _signal_broker(self, number: signal.Signals) -> None:
        if self.broker.process is not None:
            self.broker.process.send_signal(number)

    def _host_killed(self, at_s: float) -> Iterator[Event]:
        yield at_s, "host killed", self._kill_host
        yield at_s + self._dice.uniform(1, 4), "host started", self._start_host

    def _kill_host(self) -> None:
        if self.cloud.process is not None:
            self.cloud.process.kill()
            self.cloud.process.wait(5)

    def _start_host(self) -> None:
        self._hosts += 1
        self.cloud.start()

    def _reload(self, at_s: float) -> Iterator[Event]:
        yield at_s, "site.yaml changed", self._change_site

    def _change_site(self) -> None:
        """Two lines get or lose a tag; the gateway notices by itself within 2 s."""
        self._changed = not self._changed
        fresh = self.site.with_suffix(".new")
        fresh.write_text(site(self._where, self.broker.port, changed=self._changed))
        fresh.replace(self.site)

    def stop_gateway(self) -> None:
        """Sampling ends, what is held is delivered."""
        self.seen.exit_code = self.gateway.end(20)
        self.seen.ended_ms = time.time_ns() // 1_000_000

    def outbox_status(self) -> dict[str, Any]:
        """What the outbox file says of itself, after the gateway has ended."""
        command = gaugeline("gateway", "status", str(self.site), "--json")
        answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    def audit(self) -> dict[str, Any]:
        """`gaugeline cloud audit`. Raises DemoError when the host says nothing."""
        command = gaugeline("cloud", "audit", "--json", "--url", self.api.url)
        answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=90)
        if not answer.stdout:
            raise DemoError(f"no audit: {answer.stderr.strip()}")
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    def reserves_s(self) -> dict[str, float]:
        """Line -> the reserve for one silent device, as `gaugeline gateway plan` says it."""
        command = gaugeline("gateway", "plan", str(self.site), "--json")
        answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
        plans = [json.loads(line) for line in answer.stdout.splitlines()]
        return {plan["line"]: float(plan["reserve_s"]) for plan in plans}

    def stop(self) -> None:
        self._signal_broker(signal.SIGCONT)
        for child in (self.gateway, self.cloud, self.simulator):
            child.end(15)
        self.broker.stop()
