"""The record of what really happened: every answer served and every fault, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from firmware_sim.errors import ScenarioError
from firmware_sim.signals import Value


class Truth:
    """Appends to a file, one write to the system per line: what was written survives kill -9 of this process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

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

    def run(self, scenario: str, seed: int, t_ms: int) -> None:
        """A run begins; a file may hold several."""
        self._write({"kind": "run", "t_ms": t_ms, "scenario": scenario, "seed": seed})

    def served(self, device: str, t_ms: int, values: Mapping[str, Value]) -> None:
        """An answer went out whose bytes say these values."""
        self._write({"kind": "served", "t_ms": t_ms, "device": device, "values": dict(values)})

    def fault(self, device: str, name: str, from_ms: int, to_ms: int | None) -> None:
        """A fault begins (to_ms None) or has ended."""
        self._write({"kind": "fault", "device": device, "name": name, "from_ms": from_ms, "to_ms": to_ms})

    def _write(self, record: Mapping[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
