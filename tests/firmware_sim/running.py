"""Runs a scenario within a test, and reads its truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from firmware_sim.scenario import load
from firmware_sim.simulation import Simulation
from firmware_sim.truth import Truth

LINES = """\
name: bench
lines:
  - {name: tcp, kind: modbus-tcp}
  - {name: bus, kind: modbus-rtu, baud: 19200}
  - {name: text, kind: serial-text, baud: 9600}
devices:
  - {id: machine, model: machine, line: tcp}
  - {id: park, model: car_park, line: tcp, unit_id: 2}
  - {id: meter, model: energy_meter, line: bus, unit_id: 7}
  - {id: second, model: energy_meter, line: bus, unit_id: 8}
  - {id: road, model: road_detector, line: text, row_s: 0.1}
"""


def scenario_file(folder: Path, faults: str = "") -> Path:
    path = folder / "bench.yaml"
    path.write_text(LINES + (f"faults:\n{faults}" if faults else ""))
    return path


@asynccontextmanager
async def running(folder: Path, faults: str = "", changes: tuple[str, ...] = ()) -> AsyncIterator[dict[str, Any]]:
    """The bench scenario, with its ready entries by device id."""
    simulation = Simulation(load(str(scenario_file(folder, faults)), changes), Truth(folder / "truth.jsonl"))
    ready: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(simulation.run(ready.set_result, stop))
    done, _ = await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        await task
    try:
        yield {entry["id"]: entry for entry in ready.result()}
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


def truth(folder: Path, kind: str, device: str | None = None) -> list[dict[str, Any]]:
    """The records of one kind, in order."""
    records = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    return [each for each in records if each["kind"] == kind and device in (None, each.get("device"))]
