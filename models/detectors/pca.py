"""Principal components: T-squared within the usual movements, Q outside of them.

Deviations z (smoothed, in robust spreads) move together along few directions. T = |L^-1/2 P'z| is how far they went
along these, Q = |(I - PP')z| how far they left them: a broken relation between tags shows in Q first. Each is held
against the level that normal rows exceed once in a hundred (limits in the sense of Jackson and Mudholkar,
Technometrics 21, 1979, but counted instead of derived: smoothed rows are neither independent nor normal), so that
the two can be compared: score = max(T / limit of T, Q / limit of Q). Shares are squared parts of the greater one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import onnx
from onnx import helper
from pydantic import Field

from models.detectors.detector import Scored, rounded
from models.detectors.robust_distance import RobustDistance
from models.detectors.smoothing import Smoothing, made
from models.runtime import DEVIATIONS, SCORE, SHARES
from wire.block import FloatArray

# Components are kept until they hold so much of the variance.
_KEPT = 0.9
_LIMIT_QUANTILE = 99.0
_WINSOR = 3.0
_EPSILON = 1e-12


@dataclass(frozen=True)
class Pca:
    """A fitted detector. within, outside: shape (n, n), symmetric, divided by their limits. components: how many are
    kept. All constants have 6 significant digits."""

    smoothing: Smoothing
    within: FloatArray
    outside: FloatArray
    components: int

    @property
    def centre(self) -> FloatArray:
        return self.smoothing.centre

    @property
    def scale(self) -> FloatArray:
        return self.smoothing.scale

    @classmethod
    def fit(cls, pieces: list[FloatArray], smoothing_rows: Annotated[int, Field(ge=1, le=1000)] = 5) -> Pca:
        """From normal rows: contiguous stretches, each of shape (n_rows, n), n at least 2, no NaN, none constant."""
        smoothing = smoothing_of(pieces, smoothing_rows)
        z = np.concatenate([smoothing.deviations(piece) for piece in pieces])
        values, vectors = np.linalg.eigh(np.cov(np.clip(z, -_WINSOR, _WINSOR), rowvar=False))
        values, vectors = np.maximum(values[::-1], 1e-9), vectors[:, ::-1]
        held = np.cumsum(values) / values.sum()
        kept = min(int(np.searchsorted(held, _KEPT)) + 1, len(values) - 1)
        basis = vectors[:, :kept]
        within = (basis / np.sqrt(values[:kept])) @ basis.T
        outside = np.eye(len(values)) - basis @ basis.T
        limited = [
            part / np.percentile(np.linalg.norm(z @ part, axis=1), _LIMIT_QUANTILE) for part in (within, outside)
        ]
        return cls(smoothing, rounded(limited[0]), rounded(limited[1]), kept)

    def reach(self) -> FloatArray:
        """Shape (n,): the score of each input alone at the ceiling."""
        both = np.maximum(np.linalg.norm(self.within, axis=0), np.linalg.norm(self.outside, axis=0))
        reach: FloatArray = self.smoothing.ceiling * both
        return reach

    def score(self, rows: FloatArray) -> Scored:
        """The reference in numpy (float64)."""
        deviations = self.smoothing.deviations(rows)
        squares = np.stack([(deviations @ part) ** 2 + _EPSILON for part in (self.within, self.outside)])
        totals = squares.sum(axis=2)
        greater = np.where((totals[0] > totals[1])[:, None], squares[0], squares[1])
        return Scored(np.sqrt(totals.max(axis=0)), greater / greater.sum(axis=1, keepdims=True), deviations)

    def graph(self) -> onnx.GraphProto:
        """One row in, one score out."""
        nodes: list[onnx.NodeProto] = []
        for part in ("within", "outside"):
            nodes += made(
                [
                    ("MatMul", [DEVIATIONS, part], f"{part}_parts"),
                    ("Mul", [f"{part}_parts", f"{part}_parts"], f"{part}_bare"),
                    ("Add", [f"{part}_bare", "epsilon"], f"{part}_squares"),
                ]
            )
            nodes.append(helper.make_node("ReduceSum", [f"{part}_squares"], [f"{part}_total"], keepdims=1))
        nodes += made(
            [
                ("Greater", ["within_total", "outside_total"], "is_within"),
                ("Where", ["is_within", "within_squares", "outside_squares"], "squares"),
                ("Max", ["within_total", "outside_total"], "total"),
                ("Sqrt", ["total"], SCORE),
                ("Div", ["squares", "total"], SHARES),
            ]
        )
        constants = {"within": self.within, "outside": self.outside, "epsilon": np.array([_EPSILON])}
        return self.smoothing.graph("pca", nodes, constants, {})


def smoothing_of(pieces: list[FloatArray], smoothing_rows: int) -> Smoothing:
    """Centre, spread, gain and ceiling as the robust distance takes them from normal rows."""
    fitted = RobustDistance.fit(pieces, smoothing_rows)
    return Smoothing(fitted.centre, fitted.scale, fitted.gain, fitted.ceiling)
