"""Replay of real recordings; source and licence stand beside the files in recordings/."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from firmware_sim.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows as recorded: where the source's clock was set back, an hour of stamps comes twice.

    `windows` are NAB's labelled anomaly windows as (first row, row after the last).
    """

    name: str
    times: tuple[datetime, ...]
    values: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]

    def row_at(self, when: datetime) -> int:
        """The first row at or after this time. Raises ScenarioError when there is none."""
        if not self.times[0] <= when <= self.times[-1]:
            span = f"{self.times[0]:%Y-%m-%d %H:%M} to {self.times[-1]:%Y-%m-%d %H:%M}"
            raise ScenarioError(f"{when:%Y-%m-%d %H:%M} is outside the recording {self.name}, which has {span}")
        return _first_row(self.times, when)


def load(name: str) -> Recording:
    """Reads a packaged recording, for example 'speed_t4013'."""
    folder = files("firmware_sim") / "recordings"
    lines = (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    rows = [(datetime.fromisoformat(row["timestamp"]), float(row["value"])) for row in csv.DictReader(lines)]
    times = tuple(time for time, _ in rows)
    labels = json.loads((folder / "windows.json").read_text(encoding="utf-8"))[f"{name}.csv"]
    return Recording(name, times, tuple(value for _, value in rows), _rows_of(times, labels))


def aligned(first: Recording, second: Recording) -> tuple[Recording, Recording]:
    """Both recordings at the times that both have."""
    common = sorted(set(first.times) & set(second.times))
    return _at(first, common), _at(second, common)


def _at(recording: Recording, times: Sequence[datetime]) -> Recording:
    value_at = dict(zip(recording.times, recording.values, strict=True))
    labels = [(recording.times[a].isoformat(), recording.times[b - 1].isoformat()) for a, b in recording.windows]
    return Recording(recording.name, tuple(times), tuple(value_at[time] for time in times), _rows_of(times, labels))


def _rows_of(times: Sequence[datetime], labels: Sequence[Sequence[str]]) -> tuple[tuple[int, int], ...]:
    """Label windows (both ends belong to them) as half-open ranges of rows."""
    windows = []
    for start, end in labels:
        first, last = _first_row(times, datetime.fromisoformat(start)), _first_row(times, datetime.fromisoformat(end))
        includes_last = last < len(times) and times[last] == datetime.fromisoformat(end)
        windows.append((first, last + includes_last))
    return tuple(windows)


def _first_row(times: Sequence[datetime], when: datetime) -> int:
    return next((row for row, time in enumerate(times) if time >= when), len(times))
