"""The ledger of finished rounds: a JSON line each, synced, so that a campaign that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.campaign.judge import Verdict


@dataclass(frozen=True, slots=True)
class Round:
    """One round that ended. index: of its family; seed: repeats it alone; run: which campaign it belongs to."""

    run: str
    family: str
    index: int
    seed: int
    seconds: float
    verdict: Verdict

    @property
    def good(self) -> bool:
        return not self.verdict.problems


class Ledger:
    """run: names code, seed and form; rounds of another run are kept in the file and left out."""

    def __init__(self, path: Path, run: str) -> None:
        self._path, self.run = path, run
        self._adding = threading.Lock()
        self.rounds: list[Round] = []

    def open(self) -> None:
        """Reads what is there; a last line that a kill cut short is taken out, for it was never finished."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            return
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            self._path.write_bytes(whole)
        entries = (json.loads(line) for line in whole.splitlines())
        self.rounds = [_round(entry) for entry in entries if entry["run"] == self.run]

    def done(self, family: str, index: int) -> bool:
        return any(r.family == family and r.index == index for r in self.rounds)

    def add(self, ended: Round) -> None:
        """Durable when it returns."""
        with self._adding, self._path.open("a") as file:
            self.rounds.append(ended)
            file.write(json.dumps(asdict(ended), separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _round(entry: dict[str, Any]) -> Round:
    return Round(**{**entry, "verdict": Verdict(**entry["verdict"])})
