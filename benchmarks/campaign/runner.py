"""Runs rounds: one plant for many, each judged by itself, and the plant once more at its end."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.campaign.family import Family
from benchmarks.campaign.judge import Verdict, close, settle
from benchmarks.campaign.ledger import Ledger, Round
from benchmarks.campaign.plant import Plant, Store
from firmware_sim.demo.processes import DemoError

CLOSING = "closing"
ROUNDS_PER_PLANT = 50
TROUBLE = (DemoError, RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError, duckdb.Error)
"""What a fault of a process, or of the campaign itself, comes out as: the round failed, the campaign goes on."""

Told = Callable[[Round], None]


def seed_of(base: int, family: str, index: int) -> int:
    return zlib.crc32(f"{base}/{family}/{index}".encode())


def rounds_of(family: Family, short: bool, most: int | None) -> int:
    rounds = family.short if short else family.rounds
    return rounds if most is None else min(rounds, most)


@dataclass
class _Shared:
    """The plant that rounds share. mark: up to when its samples are judged."""

    plant: Plant
    store: Store
    seed: int
    mark: int
    rounds: int = 0


class Runner:
    """told: hears of every round that ended. only_seed: one round of each family, with this seed of its own.

    most: at most so many rounds of each.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, base: int, short: bool, told: Told,
        only_seed: int | None = None, most: int | None = None,
    ) -> None:  # fmt: skip
        self.folder, self._ledger, self._base, self._short, self._told = folder, ledger, base, short, told
        self._only_seed, self._most = only_seed, most
        self._shared: _Shared | None = None
        self._stopping = threading.Event()
        self._plants = 0

    def run(self, families: Sequence[Family]) -> None:
        """Every round of these that the ledger does not hold, one after another, until `stop`."""
        try:
            for family in sorted(families, key=lambda f: (f.store, f.alone is None)):
                if not family.unable():
                    for index in range(self.count(family)):
                        if not self._ledger.done(family.name, index) and not self._stopping.is_set():
                            self._round(family, index)
        finally:
            self._end_plant()

    def stop(self) -> None:
        """After the round that runs now."""
        self._stopping.set()

    def count(self, family: Family) -> int:
        if self._only_seed is not None:
            return 1
        return rounds_of(family, self._short, self._most)

    def _round(self, family: Family, index: int) -> None:
        seed = seed_of(self._base, family.name, index) if self._only_seed is None else self._only_seed
        began = time.monotonic()
        verdict = self._alone(family, seed) if family.alone is not None else self._played(family, seed)
        self._end(Round("", family.name, index, seed, round(time.monotonic() - began, 1), verdict))

    def _end(self, ended: Round) -> None:
        ended = Round(self._ledger.run, ended.family, ended.index, ended.seed, ended.seconds, ended.verdict)
        self._ledger.add(ended)
        self._told(ended)

    def _fresh(self, name: str) -> Path:
        """Beside those of rounds that failed before."""
        while True:
            self._plants += 1
            folder = self.folder / f"{self._plants:03d}-{name}"
            if not folder.exists():
                return folder

    def _alone(self, family: Family, seed: int) -> Verdict:
        folder = self._fresh(family.name)
        try:
            verdict = family.alone(folder, random.Random(seed), self._short) if family.alone else Verdict()
        except TROUBLE as fault:
            verdict = Verdict(problems=[f"{type(fault).__name__}: {fault}"])
        _keep_or_remove(folder, verdict)
        return verdict

    def _played(self, family: Family, seed: int) -> Verdict:
        try:
            shared = self._plant_for(family, seed)
            if family.play is not None:
                family.play(shared.plant, random.Random(seed))
            verdict, shared.mark = settle(shared.plant, shared.mark, family.timeout_s)
            shared.rounds += 1
        except TROUBLE as fault:
            verdict = Verdict(problems=[f"{type(fault).__name__}: {fault}"])
        if verdict.problems and self._shared is not None:
            verdict.notes["folder"] = str(self._shared.plant.folder)
            self._shared.plant.stop()
            self._shared = None
        return verdict

    def _plant_for(self, family: Family, seed: int) -> _Shared:
        """The plant that runs, if it is of the right kind and not worn out; else a new one."""
        shared = self._shared
        if shared is not None and (shared.store != family.store or shared.rounds >= ROUNDS_PER_PLANT):
            self._end_plant()
            shared = None
        if shared is None:
            plant = Plant(self._fresh(family.store), seed, family.store)
            # Known before it starts, so that one that does not is stopped as well.
            self._shared = shared = _Shared(plant, family.store, seed, 0)
            plant.start()
            shared.mark = plant.started_ms
        return shared

    def _end_plant(self) -> None:
        """The closing round of a plant on which every round was good."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        began, closings = time.monotonic(), sum(r.family == CLOSING for r in self._ledger.rounds)
        try:
            verdict = close(shared.plant)
        except TROUBLE as fault:
            verdict = Verdict(problems=[f"{type(fault).__name__}: {fault}"])
        finally:
            shared.plant.stop()
        verdict.notes["rounds"] = shared.rounds
        _keep_or_remove(shared.plant.folder, verdict)
        self._end(Round("", CLOSING, closings, shared.seed, round(time.monotonic() - began, 1), verdict))


def _keep_or_remove(folder: Path, verdict: Verdict) -> None:
    if verdict.problems:
        verdict.notes["folder"] = str(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
