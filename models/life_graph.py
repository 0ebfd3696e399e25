"""The ONNX graph of a remaining-life model: one row and the state in, remaining life with its interval out.

The same as models/life_features.py followed by the nets, in float32; what it remembers of the rows before comes in as
states (zeros at first) and goes out as `..._next`, as in every model file of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.detectors.detector import floats, rounded
from models.life import LOWER, NEXT, ROW, RUL, UPPER
from models.life_features import EARLY_ROWS, SPANS, Fusion
from models.life_nets import Nets
from wire.block import FloatArray


@dataclass(frozen=True)
class Margins:
    """How far the interval reaches below and above a prediction; linear between the knots, constant beyond them.

    at, below, above: shape (n_knots,), in cycles; at rises.
    """

    at: FloatArray
    below: FloatArray
    above: FloatArray

    def interval(self, rul: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) of each prediction; lower is at least 0."""
        lower = np.maximum(rul - np.interp(rul, self.at, self.below), 0.0)
        return lower, rul + np.interp(rul, self.at, self.above)


def graph(columns: int, fusion: Fusion, nets: Nets, margins: Margins) -> onnx.GraphProto:
    """columns: values of a row, in the order of the training data."""
    made = _Graph()
    sensors = len(fusion.sensors)
    z = _standardised(made, fusion)
    states = {"held": sensors}
    features, recursive = _features(made, fusion, z)
    states.update(recursive)
    _predict(made, nets, features)
    _interval(made, margins)
    return helper.make_graph(
        made.nodes,
        "remaining_life",
        [floats(ROW, columns), *(floats(name, size) for name, size in states.items())],
        [
            *(floats(name, 1) for name in (RUL, LOWER, UPPER)),
            *(floats(name + NEXT, size) for name, size in states.items()),
        ],
        made.constants,
    )


class _Graph:
    """Nodes and constants on the way to a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, takes: Sequence[str], gives: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(takes), [gives], **attributes))
        return gives

    def constant(self, name: str, values: FloatArray | float) -> str:
        array = rounded(np.asarray(values, dtype=np.float64)).astype("<f4")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, name: str, values: Sequence[int] | int) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, dtype="<i8"), name))
        return name


def _standardised(made: _Graph, fusion: Fusion) -> str:
    """Each sensor in standard deviations of the row's regime; a missing one keeps its last value."""
    made.add("Gather", [ROW, made.whole("sensor_at", fusion.sensors.tolist())], "sensors")
    if len(fusion.regimes) > 1:
        made.add("Gather", [ROW, made.whole("setting_at", fusion.settings.tolist())], "settings")
        made.add("Sub", ["settings", made.constant("regimes", fusion.regimes)], "offset")
        made.add("Div", ["offset", made.constant("reach", fusion.reach)], "apart")
        made.add("Mul", ["apart", "apart"], "apart_2")
        made.add("ReduceSum", ["apart_2", made.whole("across", [1])], "distance", keepdims=0)
        # A missing setting leaves the regime open: nothing of such a row is believed.
        made.add("Mul", ["settings", made.constant("zero", 0.0)], "nothing")
        made.add("ReduceSum", ["nothing"], "unknown", keepdims=1)
        made.add("IsNaN", ["distance"], "no_distance")
        made.add("Where", ["no_distance", "zero", "distance"], "known_distance")
        made.add("ArgMin", ["known_distance"], "regime", axis=0, keepdims=0)
        made.add("Gather", [made.constant("centres", fusion.centre), "regime"], "centre", axis=0)
        made.add("Gather", [made.constant("scales", fusion.scale), "regime"], "scale", axis=0)
        made.add("Sub", ["sensors", "centre"], "from_centre")
        made.add("Add", ["from_centre", "unknown"], "deviation")
    else:
        made.add("Sub", ["sensors", made.constant("centre", fusion.centre[0])], "deviation")
        made.constant("scale", fusion.scale[0])
    made.add("Div", ["deviation", "scale"], "z_as_read")
    made.add("IsNaN", ["z_as_read"], "missing")
    made.add(
        "Clip",
        ["z_as_read", made.constant("floor", -fusion.ceiling), made.constant("ceiling", fusion.ceiling)],
        "z_bounded",
    )
    return made.add("Where", ["missing", "held", "z_bounded"], "held" + NEXT)


