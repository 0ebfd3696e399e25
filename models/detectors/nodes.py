"""Builds a detector's graph node by node, in the order in which it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_pb import NodeProto

from models.detectors.detector import floats
from models.runtime import CLOCK, DEVIATIONS, NEXT, ROW, SCORE, SHARES
from wire.block import FloatArray


class Nodes:
    """A graph for one input that is being written. Names of values are strings, as in ONNX."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = [floats(ROW, 1)]
        self._outputs: list[onnx.ValueInfoProto] = []
        self._kept: dict[str, str] = {}

    def constant(self, value: float | FloatArray) -> str:
        """A float32 constant; a number becomes a vector of one."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.atleast_1d(value).astype("<f4"), name))
        return name

    def clock(self) -> str:
        """Second of the local day and weekday, shape (2,)."""
        self._inputs.append(floats(CLOCK, 2))
        return CLOCK

    def state(self, name: str, size: int) -> str:
        """A vector that begins as zeros; keep() says what it becomes."""
        self._inputs.append(floats(name, size))
        self._outputs.append(floats(name + NEXT, size))
        return name

    def keep(self, name: str, value: str) -> None:
        """The state's value for the next row: one that a node gives, and that no other state keeps."""
        self._kept[value] = name + NEXT

    def add(self, operator: str, *takes: str) -> str:
        """One node with one output, whose name it returns."""
        return self._gives(lambda name: helper.make_node(operator, list(takes), [name]))

    def joined(self, *vectors: str) -> str:
        """Vectors one after the other."""
        return self._gives(lambda name: helper.make_node("Concat", list(vectors), [name], axis=0))

    def standard(self, centre: FloatArray, scale: FloatArray) -> str:
        """The row in robust standard deviations."""
        return self.add("Div", self.add("Sub", ROW, self.constant(centre)), self.constant(scale))

    def cut(self, vector: str, first: int, rest: int) -> tuple[str, str]:
        """A vector as its first values and the rest."""
        one, two = f"{vector}_first", f"{vector}_rest"
        sizes = self._whole_numbers(first, rest)
        self._nodes.append(helper.make_node("Split", [vector, sizes], [one, two], axis=0))
        return one, two

    def column(self, vector: str) -> str:
        """A vector of shape (n,) as (n, 1)."""
        return self.add("Unsqueeze", vector, self._whole_numbers(1))

    def as_floats(self, truth: str) -> str:
        """1 where true, 0 where false."""
        return self._gives(lambda name: helper.make_node("Cast", [truth], [name], to=TensorProto.FLOAT))

    def graph(self, name: str, score: str, deviation: str) -> onnx.GraphProto:
        """The finished graph. One input has the whole share."""
        self._kept |= {score: SCORE, deviation: DEVIATIONS}
        for node in self._nodes:
            node.input[:] = [self._kept.get(value, value) for value in node.input]
            node.output[:] = [self._kept.get(value, value) for value in node.output]
        self._nodes.append(helper.make_node("Identity", [self.constant(1.0)], [SHARES]))
        told = [floats(output, 1) for output in (SCORE, SHARES, DEVIATIONS)]
        return helper.make_graph(self._nodes, name, self._inputs, told + self._outputs, self._constants)

    def _gives(self, node: Callable[[str], NodeProto]) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(node(name))
        return name

    def _whole_numbers(self, *numbers: int) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name
