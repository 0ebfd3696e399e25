"""The clock jumps by minutes, hours and a year, both ways; boots without a time, and reboots before it was known.

The gateway runs on a machine of its own (tests.machine): a wall clock that is wrong, and boots by a time namespace and
a boot id. Simulator, broker and host keep the true time, and so does the witness: benchmarks.campaign.stamps.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.judge import BALANCED, Verdict, audited, kept_by_outbox
from benchmarks.campaign.plant import LINE_OF, Plant, now_ms
from benchmarks.campaign.stamps import Boot, Wall, judged, stored
from benchmarks.campaign.witness import Kill, Stop, unrecorded
from firmware_sim.demo.processes import DemoError
from gateway.status import ask
from tests import machine
from wire.errors import ConfigError

MINUTE_S, HOUR_S, YEAR_S = 60, 3600, 365 * 86_400
LONG_AGO_S = -20 * YEAR_S  # a board without a clock chip
WAIT_S = 60.0


class Clocked:
    """A plant whose gateway is on a machine of its own; what was done to its clock, for the witness."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.plant = Plant(folder, dice.randrange(2**31), "duckdb")
        self.machine = machine.Machine(folder, 0)
        self.plant.gateway = self.machine.gateway(self.plant.site)
        self.wall = Wall()
        self.boots: list[Boot] = []
        self.steps: list[int] = []

    def set_wall(self, offset_s: int) -> None:
        at_ms = now_ms()
        self.machine.wall(offset_s)
        self.wall.set(at_ms, 1000 * offset_s)

    def status(self) -> dict[str, Any]:
        return asyncio.run(ask(self.plant.outbox, {"cmd": "status"}))

    def until(self, what: Callable[[dict[str, Any]], bool], about: str) -> None:
        """For waiting, never for judging."""
        until = time.monotonic() + WAIT_S
        while True:
            self.plant.gateway.check()
            try:
                if what(self.status()):
                    return
            except ConfigError:  # it has just begun and does not listen yet
                pass
            if time.monotonic() > until:
                raise DemoError(f"not within {WAIT_S:g} s: {about}\n{self.plant.gateway.last_words()}")
            time.sleep(0.2)

    def step(self, by_s: int, to_s: int) -> None:
        """The wall clock goes to this offset, and the gateway notices."""
        had = self.status()["clock"]["steps"]
        self.set_wall(to_s)
        self.until(lambda said: said["clock"]["steps"] > had, f"a step by {by_s} s")
        self.steps.append(1000 * by_s)

    def excursion(self, by_s: int, dice: random.Random) -> None:
        """There and back."""
        for by, to in ((by_s, by_s), (-by_s, 0)):
            self.step(by, to)
            pause(dice, 0.5, 1.5)

    def kill(self) -> None:
        late_ms, itself = self.plant.metronome.late_ms(), machine.inside(self.plant.gateway)
        at_ms = now_ms()
        for process in itself:
            process.kill()
        self.plant.kills.append(Kill(at_ms, max(late_ms, self.plant.metronome.late_ms())))
        if self.plant.gateway.process is not None:
            self.plant.gateway.process.wait(10)

    def boot(self, new: bool = True) -> None:
        """A boot with a clock of long ago and without a host; it samples, and knows no time."""
        if new:
            self.machine.boot()
        began = now_ms()
        self.plant.gateway = self.machine.gateway(self.plant.site)
        had = self.boots[-1].samples if self.boots else 0
        self.plant.gateway.start()
        seen = {"samples": 0}

        def waits(said: dict[str, Any]) -> bool:
            seen["samples"] = said["clock"]["waiting_samples"]
            return said["clock"]["state"] == "unknown" and seen["samples"] > had + 60

        self.until(waits, "samples without a time")
        if new:
            self.boots.append(Boot(began, now_ms(), seen["samples"]))
        else:
            self.boots[-1] = Boot(self.boots[-1].from_ms, now_ms(), seen["samples"])

    def timeless(self, dice: random.Random) -> None:
        """Two boots or three: each but the last ends before it knew the time; the last one has it from the host."""
        self.plant.gateway_link.cut()
        self.kill()
        self.set_wall(LONG_AGO_S)
        for _ in range(dice.choice((1, 2))):
            self.boot()
            self.kill()
            self.boots[-1] = self.boots[-1].until(now_ms())
        self.boot()
        if dice.random() < 0.5:  # again in the same boot
            self.kill()
            self.boot(new=False)
        self.plant.gateway_link.calm()
        self.until(
            lambda said: said["clock"]["state"] == "known" and not said["clock"]["waiting_samples"], "the host's time"
        )
        self.boots[-1] = self.boots[-1].until(now_ms())
        self.set_wall(0)
        self.until(lambda said: said["clock"]["how"] in ("plausible", "ntp"), "this machine's own time again")
        self.plant.wait_flowing()


