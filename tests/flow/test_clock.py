"""A gateway whose wall clock is wrong, on a machine that is switched off and on: what the database then says of when.

Its wall clock is libfaketime's, its boots are a time namespace and a boot id of their own; the rest is real.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from firmware_sim.demo.host_api import Row
from firmware_sim.demo.processes import Child, gaugeline
from firmware_sim.demo.witness import same
from gateway.status import ask
from tests.flow.plant import Plant, now_ms
from wire.block import Quality
from wire.errors import ConfigError

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
NEAR_MS = 1500  # how far a stamp that came from the host may be off: its bound, and one time-out

if FAKETIME is None:
    pytest.skip("libfaketime is not installed: run deploy/setup/servers.sh", allow_module_level=True)


def _may_boot() -> bool:
    """Namespaces of time and of mounts are root's."""
    program = shutil.which("unshare")
    if program is None:
        return False
    answer = subprocess.run([program, "--time", "--mount", "--fork", "true"], capture_output=True, check=False)
    return answer.returncode == 0


if not _may_boot():
    pytest.skip("only root may give a process a boot of its own (unshare --time --mount)", allow_module_level=True)


class Machine:
    """The gateway's machine. wall: libfaketime's offset from the true time, changed while the gateway runs."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._wall, self._boot = plant.folder / "wall", plant.folder / "boot_id"
        self.wall("-2000d")
        self._zero_s = 0

    def wall(self, offset: str) -> None:
        new = self._wall.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._wall)

    def boot(self) -> None:
        """What starts from now on runs in another boot, which began within this second."""
        time.sleep(1.1)
        self._boot.write_text(f"{uuid4()}\n")
        self._zero_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))

    def start(self) -> None:
        inside = (
            f"mount --bind {self._boot} /proc/sys/kernel/random/boot_id && exec env LD_PRELOAD={FAKETIME}"
            f" FAKETIME_TIMESTAMP_FILE={self._wall} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
            ' DONT_FAKE_MONOTONIC=1 "$@"'
        )
        command = [
            *("unshare", "--time", "--boottime", str(-self._zero_s), "--mount", "--fork", "--kill-child"),
            *("sh", "-c", inside, "sh", *gaugeline("gateway", "run", "--verbose", str(self._plant.site))),
        ]
        self._plant.gateway = Child("gateway", command, self._plant.folder)
        self._plant.gateway.start()

    def kill(self) -> None:
        """kill -9 of the gateway itself."""
        self._end(signal.SIGKILL, 5)

    def stop(self) -> int:
        """On purpose: it says its last counters."""
        return self._end(signal.SIGTERM, 20)

    def _end(self, number: int, wait_s: float) -> int:
        process = self._plant.gateway.process
        assert process is not None
        for child in psutil.Process(process.pid).children(recursive=True):
            child.send_signal(number)
        return process.wait(wait_s)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    found = Plant(tmp_path, {"duck": f"duckdb:{tmp_path / 'samples.duckdb'}"})
    try:
        found.start()
        yield found
    finally:
        found.stop()


def status_of(plant: Plant) -> dict[str, Any]:
    """From the gateway itself: a command of its own each time would take what a busy machine has left."""
    return asyncio.run(ask(plant.folder / "outbox.db", {"cmd": "status"}))


def until(plant: Plant, what: Callable[[dict[str, Any]], int], more_than: int, timeout_s: float = 120.0) -> int:
    """Returns a figure of the gateway's status once it is more than that."""
    stop = time.monotonic() + timeout_s
    while True:
        plant.gateway.check()
        try:
            status = status_of(plant)
        except ConfigError as fault:  # it has just begun and does not listen yet
            assert time.monotonic() < stop, fault
        else:
            if (found := what(status)) > more_than:
                return found
            assert time.monotonic() < stop, (status["clock"], found)
        time.sleep(0.2)


def waiting_for_time(status: dict[str, Any]) -> int:
    found: int = status["clock"]["waiting_samples"] if status["clock"]["state"] == "unknown" else 0
    return found


