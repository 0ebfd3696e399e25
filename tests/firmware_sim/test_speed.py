"""The same seed gives the same bytes whatever the speed, and simulated time decides alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.clock import SimClock
from firmware_sim.devices import build
from firmware_sim.scenario import load
from tests.firmware_sim.running import running_text, truth
from tests.firmware_sim.wire import ask, connected

SCENARIO = """\
name: s
seed: 7
lines: [{name: l, kind: modbus-tcp}]
devices:
  - {id: motor, model: motor, line: l, wear: {life_days: 0.01}}
"""


async def words(folder: Path, speed: float, until_s: float) -> dict[int, tuple[Any, ...]]:
    """Values served, by the step at which they were; stamps are simulated seconds through the wall clock."""
    folder.mkdir()
    async with running_text(folder, SCENARIO, "", f"speed={speed}") as at, connected(at["motor"]) as wire:
        begin = time.monotonic()
        while time.monotonic() - begin < until_s:
            wire.send(ask(at["motor"], "04 0000 000A"))
            await wire.quiet(0.02)
    return {index: tuple(each["values"].values()) for index, each in enumerate(truth(folder, "served"))}


async def test_the_bytes_of_a_second_are_the_same_at_every_speed(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    device = build(load(str(path)).devices[0], 7)
    right = [tuple(s.as_served(device.at(step)[s.name]) for s in device.signals) for step in range(400)]
    for speed in (1, 60, 200):
        served = await words(tmp_path / str(speed), speed, 1.2)
        steps = [right.index(values) for values in served.values()]
        assert steps == sorted(steps)
        assert max(steps) >= 0.5 * speed
        assert len(served) > 10


def test_the_clock_runs_at_its_speed() -> None:
    now = {"monotonic": 5.0, "wall": 1000.0}
    clock = SimClock(lambda: now["monotonic"], lambda: now["wall"], speed=60)
    now.update(monotonic=6.5, wall=1001.5)
    assert clock.t_s() == 90.0
    assert clock.wall_ms(90.0) == clock.now_ms() == 1_001_500


async def test_waiting_is_simulated_too() -> None:
    clock, begin = SimClock(speed=100), time.monotonic()
    await clock.until(20)
    assert 0.19 < time.monotonic() - begin < 15
    await asyncio.wait_for(clock.until(1), 10)


@pytest.mark.parametrize("speed", ["0", "-1", "200000"])
def test_speeds_that_cannot_be(tmp_path: Path, speed: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    with pytest.raises(Exception, match="speed"):
        load(str(path), [f"speed={speed}"])
