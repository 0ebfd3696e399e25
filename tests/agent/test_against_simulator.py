"""The agent against an independent witness: every value that it read is the one that the simulator served."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.frame_spec import FrameSpec
from agent.pipeline import run_line
from agent.score import Scorers
from agent.spec import LineSpec
from agent.status import LineStatus
from tests.agent.points import device, point
from tests.agent.test_pipeline import Notes, now_ms
from wire.block import Quality


def demo_lines(at: dict[str, dict[str, Any]]) -> list[LineSpec]:
    def of(name: str, *points: Any, **rest: Any) -> Any:
        return device(*[point(*p[:4], device=name, **p[4]) for p in points], id=name, **rest)

    machine = of(
        "machine-plc",
        ("temperature", "holding", 0, "float32", {}),
        ("motor_current", "holding", 2, "uint16", {"scale": 0.01}),
        ("vibration_rms", "holding", 3, "uint16", {"scale": 0.001}),
        ("speed_rpm", "holding", 4, "uint16", {}),
        ("run_hours", "holding", 5, "uint32", {"order": "CDAB", "scale": 0.1}),
        ("running", "discrete", 0, "bool", {}),
        period_s=0.1,
    )
    meter = of(
        "meter-rtu-7",
        ("active_power", "input", 0, "float32", {}),
        ("energy_import", "input", 2, "uint32", {"scale": 0.01}),
        ("voltage", "input", 4, "uint16", {"scale": 0.1}),
        ("current", "input", 5, "int16", {"scale": 0.01}),
        ("power_factor", "input", 6, "int16", {"scale": 0.001}),
        ("frequency", "input", 7, "uint16", {"scale": 0.01}),
        unit_id=7,
        period_s=0.2,
    )
    road = of(
        "road-detector",
        ("occupancy", None, 0, "float32", {"field": "occ"}),
        ("speed", None, 0, "float32", {"field": "spd"}),
        ("flow", None, 0, "uint32", {"field": "vol"}),
        frame=FrameSpec(r"L\d OCC=(?P<occ>[\d.]+) SPD=(?P<spd>[\d.]+) VOL=(?P<vol>\d+)$"),
    )
    plc, bus, text = at["machine-plc"], at["meter-rtu-7"], at["road-detector"]
    return [
        LineSpec("plc-tcp", "modbus-tcp", plc["host"], plc["port"], devices=(machine,)),
        LineSpec("meter-rtu", "modbus-rtu", port=bus["port"], baud=19200, parity="E", timeout_s=0.5, devices=(meter,)),
        LineSpec("road-serial", "serial-text", port=text["port"], baud=9600, devices=(road,)),
    ]


def served(truth: Path) -> dict[tuple[str, str], list[float]]:
    """(device, signal) -> what the simulator served, in order."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in map(json.loads, truth.read_text().splitlines()):
        if record["kind"] == "served":
            for name, value in record["values"].items():
                found.setdefault((record["device"], name), []).append(value)
    return found


async def test_every_value_is_the_one_that_was_served(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    simulator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gaugeline", "sim", "run", "firmware_sim/scenarios/demo.yaml", "--truth", str(truth),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    notes = Notes()
    try:
        assert simulator.stdout is not None
        ready = json.loads(await asyncio.wait_for(simulator.stdout.readline(), 30))
        lines = demo_lines({d["id"]: d for d in ready["devices"]})
        none = Scorers([], lines)
        tasks = [asyncio.create_task(run_line(line, notes, now_ms, {}, none, LineStatus())) for line in lines]
        await notes.until(lambda: len(notes.samples("road-detector")) >= 9 and len(notes.taken) >= 50, 60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        simulator.send_signal(signal.SIGTERM)
        await asyncio.wait_for(simulator.wait(), 10)
    right = served(truth)
    compared = 0
    for name in ("machine-plc", "meter-rtu-7", "road-detector"):
        samples = notes.samples(name)
        assert {s.quality for s in samples} == {Quality.GOOD}
        for tag in {s.name for s in samples}:
            values = [s.value for s in samples if s.name == tag]
            truths = right[name, tag]
            # Of text lines the first may have been sent before the port was open.
            starts = range(3) if name == "road-detector" else range(1)
            assert any(values == pytest.approx(truths[i : i + len(values)], rel=1e-6) for i in starts), tag
            compared += len(values)
    assert compared > 50
