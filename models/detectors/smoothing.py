"""What several detectors begin with: a row in spreads from its centre, bounded and smoothed exponentially."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.detectors.detector import floats
from models.runtime import DEVIATIONS, NEXT, ROW, SCORE, SHARES
from wire.block import FloatArray

Node = tuple[str, list[str], str]
"""(operator, what it takes, what it gives)."""


@dataclass(frozen=True)
class Smoothing:
    """centre, scale: shape (n,), in the inputs' units. gain: of the smoothing, in (0, 1]; 1 is none. ceiling: a value
    counts for at most so many scales before smoothing, so that one wild value cannot fill it."""

    centre: FloatArray
    scale: FloatArray
    gain: float
    ceiling: float

    def deviations(self, rows: FloatArray) -> FloatArray:
        """The reference in float64. rows: one contiguous stretch, shape (n_rows, n)."""
        return smoothed(np.clip((rows - self.centre) / self.scale, -self.ceiling, self.ceiling), self.gain)

    def nodes(self) -> list[Node]:
        """From `row` to `deviations`; states `sum` and `weight` make the smoothing right from the first row on."""
        return [
            ("Sub", [ROW, "centre"], "offset"),
            ("Div", ["offset", "scale"], "z"),
            ("Clip", ["z", "floor", "ceiling"], "bounded"),
            ("Mul", ["bounded", "gain"], "new_part"),
            ("Mul", ["sum", "memory"], "old_part"),
            ("Add", ["old_part", "new_part"], "sum" + NEXT),
            ("Mul", ["weight", "memory"], "old_weight"),
            ("Add", ["old_weight", "gain"], "weight" + NEXT),
            ("Div", ["sum" + NEXT, "weight" + NEXT], DEVIATIONS),
        ]

    def constants(self) -> dict[str, FloatArray]:
        return {
            "centre": self.centre,
            "scale": self.scale,
            "gain": np.array([self.gain]),
            "memory": np.array([1.0 - self.gain]),
            "floor": np.array(-self.ceiling),
            "ceiling": np.array(self.ceiling),
        }

    def graph(
        self, name: str, nodes: list[onnx.NodeProto], constants: dict[str, FloatArray], whole: dict[str, list[int]]
    ) -> onnx.GraphProto:
        """The detector's graph: this smoothing, then `nodes`, which go from `deviations` to `score` and `shares`.

        constants: of these nodes, as float32; whole: theirs that are whole numbers (axes, shapes, indices).
        """
        n = len(self.centre)
        values = [numpy_helper.from_array(v.astype("<f4"), k) for k, v in (self.constants() | constants).items()]
        values += [numpy_helper.from_array(np.array(v, "<i8"), k) for k, v in whole.items()]
        outputs = ((SCORE, 1), (SHARES, n), (DEVIATIONS, n), ("sum" + NEXT, n), ("weight" + NEXT, 1))
        return helper.make_graph(
            [*made(self.nodes()), *nodes],
            name,
            [floats(ROW, n), floats("sum", n), floats("weight", 1)],
            [floats(output, size) for output, size in outputs],
            values,
        )


def made(nodes: list[Node]) -> list[onnx.NodeProto]:
    return [helper.make_node(operator, takes, [gives]) for operator, takes, gives in nodes]


def smoothed(rows: FloatArray, gain: float) -> FloatArray:
    """Exponential smoothing that begins with the first row itself, not with 0. rows: shape (n_rows, n_inputs)."""
    out = np.empty_like(rows)
    total, weight = np.zeros(rows.shape[1]), 0.0
    for i, row in enumerate(rows):
        total = (1.0 - gain) * total + gain * row
        weight = (1.0 - gain) * weight + gain
        out[i] = total / weight
    return out
