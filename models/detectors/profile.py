"""What is usual at this hour of this weekday: learnt from the history, and on, row by row.

Two means a row: of the hour over all days, and of the hour on this weekday. Few values mean little trust: the hour's
mean leans on the overall one, the weekday's on the hour's (shrinkage, as if so many values had been seen there). Both
go on learning as running means that become exponential ones after a bounded number of values, so that a profile
follows the season.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.detectors.detector import rounded
from models.detectors.nodes import Nodes
from wire.block import FloatArray

# NAB with 12, 20, 28, 48 parts of the day: 67.2, 76.0, 82.4, 82.2 (thresholds of their own: 79.1, 79.5, 82.6, 82.4).
_HOURS, _DAYS = 24, 7
# Values that the mean further out counts for, beside those seen: of the whole beside an hour, of an hour beside an hour
# of one weekday. NAB (see latch.py): 0.5 to 2 in place of the 1 give 85.7 to 86.4, no weekdays at all 73.8.
_LEAN = np.array([0.5, 1.0])
# Values after which a mean becomes exponential. NAB: 10 85.9, 15 86.7, 40 81.9.
_MEMORY = 20.0
# Of a place in the table: its hour for all days, 24 + 24 * weekday + hour for one.
_PLACES = np.arange(_HOURS * (1 + _DAYS), dtype=float)


@dataclass(frozen=True)
class Profile:
    """means: shape (192,), in robust standard deviations; counts: values behind each, at most 20."""

    means: FloatArray
    counts: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, clocks: FloatArray) -> tuple[Profile, FloatArray]:
        """(profile, what remained of each value when only those before it were known).

        values: shape (n_rows,), in the order in which they came. clocks: shape (n_rows, 2), see runtime.Running.score.
        """
        empty = cls(np.zeros(len(_PLACES)), np.zeros(len(_PLACES)))
        means, counts, rest = empty._learn(values, clocks)
        return cls(rounded(means), counts), rest

    def residuals(self, values: FloatArray, clocks: FloatArray) -> FloatArray:
        """The reference in float64: value less what was expected, shape (n_rows,)."""
        return self._learn(values, clocks)[2]

    def _learn(self, values: FloatArray, clocks: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        means, counts = self.means.copy(), self.counts.copy()
        rest = np.empty(len(values))
        hours = np.minimum(clocks[:, 0] // 3600.0, _HOURS - 1).astype(int)
        places = np.column_stack([hours, _HOURS * (1 + clocks[:, 1].astype(int)) + hours])
        for i, (value, at) in enumerate(zip(values, places, strict=True)):
            seen, mean = counts[at], means[at]
            of_hour, of_day = seen * mean / (seen + _LEAN)
            rest[i] = value - of_day - _LEAN[1] / (seen[1] + _LEAN[1]) * of_hour
            counts[at] = np.minimum(seen + 1.0, _MEMORY)
            means[at] = mean + (value - mean) / counts[at]
        return means, counts, rest

    def nodes(self, to: Nodes, value: str) -> str:
        """The residual, as nodes. States: what was learnt since the fit, added to its means and counts."""
        hour_day = to.add("Floor", to.add("Div", to.clock(), to.constant(np.array([3600.0, 1.0]))))
        hour_day = to.add("Min", hour_day, to.constant(np.array([_HOURS - 1.0, _DAYS - 1.0])))
        place = to.add("MatMul", hour_day, to.constant(np.array([[1.0, 1.0], [0.0, _HOURS]])))
        place = to.add("Add", place, to.constant(np.array([0.0, _HOURS])))
        at = to.as_floats(to.add("Equal", to.column(place), to.constant(_PLACES)))  # 1 in each row, shape (2, 192)
        learnt, more = to.state("means_moved", len(_PLACES)), to.state("counts_more", len(_PLACES))
        mean = to.add("MatMul", at, to.add("Add", learnt, to.constant(self.means)))
        seen = to.add("MatMul", at, to.add("Add", more, to.constant(self.counts)))
        trust = to.add("Div", seen, to.add("Add", seen, to.constant(_LEAN)))
        of_hour, of_day = to.cut(to.add("Mul", trust, mean), 1, 1)
        _, day_trust = to.cut(trust, 1, 1)
        left = to.add("Sub", to.add("Sub", value, of_day), of_hour)
        rest = to.add("Add", left, to.add("Mul", day_trust, of_hour))
        now = to.add("Min", to.add("Add", seen, to.constant(1.0)), to.constant(_MEMORY))
        step = to.add("Div", to.add("Sub", value, mean), now)
        to.keep("means_moved", to.add("Add", learnt, to.add("MatMul", step, at)))
        to.keep("counts_more", to.add("Add", more, to.add("MatMul", to.add("Sub", now, seen), at)))
        return rest
