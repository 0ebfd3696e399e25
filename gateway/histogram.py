"""How long something took: counted in buckets since the start, for Prometheus, and the last ones as they are."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any

BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Histogram:
    """Of seconds. One writer; who reads from another thread may see the newest observation in part of it."""

    def __init__(self, recent: int, bounds: Sequence[float] = BUCKETS_S) -> None:
        """recent: how many observations `worst_s` and `quantile_s` look back at. bounds: rising, in seconds."""
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum_s = 0.0
        self._recent: deque[float] = deque(maxlen=recent)

    def observe(self, took_s: float) -> None:
        took_s = max(0.0, took_s)
        self.counts[bisect_left(self._bounds, took_s)] += 1
        self.sum_s += took_s
        self._recent.append(took_s)

    @property
    def worst_s(self) -> float:
        return max(self._recent, default=0.0)

    def quantile_s(self, share: float) -> float:
        """Of the recent ones; 0 before the first."""
        took = sorted(self._recent)
        return took[int(len(took) * share)] if took else 0.0

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound in seconds, observations up to it), the last bound infinite."""
        found, total = [], 0
        for bound, count in zip((*self._bounds, math.inf), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found

    def buckets(self) -> list[tuple[float | None, int]]:
        """The same for JSON, which has no infinity: null."""
        return [(None if math.isinf(bound) else bound, count) for bound, count in self.cumulative()]

    def status(self) -> dict[str, Any]:
        return {"sum_s": round(self.sum_s, 6), "buckets": self.buckets()}
