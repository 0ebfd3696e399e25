"""Random plants through simulator and agent: what a tag says is what the simulator's truth says was served.

EXAMPLES=2000 in the environment tries that many plants instead of the usual ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from agent.pipeline import Taken, run_line
from agent.score import Scorers
from agent.spec import LineSpec
from agent.status import LineStatus
from firmware_sim.scenario import Scenario
from firmware_sim.simulation import Simulation
from firmware_sim.truth import Truth
from tests.agent.any_plant import Plant, agrees, any_plant
from tests.agent.test_pipeline import now_ms
from wire.block import Block, Reason

POLLS = 3
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
_LOST = {Reason.TIMEOUT, Reason.GARBLED, Reason.LINE_DOWN, Reason.DEVICE_DEAD}


class Enough:
    """Takes Blocks until every tag was polled so often."""

    def __init__(self, plant: Plant) -> None:
        self.blocks: list[Block] = []
        self.done = asyncio.Event()
        self._left = Counter(dict.fromkeys(plant.reads, POLLS))

    async def append(self, taken: Taken) -> None:
        self.blocks += taken.blocks
        self._left.subtract((b.device, name) for b in taken.blocks for name in b.tags.names)
        if max(self._left.values()) <= 0:
            self.done.set()

    async def device_state(self, device: str, alive: bool) -> None:
        """That one is lost shows in its Blocks."""


async def polled(plant: Plant, kind: str, folder: Path, **rest: Any) -> tuple[list[Block], list[dict[str, Any]]]:
    """What the agent told, and what the simulator served."""
    scenario = Scenario.model_validate({
        "name": "any", "lines": [{"name": "line", "kind": kind, **rest}],
        "devices": [{**each, "line": "line"} for each in plant.simulated],
    })  # fmt: skip
    simulation, stop = Simulation(scenario, Truth(folder / "truth.jsonl")), asyncio.Event()
    ready: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(simulation.run(ready.set_result, stop))
    await asyncio.wait([running, asyncio.ensure_future(ready)], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    where, sink = ready.result()[0], Enough(plant)
    for timeout_s in (0.15, 3.0, 10.0):  # a machine that is busy gets another chance
        sink = Enough(plant)
        tcp = kind == "modbus-tcp"
        line = LineSpec(
            "line", "modbus-tcp" if tcp else "modbus-rtu", where.get("host", ""), where["port"], baud=115200,
            timeout_s=10.0 if tcp else timeout_s, devices=plant.devices,
        )  # fmt: skip
        start = now_ms()
        reading = asyncio.create_task(run_line(line, sink, now_ms, {}, Scorers([], []), LineStatus()))
        waiting = asyncio.create_task(sink.done.wait())
        await asyncio.wait({reading, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert sink.done.is_set(), "every tag must be told"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        if not any(s.reason in _LOST for b in sink.blocks for s in b.samples()):
            break
    stop.set()
    await asyncio.wait_for(running, 30)
    records = map(json.loads, (folder / "truth.jsonl").read_text().splitlines())
    return sink.blocks, [r for r in records if r["kind"] == "served" and r["t_ms"] >= start]


def compare(plant: Plant, blocks: list[Block], served: list[dict[str, Any]]) -> Counter[str]:
    """Every Block against the answer that it came from: both are in the order of the requests."""
    met: Counter[str] = Counter()
    last: dict[tuple[str, str], tuple[int, Any]] = {}
    for name in (d.id for d in plant.devices):
        answers = iter(own := [r for r in served if r["device"] == name])
        ends = iter([r["t_ms"] for r in own[1:]] + [now_ms()])
        for block in (b for b in blocks if b.device == name):
            samples = list(block.samples())
            reads = [plant.reads[name, s.name] for s in samples]
            if any(r.signal is None for r in reads):
                assert {s.reason for s in samples} == {Reason.REFUSED}, "only what the device lacks is refused"
                assert len({(r.point.address, r.point.registers) for r in reads}) == 1
                met["refused"] += len(samples)
                continue
            assert Reason.REFUSED not in {s.reason for s in samples}, (samples, "the device has it")
            answer, end_ms = next(answers), next(ends)
            assert answer["t_ms"] - 1 <= block.ts_ms <= end_ms + 1, "stamped between this answer and the next one"
            for s, read in zip(samples, reads, strict=True):
                said = answer["values"][str(read.signal)]
                assert agrees(read, said, s.value, s.reason), (read, said, s)
                before = last.get((name, s.name))
                assert before is None or before[0] < s.ts_ms, "stamps rise"
                met["changed"] += before is not None and before[1] != said
                last[name, s.name] = (s.ts_ms, said)
                met[s.reason.name.lower()] += 1
    assert {key for key, r in plant.reads.items() if r.signal} <= set(last), "every tag of the device has been read"
    return met


def tried(plant: Plant, kind: str, **rest: Any) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        blocks, served = asyncio.run(polled(plant, kind, Path(folder), **rest))
    return compare(plant, blocks, served)


@pytest.mark.no_cover
def test_every_tag_of_any_plant_says_what_the_simulator_served() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES or 60)
    @given(any_plant())
    def any_example(plant: Plant) -> None:
        met.update(tried(plant, "modbus-tcp"))

    any_example()
    wanted = {"none", "changed", "refused"}
    if EXAMPLES:  # what is rare may be missing in a short run
        wanted |= {"invalid_marker", "out_of_range", "not_a_number", "unparsed"}
    assert wanted <= {what for what, n in met.items() if n >= 5}, met


def test_every_tag_of_any_plant_on_a_bus() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES // 10 or 6)
    @given(any_plant(most_items=8))
    def any_example(plant: Plant) -> None:
        met.update(tried(plant, "modbus-rtu", baud=115200, turnaround_s=0))

    any_example()
    assert {"none", "changed"} <= {what for what, n in met.items() if n >= 5}, met


def test_the_comparison_finds_a_value_that_is_not_the_one_served() -> None:
    """The witness itself: one bit more in what was served, and no tag agrees any more."""
    met: Counter[str] = Counter()

    @settings(max_examples=40, derandomize=True)
    @given(any_plant(most_items=4))
    def any_example(plant: Plant) -> None:
        for read in plant.reads.values():
            p = read.point
            limited = p.states or p.bit_names or p.invalid or p.low is not None
            if p.type in ("uint16", "int16", "uint32") and not limited:
                number = 100 * p.scale + p.offset if not read.scaled else 100.0
                plain = p.scale == 1.0 and p.offset == 0.0
                value = 100 if plain else float(number)
                assert agrees(read, 100, value, Reason.NONE) or read.scaled
                for other, reason in ((value + 1, Reason.NONE), (None, Reason.OUT_OF_RANGE), (None, Reason.TIMEOUT)):
                    assert other is None or not agrees(read, 100, other, reason)
                met["tried"] += 1

    any_example()
    assert met["tried"] > 3
