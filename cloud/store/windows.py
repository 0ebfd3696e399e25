"""Windows of time with what their rows come to: roll-ups, and what a chart is drawn from. Pure.

A window of `step_ms` begins at a multiple of it since 1970 (UTC). mean, min, max and last are of the rows that have a
number (`num` of `count`); last is the newest of them. good: rows of quality GOOD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wire.block import FloatArray, Quality
from wire.errors import ConfigError

if TYPE_CHECKING:
    from cloud.store.whole_rows import TagId

IntArray = NDArray[np.int64]

MINUTE_MS, QUARTER_MS, HOUR_MS = 60_000, 900_000, 3_600_000
LEVELS = {"1m": MINUTE_MS, "15m": QUARTER_MS, "1h": HOUR_MS}
"""The roll-ups that are kept, finest first."""
COUNTS = ("count", "num", "good")
NUMBERS = ("mean", "min", "max", "last")
HIGHEST_TOKEN = 999_999
"""A fencing token is added to a window's stamp as nanoseconds, and must stay within its millisecond."""


def fenced(token: int) -> int:
    """A token that fits beneath a millisecond. Raises ConfigError."""
    if not 0 <= token <= HIGHEST_TOKEN:
        raise ConfigError(
            f"the lease has changed hands {token:,} times, and roll-ups in InfluxDB can tell {HIGHEST_TOKEN:,} apart:"
            " begin a new database (or host id) for this host"
        )
    return token


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of some tags; every array has shape (n,).

    rank: the place of the window's tag among `tags`. start_ms: UTC epoch ms. mean, low, high, last: NaN where num is 0.
    """

    tags: Sequence[TagId]
    rank: IntArray
    start_ms: IntArray
    count: IntArray
    num: IntArray
    good: IntArray
    mean: FloatArray
    min: FloatArray
    max: FloatArray
    last: FloatArray

    def __len__(self) -> int:
        return len(self.start_ms)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Windows:
        return Windows(self.tags, *(getattr(self, name)[chosen] for name in _ARRAYS))

    def ranked(self, tags: Sequence[TagId], rank: int) -> Windows:
        """Windows of one tag, among others."""
        where = np.full(len(self), rank, np.int64)
        return Windows(tags, where, *(getattr(self, name) for name in _ARRAYS[1:]))

    def ordered(self) -> Windows:
        """By tag and time."""
        return self.where(np.lexsort((self.start_ms, self.rank)))

    def coarser(self, step_ms: int) -> Windows:
        """The same rows in longer windows, of which these must be whole parts; windows of one stamp are joined too."""
        if not len(self):
            return self
        w = self.ordered()
        start = w.start_ms // step_ms * step_ms
        begins = np.flatnonzero((np.diff(w.rank, prepend=-1) != 0) | (np.diff(start, prepend=-1) != 0))
        group = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(w)))
        counts = [np.add.reduceat(getattr(w, name), begins) for name in COUNTS]
        num = counts[1]
        # Shares instead of sums: numbers near the end of what a float holds have a mean, but no sum.
        share = w.num / np.maximum(num, 1)[group]
        mean = np.add.reduceat(np.where(w.num > 0, w.mean, 0.0) * share, begins)
        newest = np.maximum.reduceat(np.where(w.num > 0, np.arange(len(w)), -1), begins)
        none = num == 0
        low, high = np.fmin.reduceat(w.min, begins), np.fmax.reduceat(w.max, begins)
        numbers = [np.where(none, np.nan, column) for column in (np.clip(mean, low, high), low, high, w.last[newest])]
        return Windows(w.tags, w.rank[begins], start[begins], *counts, *numbers)


_ARRAYS = ("rank", "start_ms", *COUNTS, *NUMBERS)


def windows_of(
    tags: Sequence[TagId], rank: IntArray, ts_ms: IntArray, quality: IntArray, value: FloatArray, step_ms: int
) -> Windows:
    """Of rows. value: NaN where there is no number."""
    there = ~np.isnan(value)
    ones = np.ones(len(rank), np.int64)
    good = (quality == Quality.GOOD).astype(np.int64)
    single = Windows(tags, rank, ts_ms, ones, there.astype(np.int64), good, value, value, value, value)
    return single.coarser(step_ms)


def no_windows(tags: Sequence[TagId] = ()) -> Windows:
    whole = np.zeros(0, np.int64)
    number = np.zeros(0)
    return Windows(tags, whole, whole, whole, whole, whole, number, number, number, number)


def joined(parts: Sequence[Windows]) -> Windows:
    """Of the same tags, one after the other."""
    if not parts:
        return no_windows()
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS]
    return Windows(parts[0].tags, *columns)