def confirmed(status: dict[str, Any]) -> int:
    return sum(device["confirmed"] for device in status["devices"].values())


def in_the_order_of(served: Sequence[tuple[int, float]], rows: Sequence[Row]) -> bool:
    """Every row's value was served, and in this order."""
    answers = iter(served)
    return all(any(same(row.value, v) for _, v in answers) for row in rows if row.value is not None)


def test_the_time_comes_from_the_host_alone_after_two_boots_without_and_the_clock_steps(plant: Plant) -> None:
    host = plant.hosts["duck"]
    plant.wait_stored(100)
    plant.kill_gateway()
    known_until = now_ms()
    plant.broker.stop()

    machine = Machine(plant)
    waiting = 0
    for _ in range(2):
        machine.boot()
        machine.start()
        waiting = until(plant, waiting_for_time, waiting + 40)
        machine.kill()
    machine.start()  # again in the same boot
    waiting = until(plant, waiting_for_time, waiting + 20)
    machine.kill()
    time.sleep(1.0)
    machine.boot()
    began = now_ms() - 1000
    machine.start()
    waiting = until(plant, waiting_for_time, waiting + 20)
    before = confirmed(status_of(plant))
    plant.broker.start()
    until(plant, confirmed, before + waiting + 50)
    clock = status_of(plant)["clock"]
    assert (clock["state"], clock["how"], clock["certain"], clock["waiting_samples"]) == ("known", "host", True, 0)
    steps_from = now_ms()

    machine.wall("+0")
    until(plant, lambda status: int(status["clock"]["how"] == "plausible"), 0)
    for steps, offset in ((1, "+3600"), (2, "+0")):
        began_with = len(status_of(plant)["clock"]["steps_on_record"])
        machine.wall(offset)
        until(plant, lambda status: len(status["clock"]["steps_on_record"]), began_with)
        until(plant, confirmed, confirmed(status_of(plant)) + 30)
        assert status_of(plant)["clock"]["steps"] >= steps
    assert machine.stop() == 0, plant.gateway.last_words(20)
    balance = host.api.balance()

    assert balance["lost"] == 0, balance
    assert [balance[x] for x in ("dead_letters", "dropped", "collided", "refused", "in_flight")] == [0] * 5, balance
    placed = host.api.get("/api/records", kind="clock")
    assert [record["placed"] for record in placed] == ["between", "between", "host"]
    steps = [record["by_ms"] for record in host.api.get("/api/records", kind="clock_step")]
    assert [round(by_ms / 3_600_000) for by_ms in steps][-2:] == [1, -1], steps

    rows = host.rows(plant.started_ms, now_ms() + 3_700_000)
    served = plant.truth()
    for (device, tag), of_tag in rows.items():
        if (device, tag) not in served:
            continue
        assert all(a.ts_ms < b.ts_ms for a, b in pairwise(of_tag)), (device, tag)
        assert in_the_order_of(served[device, tag], of_tag), (device, tag)
    found = rows["machine-plc", "temperature"]
    truth = served["machine-plc", "temperature"]
    between = [row for row in found if known_until < row.ts_ms < placed[2]["from_ms"]]
    assert len(between) > 5
    assert {row.quality for row in between} <= {Quality.UNCERTAIN, Quality.BAD}
    for record in placed[:2]:
        assert known_until - 1000 < record["from_ms"] < record["to_ms"] < began + 1000, (known_until, record, began)
    good = [row for row in found if row.quality == Quality.GOOD and row.ts_ms < steps_from]
    assert sum(row.ts_ms > began for row in good) > 5
    for row in good:
        near = [v for t, v in truth if abs(t - row.ts_ms) <= NEAR_MS]
        assert row.value is not None
        assert any(same(row.value, v) for v in near), row
    ahead = [row for row in found if row.quality == Quality.UNCERTAIN and row.ts_ms > now_ms() + 600_000]
    assert ahead, "the step back left no uncertain samples"
