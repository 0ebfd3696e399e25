"""One line on the terminal that says what the simulation is doing."""

from __future__ import annotations

import asyncio
import shutil
from typing import TextIO

from firmware_sim.simulation import Simulation

EVERY_S = 0.5


def status(simulation: Simulation, answers_per_s: float) -> str:
    """Simulated time, answers, writes, what was marred, and the faults that hold."""
    counts, t_s = simulation.truth.counts, simulation.clock.t_s()
    hours, rest = divmod(int(t_s), 3600)
    words = [f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"]
    if simulation.scenario.speed != 1.0:
        words.append(f"x{simulation.scenario.speed:g}")
    words.append(f"{counts.get('served', 0)} served, {answers_per_s:.0f}/s")
    words += [f"{counts[kind]} {kind}" for kind in ("written", "marred") if counts.get(kind)]
    holding = simulation.holding()
    words.append("faults: " + ", ".join(holding[:4]) + (" ..." if len(holding) > 4 else "") if holding else "no fault")
    return "  ".join(words)


async def show(simulation: Simulation, terminal: TextIO) -> None:
    """Writes the line anew until cancelled, and leaves the cursor on a line of its own."""
    before = 0
    try:
        while True:
            await asyncio.sleep(EVERY_S)
            served = simulation.truth.counts.get("served", 0)
            line = status(simulation, (served - before) / EVERY_S)
            before = served
            terminal.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
            terminal.flush()
    finally:
        terminal.write("\n")
        terminal.flush()
