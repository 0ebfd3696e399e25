"""An RS-485 bus of 8 units with 60 registers each at 19,200 8E1, simulated at the pace of the wire.

Back to back: wire time (characters, two pauses of 3.5 characters and the turnaround a request) over the time that a
cycle really takes. Then at a period of 4 s with one unit silent: how far the others' polls move from their period.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from agent.driver import Span
from agent.drivers import DRIVERS
from benchmarks.result import keep
from firmware_sim.demo.processes import Child, gaugeline
from gateway.config import load_site

UNITS, REGISTERS, BAUD, TURNAROUND_S = 8, 60, 19_200, 0.004
CHARACTER_S = 11 / BAUD  # start, 8 data, parity, stop
WIRE_S = (8 + 5 + 2 * REGISTERS) * CHARACTER_S + 2 * 3.5 * CHARACTER_S + TURNAROUND_S
PERIOD_S, SILENT, CYCLES = 4.0, 3, 8


def scenario(silent: bool) -> str:
    signals = [
        {"name": "t", "address": 0, "count": REGISTERS, "source": {"kind": "random_walk", "mean": 500, "amplitude": 99}}
    ]
    devices = [
        {"id": f"u{i}", "model": "registers", "line": "bus", "unit_id": i, "signals": signals}
        for i in range(1, UNITS + 1)
    ]
    line = {
        "name": "bus",
        "kind": "modbus-rtu",
        "baud": BAUD,
        "parity": "E",
        "stop_bits": 1,
        "turnaround_s": TURNAROUND_S,
    }
    faults = [{"device": f"u{SILENT}", "kind": "silent", "at_s": 0, "for_s": 3600}] if silent else []
    return json.dumps({"name": "bus", "lines": [line], "devices": devices, "faults": faults})


def site(port: str) -> str:
    tags = [{"name": f"t{i}", "table": "holding", "address": i, "type": "uint16"} for i in range(REGISTERS)]
    return json.dumps(
        {
            "group": "bench",
            "gateway": "gw",
            "broker": "mqtt://127.0.0.1:1",
            "lines": [
                {"name": "bus", "driver": "modbus-rtu", "port": port, "baud": BAUD, "parity": "E", "timeout_s": 0.3}
            ],
            "devices": [
                {"id": f"u{i}", "line": "bus", "unit_id": i, "period_s": PERIOD_S, "tags": tags}
                for i in range(1, UNITS + 1)
            ],
        }
    )


def start(folder: Path, silent: bool) -> tuple[Child, Path]:
    folder.mkdir()
    (folder / "bus.yaml").write_text(scenario(silent))
    truth = str(folder / "truth.jsonl")
    simulator = Child(
        "simulator", gaugeline("sim", "run", str(folder / "bus.yaml"), "--truth", truth), folder, read_stdout=True
    )
    simulator.start()
    port = json.loads(simulator.stdout.readline())["devices"][0]["port"]
    (folder / "site.yaml").write_text(site(port))
    return simulator, folder / "site.yaml"


async def back_to_back(path: Path) -> float:
    """Wire time over actual time of whole cycles, one request after the other."""
    (line,) = load_site(path).lines
    driver = DRIVERS[line.driver](line, lambda: time.time_ns() // 1_000_000)
    await driver.open()
    try:
        for unit in range(1, UNITS + 1):
            await driver.read(unit, Span("holding", 0, REGISTERS))
        began = time.perf_counter()
        for _ in range(CYCLES):
            for unit in range(1, UNITS + 1):
                await driver.read(unit, Span("holding", 0, REGISTERS))
        return CYCLES * UNITS * WIRE_S / (time.perf_counter() - began)
    finally:
        await driver.close()


def jitter(folder: Path, site_path: Path) -> dict[str, float]:
    """p50 and p99 of |interval - period| / period over the units that answer, by the simulator's truth."""
    gateway = Child("gateway", gaugeline("gateway", "run", "--for", "100", str(site_path)), folder)
    gateway.start()
    time.sleep(100)
    gateway.end(15)
    stamps: dict[str, list[int]] = {}
    for text in (folder / "truth.jsonl").read_text().splitlines():
        entry = json.loads(text)
        if entry["kind"] == "served":
            stamps.setdefault(entry["device"], []).append(entry["t_ms"])
    off = sorted(
        abs((b - a) / 1000 - PERIOD_S) / PERIOD_S
        for device, times in stamps.items()
        if device != f"u{SILENT}"
        for a, b in itertools.pairwise(times)
    )
    return {"p50": statistics.median(off), "p99": off[int(0.99 * (len(off) - 1))], "intervals": len(off)}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        simulator, path = start(Path(name) / "busy", silent=False)
        try:
            share = asyncio.run(back_to_back(path))
        finally:
            simulator.end()
        simulator, path = start(Path(name) / "silent", silent=True)
        try:
            moved = jitter(path.parent, path)
        finally:
            simulator.end()
    keep(
        "rtu_bus",
        {
            "wire_ms_of_a_request": round(1000 * WIRE_S, 2),
            "wire_time_over_actual": round(share, 3),
            "one_silent_jitter_p50_percent_of_period": round(100 * moved["p50"], 2),
            "one_silent_jitter_p99_percent_of_period": round(100 * moved["p99"], 2),
            "one_silent_intervals": int(moved["intervals"]),
        },
    )


if __name__ == "__main__":
    main()
