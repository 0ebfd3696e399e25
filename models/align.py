"""Rows at the model's pace from tags that each came at times of their own, as a gateway's window makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from models.history import History
from wire.block import FloatArray
from wire.errors import ModelError

HOLD_PERIODS = 1.5
_MOST_ROWS = 20_000_000


class Course(NamedTuple):
    """One tag. seconds: shape (n,), UTC, rising. values: shape (n,), NaN where it is bad."""

    seconds: FloatArray
    values: FloatArray


def aligned(
    courses: Mapping[str, Course], columns: Sequence[str], only_where: str, period_s: float, hold_s: float | None,
    where: str,
) -> History:  # fmt: skip
    """A row every period_s: of each tag the newest value, not older than hold_s, NaN where there is none.

    Rows without any value are left out. only_where: a tag that is 1 in rows to take ('' takes all). where: for
    messages. Raises ModelError.
    """
    missing = [name for name in (*columns, *([only_where] if only_where else [])) if name not in courses]
    if missing:
        raise ModelError(
            f"{where}: no tag {', '.join(map(repr, missing))}; there are: {', '.join(sorted(courses)) or 'none'}"
        )
    filled = [courses[name].seconds for name in columns if courses[name].seconds.size]
    if not filled:
        raise ModelError(f"{where}: no values of {', '.join(columns)} in this time")
    first, last = min(each[0] for each in filled), max(each[-1] for each in filled)
    count = round((last - first) / period_s) + 1
    if count > _MOST_ROWS:
        raise ModelError(f"{where}: {count:,} rows of {period_s:g} s are too many: take a shorter time")
    seconds = first + period_s * np.arange(count)
    hold = HOLD_PERIODS * period_s if hold_s is None else hold_s
    rows = np.column_stack([_held(courses[name], seconds, period_s, hold) for name in columns])
    if only_where:
        rows[_held(courses[only_where], seconds, period_s, hold) != 1.0] = np.nan
    kept = ~np.isnan(rows).all(axis=1)
    if not kept.any():
        raise ModelError(f"{where}: no row has a value")
    seconds, rows = seconds[kept], rows[kept]
    times = tuple(written(second) for second in seconds)
    return History(times, seconds, rows, digest(seconds, rows))


def written(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(sep=" ", timespec="milliseconds")


def digest(seconds: FloatArray, rows: FloatArray) -> str:
    """SHA-256 of what was learnt from, where there is no single file to name."""
    return hashlib.sha256(seconds.astype("<f8").tobytes() + rows.astype("<f8").tobytes()).hexdigest()


def _held(course: Course, seconds: FloatArray, period_s: float, hold_s: float) -> FloatArray:
    """The newest value at each time, up to half a period ahead of it."""
    if not course.seconds.size:
        return np.full(len(seconds), np.nan)
    at = np.searchsorted(course.seconds, seconds + period_s / 2, side="right") - 1
    found: FloatArray = course.values[np.maximum(at, 0)].copy()
    age = seconds - course.seconds[np.maximum(at, 0)]
    found[(at < 0) | (age > hold_s)] = np.nan
    return found
