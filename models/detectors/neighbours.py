"""Distance to the nearest normal row that is remembered: normal may have any shape, also several operating points.

The memory is compressed: rows are taken one by one, each time the one that lies furthest from those taken already
(Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985), which
keeps the rare corners that a random sample loses; the wildest hundredth of the normal rows is left out first. The score
is the distance, divided by the level that normal rows exceed once in a hundred; the share of a tag is its squared part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import onnx
from onnx import helper
from pydantic import Field

from models.detectors.detector import Scored, rounded
from models.detectors.pca import smoothing_of
from models.detectors.smoothing import Smoothing, made
from models.runtime import DEVIATIONS, SCORE, SHARES
from wire.block import FloatArray

_LIMIT_QUANTILE = 99.0
_EPSILON = 1e-12


@dataclass(frozen=True)
class Neighbours:
    """A fitted detector. memory: shape (n_memory, n), in robust spreads. limit: of the distance."""

    smoothing: Smoothing
    memory: FloatArray
    limit: float

    @property
    def centre(self) -> FloatArray:
        return self.smoothing.centre

    @property
    def scale(self) -> FloatArray:
        return self.smoothing.scale

    @classmethod
    def fit(
        cls,
        pieces: list[FloatArray],
        smoothing_rows: Annotated[int, Field(ge=1, le=1000)] = 5,
        memory_rows: Annotated[int, Field(ge=1, le=500)] = 64,
    ) -> Neighbours:
        """From normal rows: contiguous stretches, each of shape (n_rows, n), without NaN, no column constant."""
        smoothing = smoothing_of(pieces, smoothing_rows)
        z = np.concatenate([smoothing.deviations(piece) for piece in pieces])
        size = np.linalg.norm(z, axis=1)
        usual = z[size <= np.percentile(size, _LIMIT_QUANTILE)]
        memory = rounded(_spread_out(usual, memory_rows))
        limit = float(np.percentile(_nearest(z, memory)[0], _LIMIT_QUANTILE))
        return cls(smoothing, memory, float(rounded(np.array(max(limit, 1e-6)))))

    def reach(self) -> FloatArray:
        """Shape (n,): the score of each input alone at the ceiling."""
        alone = self.smoothing.ceiling * np.eye(len(self.centre))
        reach: FloatArray = np.minimum(_nearest(alone, self.memory)[0], _nearest(-alone, self.memory)[0]) / self.limit
        return reach

    def score(self, rows: FloatArray) -> Scored:
        """The reference in numpy (float64)."""
        deviations = self.smoothing.deviations(rows)
        _, nearest = _nearest(deviations, self.memory)
        squares = ((deviations - self.memory[nearest]) / self.limit) ** 2 + _EPSILON
        total = squares.sum(axis=1)
        return Scored(np.sqrt(total), squares / total[:, None], deviations)

    def graph(self) -> onnx.GraphProto:
        """One row in, one score out: |z - m|^2 is smallest where |m|^2 / 2 - m z is."""
        nodes = made(
            [
                ("MatMul", ["normal_rows", DEVIATIONS], "likeness"),
                ("Sub", ["half_sizes", "likeness"], "strangeness"),
            ]
        )
        nodes.append(helper.make_node("ArgMin", ["strangeness"], ["nearest"], axis=0, keepdims=0))
        nodes.append(helper.make_node("Gather", ["normal_rows", "nearest"], ["remembered"], axis=0))
        nodes += made(
            [
                ("Sub", [DEVIATIONS, "remembered"], "offsets"),
                ("Div", ["offsets", "limit"], "parts"),
                ("Mul", ["parts", "parts"], "bare_squares"),
                ("Add", ["bare_squares", "epsilon"], "squares"),
            ]
        )
        nodes.append(helper.make_node("ReduceSum", ["squares"], ["total"], keepdims=1))
        nodes += made([("Sqrt", ["total"], SCORE), ("Div", ["squares", "total"], SHARES)])
        constants = {
            "normal_rows": self.memory,
            "half_sizes": 0.5 * (self.memory**2).sum(axis=1),
            "limit": np.array([self.limit]),
            "epsilon": np.array([_EPSILON]),
        }
        return self.smoothing.graph("neighbours", nodes, constants, {})


def _nearest(rows: FloatArray, memory: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(distance, index) of the nearest remembered row, for each row."""
    squares = (rows**2).sum(axis=1)[:, None] + (memory**2).sum(axis=1)[None, :] - 2.0 * rows @ memory.T
    nearest = squares.argmin(axis=1)
    return np.sqrt(np.maximum(squares[np.arange(len(rows)), nearest], 0.0)), nearest


def _spread_out(rows: FloatArray, count: int) -> FloatArray:
    """At most `count` of the rows: the one nearest to the middle, then always the furthest from those taken."""
    taken = [int(np.linalg.norm(rows, axis=1).argmin())]
    far = np.linalg.norm(rows - rows[taken[0]], axis=1)
    while len(taken) < min(count, len(rows)) and far.max() > 0.0:
        taken.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(rows - rows[taken[-1]], axis=1))
    return rows[taken]
