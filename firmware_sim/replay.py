"""Replay of any CSV file: its columns over simulated time, with the time stamps of its rows."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from firmware_sim.errors import ScenarioError


class ReplaySettings(BaseModel):
    """`file` is looked for beside the scenario. `time`: the column of stamps, ISO 8601 or seconds; without it the rows
    are `row_s` apart. `speed`: recorded seconds that pass in one simulated second. `at_end`: begin again, or stop:
    the device answers no more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    time: str | None = None
    row_s: Annotated[float, Field(gt=0)] = 1.0
    speed: Annotated[float, Field(gt=0)] = 1.0
    at_end: Literal["loop", "stop"] = "loop"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","

    @field_validator("file")
    @classmethod
    def _beside_the_scenario(cls, file: Path, info: ValidationInfo) -> Path:
        folder = (info.context or {}).get("folder")
        return folder / file if folder is not None else file


class Replay:
    """The rows of one file. Cells that are empty keep the value before them."""

    def __init__(self, settings: ReplaySettings) -> None:
        self._settings = settings
        header, rows = _rows(settings)
        if settings.time is not None and settings.time not in header:
            raise ScenarioError(f"{settings.file}: has no column {settings.time!r}; there are: {', '.join(header)}")
        if not rows:
            raise ScenarioError(f"{settings.file}: has no rows")
        self._columns = {name: [row[at] if at < len(row) else "" for row in rows] for at, name in enumerate(header)}
        self._offsets_s = self._stamps(settings)
        # The last row lasts as long as the one before it.
        last_s = self._offsets_s[-1] - self._offsets_s[-2] if len(rows) > 1 else settings.row_s
        self._length_s = self._offsets_s[-1] + last_s

    def _stamps(self, settings: ReplaySettings) -> list[float]:
        if settings.time is None:
            return [settings.row_s * at for at in range(len(next(iter(self._columns.values()))))]
        stamps = [_seconds(text, settings.file, at) for at, text in enumerate(self._columns[settings.time], 2)]
        for at, (before, after) in enumerate(pairwise(stamps), 3):
            if after <= before:
                raise ScenarioError(f"{settings.file}:{at}: its time stamp is not after the one before it")
        return [stamp - stamps[0] for stamp in stamps]

    def column(self, name: str) -> list[float]:
        """Raises ScenarioError when there is no such column, or it holds something else than numbers."""
        file = self._settings.file
        if name not in self._columns:
            raise ScenarioError(f"{file}: has no column {name!r}; there are: {', '.join(self._columns)}")
        numbers: list[float] = []
        for at, text in enumerate(self._columns[name], 2):
            try:
                numbers.append(float(text) if text.strip() else (numbers[-1] if numbers else 0.0))
            except ValueError as fault:
                raise ScenarioError(f"{file}:{at}: {name!r} must be a number (got {text!r})") from fault
        return numbers

    def row(self, t_s: float) -> int:
        """The row that holds at this simulated second."""
        recorded_s = t_s * self._settings.speed
        if self._settings.at_end == "loop":
            recorded_s %= self._length_s
        return bisect_right(self._offsets_s, recorded_s + 1e-9) - 1

    @property
    def end_s(self) -> float | None:
        """The simulated second after which nothing is left to play; None where it loops."""
        return self._length_s / self._settings.speed if self._settings.at_end == "stop" else None


def _rows(settings: ReplaySettings) -> tuple[Sequence[str], list[list[str]]]:
    try:
        with settings.file.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=settings.delimiter)
            header = next(lines, [])
            return [name.strip() for name in header], [row for row in lines if row]
    except OSError as fault:
        raise ScenarioError(f"{settings.file}: cannot read it: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ScenarioError(f"{settings.file}: is not UTF-8 text") from fault


def _seconds(text: str, file: Path, at: int) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError as fault:
        raise ScenarioError(f"{file}:{at}: {text!r} is neither an ISO 8601 time nor a number of seconds") from fault
