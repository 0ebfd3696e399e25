"""Runs a scenario within a test, and reads its truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from firmware_sim.scenario import load
from firmware_sim.simulation import Simulation
from firmware_sim.truth import Truth

Entries = dict[str, dict[str, Any]]

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


PLANT = """\
name: plant
lines:
  - {name: tcp, kind: modbus-tcp}
  - {name: converter, kind: rtu-over-tcp, turnaround_s: 0.001}
  - {name: bus, kind: modbus-rtu, baud: 115200, turnaround_s: 0.001}
devices:
  - {id: tcp, model: registers, line: tcp, unit_id: 3, step_s: 0.05, signals: &table [
      {name: ten, address: 0, source: 10, writable: true},
      {name: ramp, address: 1, type: float32, source: {kind: ramp, low: 100, high: 200, period_s: 100}, writable: true},
      {name: count, address: 3, type: uint32, source: {kind: counter, start: 1000, rate_per_s: 20}},
      {name: relay, table: coil, address: 0, type: bool, source: false, writable: true},
      {name: lamp, table: coil, address: 1, type: bool, source: true, writable: true}]}
  - {id: conv, model: registers, line: converter, unit_id: 3, step_s: 0.05, signals: *table}
  - {id: bus, model: registers, line: bus, unit_id: 3, step_s: 0.05, signals: *table}
  - {id: bus4, model: registers, line: bus, unit_id: 4, step_s: 0.05, signals: *table}
"""


def running(folder: Path, faults: str = "", changes: tuple[str, ...] = ()) -> AbstractAsyncContextManager[Entries]:
    """The bench scenario, with its ready entries by device id."""
    return running_file(scenario_file(folder, faults), changes)


def running_text(folder: Path, text: str, faults: str = "", *changes: str) -> AbstractAsyncContextManager[Entries]:
    """A scenario given as text; its truth is in truth.jsonl of the folder."""
    path = folder / "scenario.yaml"
    path.write_text(text + (f"faults:\n{faults}" if faults else ""))
    return running_file(path, changes)


@asynccontextmanager
async def running_file(path: Path, changes: tuple[str, ...] = ()) -> AsyncIterator[Entries]:
    simulation = Simulation(load(str(path), changes), Truth(path.parent / "truth.jsonl"))
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
        await asyncio.wait_for(task, 30)


def truth(folder: Path, kind: str, device: str | None = None) -> list[dict[str, Any]]:
    """The records of one kind, in order."""
    records = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    return [each for each in records if each["kind"] == kind and device in (None, each.get("device"))]
