"""Small models of our own making: what a detector may be, beyond those that come with Gaugeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.alarm_logic import AlarmRule
from models.detectors.detector import floats
from models.export import export
from models.manifest import Calibrated, FalseAlarms, Input, Manifest, Training

CURVE = tuple(Calibrated(rows, 4.0 + i, 0) for i, rows in enumerate((100, 1_000, 10_000)))

MANIFEST = Manifest(
    name="small",
    version="1",
    detector="small",
    inputs=(Input("a", "bar", 0.0, 1.0, ("b",)), Input("b", "Cel", 0.0, 1.0, ("a",))),
    period_s=1.0,
    threshold=5.0,
    warm_up_rows=2,
    false_alarms=FalseAlarms(1_000, 5_000, 4, "said", CURVE),
    alarm=AlarmRule(1, 0, 1, 1.0),
    training=Training("nowhere", "never", 1, "0" * 64),
    takes_missing=True,
)


def largest(clock: bool = False, operator: str = "ReduceMax") -> onnx.GraphProto:
    """score = the largest value, missing ones left out; with a clock, the hour of the day counts too."""
    nodes = [
        helper.make_node("IsNaN", ["row"], ["gone"]),
        helper.make_node("Where", ["gone", "nothing", "row"], ["deviations"]),
        helper.make_node("Abs", ["deviations"], ["sizes"]),
        helper.make_node(operator, ["sizes"], ["largest"], axes=[0], keepdims=1),
        helper.make_node("ReduceSum", ["sizes"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "little"], ["total"]),
        helper.make_node("Div", ["sizes", "total"], ["shares"]),
    ]
    inputs = [floats("row", 2)]
    if clock:
        inputs.append(floats("clock", 2))
        nodes += [
            helper.make_node("Mul", ["clock", "weights"], ["weighed"]),
            helper.make_node("ReduceSum", ["weighed"], ["hour"], keepdims=1),
            helper.make_node("Add", ["largest", "hour"], ["score"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["largest"], ["score"]))
    constants = {"nothing": [0.0], "little": [1e-6], "weights": [1 / 3600, 100.0]}
    return helper.make_graph(
        nodes,
        "largest",
        inputs,
        [floats("score", 1), floats("shares", 2), floats("deviations", 2)],
        [numpy_helper.from_array(np.array(value, "<f4"), name) for name, value in constants.items()],
    )


def write(path: Path, manifest: Manifest = MANIFEST, *, clock: bool = False, signature: str = "") -> Path:
    path.write_bytes(export(largest(clock), replace(manifest, signature=signature)))
    return path
