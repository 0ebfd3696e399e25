"""Distance of the smoothed row from normal operation, in robust standard deviations, all tags together.

With z the row in robust standard deviations (median and MAD), bounded, after short exponential smoothing, and C the
shrunk correlation of normal z: score = |C^-1/2 z| (a Mahalanobis distance), share of tag i = its squared part of that.
The symmetric root keeps each part next to its own tag, and the parts sum to the whole (Kessy, Lewin and Strimmer,
"Optimal whitening and decorrelation", The American Statistician 72, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from models.detectors.detector import Scored, floats, rounded
from models.detectors.smoothing import smoothed
from models.runtime import DEVIATIONS, EXPECTED, NEXT, ROW, SCORE, SHARES
from wire.block import FloatArray

# Winsorising at 3 robust standard deviations keeps single outliers out of the correlation.
_WINSOR = 3.0
# Towards "no correlation": bounds the condition number, so that float32 is enough and no tag pair is trusted blindly.
_SHRINK = 0.1
# One wild value must not fill the smoothing and raise an alarm by itself: a value counts for at most so many robust
# standard deviations, or twice the most that normal operation showed.
_CEILING, _CEILING_OVER_NORMAL = 10.0, 2.0
# MAD and half the 25-75 % range of a normal distribution, as standard deviations.
_MAD, _IQR = 1.482602, 0.7413011
# Keeps shares defined (equal) where the distance is 0.
_EPSILON = 1e-12


@dataclass(frozen=True)
class RobustDistance:
    """A fitted detector. centre, scale: shape (n,), in the inputs' units. whitening: shape (n, n), symmetric.

    gain: of the exponential smoothing, in (0, 1]; 1 is none. ceiling: bound of a value before smoothing, in robust
    standard deviations. All constants have 6 significant digits.
    """

    centre: FloatArray
    scale: FloatArray
    whitening: FloatArray
    gain: float
    ceiling: float

    @classmethod
    def fit(cls, pieces: list[FloatArray], smoothing_rows: Annotated[int, Field(ge=1, le=1000)] = 5) -> RobustDistance:
        """From normal rows. pieces: contiguous stretches, each of shape (n_rows, n_inputs), without NaN.

        smoothing_rows: the span of the smoothing (gain = 2 / (span + 1)). No column may be constant.
        """
        gain = float(rounded(np.array(2.0 / (smoothing_rows + 1))))
        smooth = np.concatenate([smoothed(piece, gain) for piece in pieces])
        centre = rounded(np.median(smooth, axis=0))
        scale = rounded(_spread(smooth - centre))
        z = (smooth - centre) / scale
        ceiling = max(_CEILING, _CEILING_OVER_NORMAL * float(np.abs(z).max()))
        values, vectors = np.linalg.eigh(correlation_of(z))
        whitening = rounded((vectors / np.sqrt(values)) @ vectors.T)
        return cls(centre, scale, whitening, gain, float(rounded(np.array(ceiling))))

    def suggesting(self) -> FloatArray:
        """Shape (n, n): deviations @ suggesting is what the others suggest for each input, above its centre.

        With P the inverse of the correlation, the others suggest z_i - (P z)_i / P_ii (the conditional mean of a normal
        distribution).
        """
        precision = self.whitening @ self.whitening
        return rounded((np.eye(len(self.centre)) - precision / np.diag(precision)) * self.scale)

    def expected(self, deviations: FloatArray) -> FloatArray:
        """What the other inputs suggest for each, in its unit. deviations: shape (n_rows, n)."""
        found: FloatArray = self.centre + deviations @ self.suggesting()
        return found

    def reach(self) -> FloatArray:
        """Shape (n,): the score of each input alone at the ceiling; a threshold above it can never be passed by it."""
        reach: FloatArray = self.ceiling * np.linalg.norm(self.whitening, axis=0)
        return reach

    def score(self, rows: FloatArray) -> Scored:
        """The reference in numpy (float64), for calibration and as the witness of the ONNX graph."""
        bounded = np.clip((rows - self.centre) / self.scale, -self.ceiling, self.ceiling)
        deviations = smoothed(bounded, self.gain)
        squares = (deviations @ self.whitening) ** 2 + _EPSILON
        total = squares.sum(axis=1)
        return Scored(np.sqrt(total), squares / total[:, None], deviations)

    def graph(self) -> onnx.GraphProto:
        """One row in, one score out; states `sum` and `weight` make the smoothing right from the first row on."""
        n = len(self.centre)
        constants = {
            "centre": self.centre,
            "scale": self.scale,
            "whitening": self.whitening,
            "suggesting": self.suggesting(),
            "gain": np.array([self.gain]),
            "memory": np.array([1.0 - self.gain]),
            "epsilon": np.array([_EPSILON]),
            "floor": np.array(-self.ceiling),
            "ceiling": np.array(self.ceiling),
        }
        nodes = [
            helper.make_node(operator, takes, [gives])
            for operator, takes, gives in (
                ("Sub", [ROW, "centre"], "offset"),
                ("Div", ["offset", "scale"], "z"),
                ("Clip", ["z", "floor", "ceiling"], "bounded"),
                ("Mul", ["bounded", "gain"], "new_part"),
                ("Mul", ["sum", "memory"], "old_part"),
                ("Add", ["old_part", "new_part"], "sum" + NEXT),
                ("Mul", ["weight", "memory"], "old_weight"),
                ("Add", ["old_weight", "gain"], "weight" + NEXT),
                ("Div", ["sum" + NEXT, "weight" + NEXT], DEVIATIONS),
                ("MatMul", [DEVIATIONS, "whitening"], "parts"),
                ("Mul", ["parts", "parts"], "bare_squares"),
                ("Add", ["bare_squares", "epsilon"], "squares"),
                ("MatMul", [DEVIATIONS, "suggesting"], "suggested"),
                ("Add", ["suggested", "centre"], EXPECTED),
            )
        ]
        nodes.append(helper.make_node("ReduceSum", ["squares"], ["total"], keepdims=1))
        nodes.append(helper.make_node("Sqrt", ["total"], [SCORE]))
        nodes.append(helper.make_node("Div", ["squares", "total"], [SHARES]))
        return helper.make_graph(
            nodes,
            "robust_distance",
            [floats(ROW, n), floats("sum", n), floats("weight", 1)],
            [
                floats(name, size)
                for name, size in (
                    (SCORE, 1),
                    (SHARES, n),
                    (DEVIATIONS, n),
                    (EXPECTED, n),
                    ("sum" + NEXT, n),
                    ("weight" + NEXT, 1),
                )
            ],
            [numpy_helper.from_array(value.astype("<f4"), name) for name, value in constants.items()],
        )


def correlation_of(z: FloatArray) -> FloatArray:
    """Shape (n, n): of normal rows in robust spreads, deaf to single outliers, shrunk."""
    correlation = np.atleast_2d(np.corrcoef(np.clip(z, -_WINSOR, _WINSOR), rowvar=False))
    shrunk: FloatArray = (1.0 - _SHRINK) * correlation + _SHRINK * np.eye(len(correlation))
    return shrunk


def _spread(offsets: FloatArray) -> FloatArray:
    """Robust standard deviation of each column; wider measures where more than half of a column is one value."""
    mad = _MAD * np.median(np.abs(offsets), axis=0)
    quarter, three_quarters = np.percentile(offsets, [25.0, 75.0], axis=0)
    wider = np.where(mad > 0, mad, _IQR * (three_quarters - quarter))
    spread: FloatArray = np.where(wider > 0, wider, offsets.std(axis=0))
    return spread
