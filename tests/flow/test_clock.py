"""A gateway whose wall clock is wrong, on a machine that is switched off and on: what the database then says of when.

Its wall clock is tests/wrong_clock.c, its boots are a time namespace and a boot id of their own; the rest is real.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.demo.host_api import Row
from firmware_sim.demo.witness import same
from gateway.status import ask
from tests import machine
from tests.flow.plant import Plant, now_ms
from tests.machine import no_machine
from wire.block import Quality
from wire.errors import ConfigError

NEAR_MS = 1500  # how far a stamp that came from the host may be off: its bound, and one time-out

if why := no_machine():
    pytest.skip(why, allow_module_level=True)


class Machine(machine.Machine):
    """The machine of the plant's gateway."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant.folder, -2000 * 86_400)
        self._plant = plant

    def start(self) -> None:
        self._plant.gateway = self.gateway(self._plant.site)
        self._plant.gateway.start()

    def kill(self) -> None:
        """kill -9 of the gateway itself."""
        machine.end(self._plant.gateway, signal.SIGKILL, 5)

    def stop(self) -> int:
        """On purpose: it says its last counters."""
        return machine.end(self._plant.gateway, signal.SIGTERM, 20)


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

    box = Machine(plant)
    waiting = 0
    for _ in range(2):
        box.boot()
        box.start()
        waiting = until(plant, waiting_for_time, waiting + 40)
        box.kill()
    box.start()  # again in the same boot
    waiting = until(plant, waiting_for_time, waiting + 20)
    box.kill()
    time.sleep(1.0)
    box.boot()
    began = now_ms() - 1000
    box.start()
    waiting = until(plant, waiting_for_time, waiting + 20)
    before = confirmed(status_of(plant))
    plant.broker.start()
    until(plant, confirmed, before + waiting + 50)
    clock = status_of(plant)["clock"]
    assert (clock["state"], clock["how"], clock["certain"], clock["waiting_samples"]) == ("known", "host", True, 0)
    steps_from = now_ms()

    box.wall(0)
    until(plant, lambda status: int(status["clock"]["how"] == "plausible"), 0)
    for steps, offset in ((1, 3600), (2, 0)):
        began_with = len(status_of(plant)["clock"]["steps_on_record"])
        box.wall(offset)
        until(plant, lambda status: len(status["clock"]["steps_on_record"]), began_with)
        until(plant, confirmed, confirmed(status_of(plant)) + 30)
        assert status_of(plant)["clock"]["steps"] >= steps
    assert box.stop() == 0, plant.gateway.last_words(20)
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
