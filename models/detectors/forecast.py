"""Forecast residual: what the last rows let expect, against what came, by its tail probability.

An autoregressive forecast of one row ahead, fitted by ridge regression. Its error is measured in standard deviations
of the errors so far: their variance follows slowly, and no single error counts for more than three of them, so that a
fault does not make itself usual. Finds jumps, spikes and a change of the manner in which a series moves; says nothing
of the hour and little of slow drifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from models.detectors import tail
from models.detectors.detector import Scored, rounded
from models.detectors.latch import Latch
from models.detectors.nodes import Nodes
from models.detectors.novelty import usual
from wire.block import FloatArray

# Rows that the forecast looks back, and the ridge, in rows of one robust standard deviation. NAB's public half, at the
# best threshold: 4 rows 44.6, 8 rows 41.5, 16 rows 41.1.
_ORDER, _RIDGE = 4, 1.0
# The error is smoothed over so many rows: one odd row counts, two in the same direction count more.
_GAIN = 2.0 / (3.0 + 1.0)
_CALM = math.sqrt(_GAIN / (2.0 - _GAIN))  # standard deviation of smoothed white noise
# Rows over which the variance of the errors follows, and the bound of a squared error in variances.
_VARIANCE_ROWS, _BOUND = 1000.0, 9.0
# Least variance, in squared robust standard deviations: see novelty._LEAST_WIDTH.
_LEAST_VARIANCE = 1e-4


@dataclass(frozen=True)
class Forecast:
    """A fitted detector for one input. centre, scale: shape (1,), in its unit.

    weights: shape (4,), of the last rows, the oldest first. variance: shape (1,), of the errors, in squared robust
    standard deviations.
    """

    centre: FloatArray
    scale: FloatArray
    weights: FloatArray
    variance: FloatArray
    latch: Latch

    @classmethod
    def fit(cls, values: FloatArray, quiet_rows: float) -> Forecast:
        """values: shape (n_rows,), normal, without NaN. quiet_rows: see Latch."""
        centre, scale = usual(values)
        standard = (values - centre) / scale
        past = np.lib.stride_tricks.sliding_window_view(standard, _ORDER)[:-1]
        weights = np.linalg.solve(past.T @ past + _RIDGE * np.eye(_ORDER), past.T @ standard[_ORDER:])
        errors = standard[_ORDER:] - past @ weights
        variance = max(float(usual(errors)[1][0]) ** 2, float(np.mean(errors**2)) / _BOUND, _LEAST_VARIANCE)
        return cls(
            centre,
            scale,
            rounded(np.asarray(weights, np.float64)),
            rounded(np.array([variance])),
            Latch.fit(quiet_rows),
        )

    def reach(self) -> FloatArray:
        return np.ones(1)

    def score(self, rows: FloatArray) -> Scored:
        """The reference in float64. rows: shape (n_rows, 1)."""
        standard = (rows[:, 0] - self.centre) / self.scale
        past, variance, now = np.zeros(_ORDER), float(self.variance[0]), 0.0
        deviations = np.empty(len(rows))
        for i, value in enumerate(standard):
            error = float(value - past @ self.weights)
            now += _GAIN * (error / math.sqrt(variance) - now)
            deviations[i] = now / _CALM
            bounded = min(error * error, _BOUND * variance)
            variance += (max(bounded, _LEAST_VARIANCE) - variance) / _VARIANCE_ROWS
            past = np.append(past[1:], value)
        return Scored(self.latch.apply(tail.surprise(deviations)), np.ones((len(rows), 1)), deviations[:, None])

    def graph(self) -> onnx.GraphProto:
        to = Nodes()
        value = to.standard(self.centre, self.scale)
        past = to.state("past", _ORDER)
        error = to.add("Sub", value, to.add("MatMul", past, to.constant(self.weights[:, None])))
        to.keep("past", to.joined(to.cut(past, 1, _ORDER - 1)[1], value))
        moved, before = to.state("variance_moved", 1), to.state("smooth", 1)
        variance = to.add("Add", moved, to.constant(self.variance))
        apart = to.add("Div", error, to.add("Sqrt", variance))
        now = to.add("Add", before, to.add("Mul", to.add("Sub", apart, before), to.constant(_GAIN)))
        to.keep("smooth", now)
        bounded = to.add("Min", to.add("Mul", error, error), to.add("Mul", variance, to.constant(_BOUND)))
        bounded = to.add("Max", bounded, to.constant(_LEAST_VARIANCE))
        step = to.add("Div", to.add("Sub", bounded, variance), to.constant(_VARIANCE_ROWS))
        to.keep("variance_moved", to.add("Add", moved, step))
        deviation = to.add("Div", now, to.constant(_CALM))
        return to.graph("forecast", self.latch.nodes(to, tail.nodes(to, deviation)), deviation)
