"""What a fault family is: a name, how many rounds, and what happens in one."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.campaign.judge import Verdict
from benchmarks.campaign.plant import Plant, Store

Play = Callable[[Plant, random.Random], None]
Alone = Callable[[Path, random.Random, bool], Verdict]
"""A round with a plant of its own, in a folder; True: the short form."""


def _able() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Family:
    """play: the fault, on a plant that other rounds share; the witness judges afterwards. alone: instead of it.

    spoils: the plant is of no use afterwards. unable: why it cannot run here, '' when it can. timeout_s: how long
    what was taken may need to arrive once the fault has ended.
    """

    name: str
    rounds: int
    short: int
    about: str
    play: Play | None = None
    alone: Alone | None = None
    store: Store = "duckdb"
    timeout_s: float = 60.0
    unable: Callable[[], str] = _able


def pause(dice: random.Random, least_s: float, most_s: float) -> None:
    time.sleep(dice.uniform(least_s, most_s))


def no_small_disks() -> str:
    """Why no disk of a few MB can be made here; '' when it can."""
    if os.geteuid() != 0:
        return "needs root, for a disk of a few MB (tmpfs)"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False, text=True
        )
        if tried.returncode:
            return f"no tmpfs can be mounted here: {tried.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return ""


def fill(folder: Path) -> Path:
    """Leaves not one block of the folder's disk free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler
