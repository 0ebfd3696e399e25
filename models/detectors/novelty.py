"""Range novelty for a single series: how far it leaves the range seen so far, at several time scales at once.

The value in robust standard deviations is smoothed exponentially over several spans; each smoothed series has a range
[low, high]. What leaves it is surprising by its way beyond the edge, as a part of the range's width; the range then
widens, but one row moves an edge by a bounded part only, so that one wild value does not blind the detector. Very
slowly ranges shrink towards their middle, so that what was normal a year ago does not hide what is strange today.
A short fault shows in the short spans, a slow one in the long ones; most show in several, and the mean asks for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from models.detectors.detector import Scored, rounded
from models.detectors.latch import Latch
from models.detectors.nodes import Nodes
from wire.block import FloatArray

# About half a decade apart. NAB (see latch.py): 1, 4, 16, 64 rows 85.4, seven spans from 1 to 100 85.6.
SPANS_ROWS = (1, 3, 10, 30, 100)
_GAINS = np.array([2.0 / (span + 1.0) for span in SPANS_ROWS])
# One row widens a range by at most this part of its width. NAB: 0.05 85.7, 0.4 and 1.0 86.2.
_GROWTH = 0.2
# Time in which a range that nothing touches shrinks to 37 %, in lengths of the fitted rows. NAB: 15 84.3, 20 85.2,
# 30 86.2, 40 78.2, never 72.2 (with a threshold of its own: 85.9, 85.9, 86.5, 81.9, 80.8).
_FORGET_FITS = 25.0
# An excess of e widths counts as log(1 + 10 e), full at 1 width: a small one is told from none, a huge one in one span
# does not outvote the others. NAB, each with a threshold of its own: 3 and 5 85.9, 20 86.8.
_SHARPNESS = 10.0
# Part of the fitted rows before the ranges begin: smoothing and profile have little to go by there. NAB: 0 and
# 0.1 83.2, 0.3 86.2.
_UNSETTLED = 0.2
# Least width, in robust standard deviations: a constant series must not be surprised by the last bit of a float32.
_LEAST_WIDTH = 0.01
# Of a float32: smaller differences are not in the row that the graph gets.
_RESOLUTION = 1.2e-7
# The span whose smoothed value is told as the deviation: short, but not a single row.
_TOLD_SPAN = 1


@dataclass(frozen=True)
class Ranges:
    """Ranges of the smoothed series at the end of the fitted rows. low, high: shape (n_spans,).

    shrink: part of the width by which each edge moves inwards in a row.
    """

    low: FloatArray
    high: FloatArray
    shrink: float

    @classmethod
    def fit(cls, values: FloatArray) -> Ranges:
        """values: shape (n_rows,), in robust standard deviations, in the order in which they came."""
        settled = smoothed(values)[int(len(values) * _UNSETTLED) :]
        # 0, from where smoothing begins, is never strange.
        low, high = np.minimum(settled.min(axis=0), 0.0), np.maximum(settled.max(axis=0), 0.0)
        return cls(rounded(low), rounded(high), float(f"{0.5 / _FORGET_FITS / len(values):.6g}"))

    def surprises(self, values: FloatArray) -> FloatArray:
        """The reference in float64: in [0, 1], shape (n_rows,)."""
        low, high = self.low.copy(), self.high.copy()
        told = np.empty(len(values))
        for i, now in enumerate(smoothed(values)):
            width = high - low + _LEAST_WIDTH
            over, under = np.maximum(now - high, 0.0), np.maximum(low - now, 0.0)
            told[i] = np.log1p(_SHARPNESS * np.minimum((over + under) / width, 1.0)).mean()
            high += np.minimum(over, _GROWTH * width) - self.shrink * width
            low += self.shrink * width - np.minimum(under, _GROWTH * width)
        return told / math.log1p(_SHARPNESS)

    def nodes(self, to: Nodes, value: str) -> tuple[str, str]:
        """(surprise, smoothed value) as nodes. States: the smoothed series, and how far the edges have moved."""
        n = len(SPANS_ROWS)
        before = to.state("smooth", n)
        now = to.add("Add", before, to.add("Mul", to.add("Sub", value, before), to.constant(_GAINS)))
        to.keep("smooth", now)
        raised, lowered = to.state("high_moved", n), to.state("low_moved", n)
        high = to.add("Add", raised, to.constant(self.high))
        low = to.add("Add", lowered, to.constant(self.low))
        width = to.add("Add", to.add("Sub", high, low), to.constant(_LEAST_WIDTH))
        over = to.add("Relu", to.add("Sub", now, high))
        under = to.add("Relu", to.add("Sub", low, now))
        part = to.add("Min", to.add("Div", to.add("Add", over, under), width), to.constant(1.0))
        counted = to.add("Log", to.add("Add", to.add("Mul", part, to.constant(_SHARPNESS)), to.constant(1.0)))
        surprise = to.add("MatMul", counted, to.constant(np.full((n, 1), 1.0 / n / math.log1p(_SHARPNESS))))
        most = to.add("Mul", width, to.constant(_GROWTH))
        shrink = to.add("Mul", width, to.constant(self.shrink))
        to.keep("high_moved", to.add("Sub", to.add("Add", raised, to.add("Min", over, most)), shrink))
        to.keep("low_moved", to.add("Add", to.add("Sub", lowered, to.add("Min", under, most)), shrink))
        told = np.zeros((n, 1))
        told[_TOLD_SPAN] = 1.0
        return surprise, to.add("MatMul", now, to.constant(told))


@dataclass(frozen=True)
class Novelty:
    """A fitted detector for one input. centre, scale: shape (1,), in its unit; 6 significant digits."""

    centre: FloatArray
    scale: FloatArray
    ranges: Ranges
    latch: Latch

    @classmethod
    def fit(cls, values: FloatArray, quiet_rows: float) -> Novelty:
        """values: shape (n_rows,), normal, without NaN. quiet_rows: see Latch."""
        centre, scale = usual(values)
        return cls(centre, scale, Ranges.fit((values - centre) / scale), Latch.fit(quiet_rows))

    def reach(self) -> FloatArray:
        return np.ones(1)

    def score(self, rows: FloatArray) -> Scored:
        """The reference in float64. rows: shape (n_rows, 1)."""
        values = (rows[:, 0] - self.centre) / self.scale
        scores = self.latch.apply(self.ranges.surprises(values))
        return Scored(scores, np.ones((len(rows), 1)), told(values))

    def graph(self) -> onnx.GraphProto:
        to = Nodes()
        surprise, smooth = self.ranges.nodes(to, to.standard(self.centre, self.scale))
        return to.graph("novelty", self.latch.nodes(to, surprise), smooth)


def smoothed(values: FloatArray) -> FloatArray:
    """Shape (n_rows, n_spans). Begins at 0, the usual value: what came before the first row is not known to be odd."""
    out = np.empty((len(values), len(_GAINS)))
    now = np.zeros(len(_GAINS))
    for i, value in enumerate(values):
        now = now + _GAINS * (value - now)
        out[i] = now
    return out


def told(values: FloatArray) -> FloatArray:
    """The smoothed values that a detector tells as deviations. Shape (n_rows, 1)."""
    return smoothed(values)[:, [_TOLD_SPAN]]


def usual(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(centre, robust standard deviation), shape (1,) each; for a constant series 0.1 % of its value, or 1."""
    centre = float(np.median(values))
    measured = (1.482602 * float(np.median(np.abs(values - centre))), float(values.std()), 1e-3 * abs(centre), 1.0)
    spread = next(each for each in measured if each > _RESOLUTION * abs(centre))
    return rounded(np.array([centre])), rounded(np.array([spread]))
