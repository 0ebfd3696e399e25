"""Has the level of a tag moved? The furthest smoothed deviation of all tags, each in the spread of its own wander.

From a short calibration (minutes) the plain standard deviation of a tag says little about where its level may be a
few minutes later: noise smooths out, wander does not. So the spread is that of the smoothed value against itself some
rows earlier. What is below the floor of its kind of sensor is no change at all: a person gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from models.detectors.detector import Scored, rounded
from models.detectors.smoothing import Smoothing, made, smoothed
from models.runtime import DEVIATIONS, SCORE, SHARES
from wire.block import FloatArray

# 90 % of a normal distribution lie within 1.6449 standard deviations; a difference has a root 2 wider one.
_QUANTILE, _OF_NORMAL = 90.0, 1.6449 * np.sqrt(2.0)
# A calibration that changes its operating point once: where the latter half is so many times quieter, it alone counts.
_CHANGED = 5.0
# A column with no more distinct values than this is a coarse one; a tenth of its step is no change.
_COARSE, _STEP_PART = 100, 0.1
_EPSILON = 1e-12
# One wild value alone stays just below the threshold, however wild.
ALONE = 0.95


@dataclass(frozen=True)
class LevelSettings:
    """smoothing_rows: the span (gain = 2 / (span + 1)). lag_rows: over which wander is measured. centre_rows: the last
    rows of the calibration, whose median is normal. threshold: that the score will be held against."""

    smoothing_rows: int
    lag_rows: int
    centre_rows: int
    threshold: float

    @property
    def rows_needed(self) -> int:
        """The least calibration: four lags beside the rows in which the smoothing begins."""
        return self.smoothing_rows + max(4 * self.lag_rows, self.centre_rows)


@dataclass(frozen=True)
class Level:
    """A fitted detector; all constants have 6 significant digits."""

    smoothing: Smoothing

    @property
    def centre(self) -> FloatArray:
        return self.smoothing.centre

    @property
    def scale(self) -> FloatArray:
        return self.smoothing.scale

    @classmethod
    def fit(cls, rows: FloatArray, settings: LevelSettings, floors: FloatArray, parts: FloatArray) -> Level:
        """From one stretch of normal rows, shape (n_rows, n), without NaN.

        floors: shape (n,), the least spread of each tag in its unit; parts: the same as a part of its usual value.
        Raises ValueError where there are too few rows.
        """
        return cls.of_pieces([rows], settings, floors, parts)

    @classmethod
    def of_pieces(
        cls, pieces: Sequence[FloatArray], settings: LevelSettings, floors: FloatArray, parts: FloatArray
    ) -> Level:  # fmt: skip
        """As fit, from several stretches, the newest one last; those too short for a lag say nothing."""
        shortest = settings.smoothing_rows + settings.lag_rows
        pieces = [piece for piece in pieces if len(piece) > shortest]
        if sum(map(len, pieces)) < settings.rows_needed:
            raise ValueError(f"needs {settings.rows_needed} rows (got {sum(map(len, pieces))})")
        gain = float(rounded(np.array(2.0 / (settings.smoothing_rows + 1))))
        smooth = [smoothed(piece, gain) for piece in pieces]
        centre = rounded(np.median(np.concatenate(smooth)[-settings.centre_rows :], axis=0))
        settled = [each[settings.smoothing_rows :] for each in smooth]
        wander = _wander(settled, settings.lag_rows)
        late = _wander(_last(settled, settings.centre_rows), settings.lag_rows)
        spread = np.where(wander > _CHANGED * late, late, wander)
        steps = np.concatenate([np.diff(piece, axis=0) for piece in pieces])
        noise = steps.std(axis=0) / np.sqrt(2.0) * np.sqrt(gain / (2.0 - gain))
        least = np.maximum(floors, parts * np.abs(centre))
        spread = np.maximum.reduce([spread, noise, _STEP_PART * _steps(np.concatenate(pieces)), least])
        # A column that never moved: any change is one.
        spread = np.where(spread > 0.0, spread, np.maximum(1e-3 * np.abs(centre), 1e-6))
        ceiling = float(rounded(np.array(ALONE * settings.threshold / gain)))
        return cls(Smoothing(centre, rounded(spread), gain, ceiling))

    def reach(self) -> FloatArray:
        """Shape (n,): the score of each input alone at the ceiling."""
        return np.full(len(self.centre), self.smoothing.ceiling)

    def score(self, rows: FloatArray) -> Scored:
        """The reference in numpy (float64)."""
        deviations = self.smoothing.deviations(rows)
        squares = deviations**2 + _EPSILON
        return Scored(np.abs(deviations).max(axis=1), squares / squares.sum(axis=1, keepdims=True), deviations)

    def graph(self) -> onnx.GraphProto:
        """One row in, one score out."""
        nodes = made([("Abs", [DEVIATIONS], "sizes"), ("Mul", [DEVIATIONS, DEVIATIONS], "bare_squares")])
        nodes += made([("Add", ["bare_squares", "epsilon"], "squares")])
        nodes.append(helper.make_node("ReduceMax", ["sizes"], [SCORE], keepdims=1))
        nodes.append(helper.make_node("ReduceSum", ["squares"], ["total"], keepdims=1))
        nodes.append(helper.make_node("Div", ["squares", "total"], [SHARES]))
        return self.smoothing.graph("level", nodes, {"epsilon": np.array([_EPSILON])}, {})


def _wander(smooth: Sequence[FloatArray], lag: int) -> FloatArray:
    """Standard deviation of each column against itself `lag` rows earlier, deaf to the wildest tenth."""
    apart = np.concatenate([np.abs(each[lag:] - each[:-lag]) for each in smooth])
    spread: FloatArray = np.percentile(apart, _QUANTILE, axis=0) / _OF_NORMAL
    return spread


def _last(pieces: Sequence[FloatArray], rows: int) -> list[FloatArray]:
    """The last rows of all pieces together, as pieces."""
    taken = [pieces[-1][-rows:]]
    for piece in reversed(pieces[:-1]):
        rows -= len(taken[0])
        if rows <= 0:
            break
        taken.insert(0, piece[-rows:])
    return taken


def _steps(rows: FloatArray) -> FloatArray:
    """The usual step between neighbouring values of each coarse column; 0 for a fine one."""
    steps = np.zeros(rows.shape[1])
    for i, column in enumerate(rows.T):
        values = np.unique(column)
        if 1 < len(values) < _COARSE:
            gaps = np.diff(values)
            steps[i] = np.median(gaps[gaps > 1e-6 * np.ptp(values)])
    return steps
