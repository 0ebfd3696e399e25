"""The record of what really happened: every answer served and every fault, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from firmware_sim.errors import ScenarioError
from firmware_sim.signals import Value


class Truth:
    """Appends to a file, one write to the system per line: what was written survives kill -9 of this process.

    `counts` holds the records of each kind, for the status line.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.counts: dict[str, int] = {}

    def open(self) -> None:
        if self._path is None:
            return
        try:
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        except OSError as fault:
            raise ScenarioError(f"--truth: cannot write {self._path}: {fault.strerror}") from fault

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def run(self, scenario: str, seed: int, t_ms: int, speed: float = 1.0) -> None:
        """A run begins; a file may hold several."""
        self._write({"kind": "run", "t_ms": t_ms, "scenario": scenario, "seed": seed, "speed": speed})

    def served(
        self, device: str, t_ms: int, values: Mapping[str, Value], true: Mapping[str, Value] | None = None
    ) -> None:
        """An answer went out whose bytes say these values; `true` are those that a fault of values hides."""
        record = {"kind": "served", "t_ms": t_ms, "device": device, "values": dict(values)}
        self._write({**record, "true": dict(true)} if true else record)

    def marred(self, device: str, t_ms: int, name: str) -> None:
        """A fault hit this one answer (silent, late, refused ...). It is served only if a `served` record says so."""
        self._write({"kind": "marred", "t_ms": t_ms, "device": device, "name": name})

    def written(self, device: str, t_ms: int, values: Mapping[str, Value], held: Mapping[str, Value]) -> None:
        """A client wrote `values`; the device holds `held` now."""
        record = {"kind": "written", "t_ms": t_ms, "device": device, "values": dict(values), "held": dict(held)}
        self._write(record)

    def connection(self, line: str, t_ms: int, event: str) -> None:
        """The line did this to a connection because of a fault: dropped or refused."""
        self._write({"kind": "connection", "t_ms": t_ms, "line": line, "event": event})

    def health(self, device: str, t_ms: int, percent: int) -> None:
        """Wear has brought the device's health down to this."""
        self._write({"kind": "health", "t_ms": t_ms, "device": device, "health_percent": percent})

    def fault(self, device: str, name: str, from_ms: int, to_ms: int | None) -> None:
        """A fault begins (to_ms None) or has ended."""
        self._write({"kind": "fault", "device": device, "name": name, "from_ms": from_ms, "to_ms": to_ms})

    def _write(self, record: Mapping[str, object]) -> None:
        kind = str(record["kind"])
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self._file is not None:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
