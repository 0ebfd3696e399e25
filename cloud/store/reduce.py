"""Fewer points for a chart: each slice of time keeps its lowest and its highest value. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloud.store.port import Series
from wire.block import FloatArray


def reduced(t: NDArray[np.int64], v: FloatArray, q: NDArray[np.int64], points: int, source: str = "raw") -> Series:
    """About `points` of the rows at most, oldest first.

    t: shape (n,), rising. v: shape (n,), NaN where there is no value. q: shape (n,), Quality codes. A slice that
    holds rows without value also keeps the first of those: a time without values stays to be seen.
    """
    n = len(t)
    if n > points > 0:
        slices = max(1, points // 3)
        slot = np.minimum((np.arange(n) * slices) // n, slices - 1)
        starts = np.flatnonzero(np.diff(slot, prepend=-1))
        empty = np.isnan(v)
        keep = np.zeros(n, dtype=bool)
        keep[[0, n - 1]] = True
        for fill, pick in ((np.inf, np.minimum), (-np.inf, np.maximum)):
            filled = np.where(empty, fill, v)
            extreme = pick.reduceat(filled, starts)
            hits = np.flatnonzero((filled == extreme[slot]) & ~empty)
            _, first = np.unique(slot[hits], return_index=True)
            keep[hits[first]] = True
        gaps = np.flatnonzero(empty)
        _, first = np.unique(slot[gaps], return_index=True)
        keep[gaps[first]] = True
        t, v, q = t[keep], v[keep], q[keep]
    numbers: list[float | None] = [None if x != x else x for x in v.tolist()]
    return Series(t.tolist(), numbers, q.tolist(), source)