def _features(made: _Graph, fusion: Fusion, z: str) -> tuple[str, dict[str, int]]:
    """(the features, the states that they need)."""
    k, spans = fusion.directions, len(SPANS)
    gain = np.repeat(1.0 / np.array(SPANS), k)
    made.add("MatMul", [z, made.constant("weights", fusion.weights)], "fused")
    made.add("Concat", ["fused"] * spans, "fused_each", axis=0)
    made.add("Mul", ["fused_each", made.constant("gain", gain)], "new_part")
    made.add("Mul", ["recent", made.constant("memory", 1.0 - gain)], "old_part")
    made.add("Add", ["old_part", "new_part"], "recent" + NEXT)
    made.add("Mul", ["recent_weight", "memory"], "old_weight")
    made.add("Add", ["old_weight", "gain"], "recent_weight" + NEXT)
    made.add("Div", ["recent" + NEXT, "recent_weight" + NEXT], "recent_mean")
    made.add("Add", ["age", made.constant("one", np.ones(1))], "age" + NEXT)
    made.add("Add", ["total", "fused"], "total" + NEXT)
    made.add("Div", ["total" + NEXT, "age" + NEXT], "total_mean")
    made.add("Less", ["age", made.constant("early_rows", np.array([EARLY_ROWS]))], "is_early")
    made.add("Cast", ["is_early"], "counts", to=TensorProto.FLOAT)
    made.add("Mul", ["fused", "counts"], "early_part")
    made.add("Add", ["early", "early_part"], "early" + NEXT)
    made.add("Min", ["age" + NEXT, "early_rows"], "early_age")
    made.add("Div", ["early" + NEXT, "early_age"], "early_mean")
    features = made.add("Concat", ["recent_mean", "early_mean", "total_mean", "age" + NEXT], "features", axis=0)
    return features, {"recent": spans * k, "recent_weight": spans * k, "early": k, "total": k, "age": 1}


def _predict(made: _Graph, nets: Nets, features: str) -> None:
    made.add("Max", [features, made.constant("feature_low", nets.low)], "not_too_low")
    made.add("Min", ["not_too_low", made.constant("feature_high", nets.high)], "within")
    made.add("Sub", ["within", made.constant("feature_centre", nets.centre)], "feature_offset")
    made.add("Div", ["feature_offset", made.constant("feature_scale", nets.scale)], "standard")
    values = made.add("Reshape", ["standard", made.whole("as_row", [1, 1, -1])], "layer_in")
    for i, (weights, bias) in enumerate(nets.layers):
        made.add("MatMul", [values, made.constant(f"layer{i}_weights", weights)], f"layer{i}_sum")
        values = made.add("Add", [f"layer{i}_sum", made.constant(f"layer{i}_bias", bias)], f"layer{i}_out")
        if i < len(nets.layers) - 1:
            values = made.add("Tanh", [values], f"layer{i}_bent")
    made.add("ReduceMean", [values], "each_net", keepdims=0)
    made.add("Reshape", ["each_net", made.whole("as_one", [1])], "mean")
    made.add("Mul", ["mean", made.constant("spread", np.array([nets.spread]))], "scaled")
    made.add("Add", ["scaled", made.constant("middle", np.array([nets.middle]))], "cycles")
    made.add("Relu", ["cycles"], RUL)


def _interval(made: _Graph, margins: Margins) -> None:
    """Piecewise linear: the first margin and, for each stretch between knots, its slope times the way into it."""
    made.add("Max", [RUL, made.constant("stretch_from", margins.at[:-1])], "after_start")
    made.add("Min", ["after_start", made.constant("stretch_to", margins.at[1:])], "in_stretch")
    made.add("Sub", ["in_stretch", "stretch_from"], "way")
    width = np.diff(margins.at)
    for name, values in (("below", margins.below), ("above", margins.above)):
        made.add("Mul", ["way", made.constant(f"{name}_slope", np.diff(values) / width)], f"{name}_parts")
        made.add("ReduceSum", [f"{name}_parts"], f"{name}_way", keepdims=1)
        made.add("Add", [f"{name}_way", made.constant(f"{name}_first", values[:1])], name)
    made.add("Sub", [RUL, "below"], "lower_as_said")
    made.add("Relu", ["lower_as_said"], LOWER)
    made.add("Add", [RUL, "above"], UPPER)