def _round(folder: Path, dice: random.Random, short: bool) -> Verdict:
    folder.mkdir(parents=True, exist_ok=True)
    clocked = Clocked(folder, dice)
    try:
        clocked.plant.start()
        return _played(clocked, dice, short)
    finally:
        clocked.plant.stop()


def _played(clocked: Clocked, dice: random.Random, short: bool) -> Verdict:
    sizes = (dice.randrange(2, 59) * MINUTE_S, dice.randrange(1, 23) * HOUR_S)
    jumps = [sign * size for size in sizes for sign in (1, -1)] + [-YEAR_S]
    for by_s in dice.sample(jumps, 2 if short else len(jumps)):
        clocked.excursion(by_s, dice)
    # The last: what was stamped a year ahead was never right, and is left behind once the host agrees.
    had = len(clocked.status()["clock"]["steps_on_record"])
    clocked.excursion(YEAR_S, dice)
    clocked.until(lambda said: said["clock"]["ahead_ms"] < 1000, "stamps that begin anew")
    if len(clocked.status()["clock"]["steps_on_record"]) < had + 3:
        raise DemoError("stamps began anew without a record")
    clocked.timeless(dice)
    return _verdict(clocked)


def _verdict(clocked: Clocked) -> Verdict:
    """Gateway and host are stopped; then the database's file against what the simulator served."""
    plant, mark = clocked.plant, now_ms()
    pause(random.Random(mark), 1.0, 1.0)
    stopping = now_ms()
    code = machine.end(plant.gateway, signal.SIGTERM, 30)
    plant.stops.append(Stop(stopping, now_ms()))
    exit_code, balance = audited(plant)
    records = {kind: plant.api.get("/api/records", kind=kind) for kind in ("gap", "clock", "clock_step")}
    plant.the_host.end(15)
    plant.truth.read()
    rows = stored(plant.folder / "host" / "samples.duckdb")
    verdict, found = judged(plant.truth.served, rows, (plant.started_ms, mark), plant.kills, plant.stops,
                            clocked.wall, clocked.boots, records)  # fmt: skip
    _, waiting = kept_by_outbox(plant.outbox)
    if code or exit_code or waiting or not balance["ok"] or any(balance[x] for x in BALANCED[2:]):
        verdict.problems.append(
            f"gateway {code}, audit {exit_code}, {waiting} batches wait: { {name: balance[name] for name in BALANCED} }"
        )
    killed = [gap for gap in records["gap"] if gap["reason"] == "killed"]
    if len(killed) != len(plant.kills):
        verdict.problems.append(f"{len(plant.kills)} kills, but {len(killed)} gap records that say so")
    if missing := unrecorded(found.gone, killed, LINE_OF):
        verdict.problems.append(f"{missing} samples are gone before a kill and stand in no gap record")
    told = [step["by_ms"] for step in records["clock_step"] if "stamps" not in step]
    for by_ms in clocked.steps:
        near = next((t for t in told if abs(t - by_ms) < 5000), None)
        if near is None:
            verdict.problems.append(f"a step by {by_ms} ms is on no record: {told}")
        else:
            told.remove(near)
    verdict.notes |= {"steps": len(clocked.steps), "boots": len(clocked.boots)}
    return verdict


FAMILIES = (
    Family("clock-steps", 20, 1, "steps of minutes, hours and a year, both ways; boots without time", alone=_round,
           unable=machine.no_machine),
)  # fmt: skip
