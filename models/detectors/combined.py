"""Several detectors in one graph: the one that is furthest over its own threshold speaks.

score = max(score of a member / its threshold), so that 1 is the threshold of the whole; shares and deviations are those
of that member, the latter in the spreads and from the centre of the first member. The thresholds stand for the same
false-alarm rate each, set apart: adding members raises the rate of the whole, at most by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from models.detectors.detector import Detector, Scored, floats, rounded
from models.runtime import DEVIATIONS, NEXT, ROW, SCORE, SHARES
from wire.block import FloatArray


@dataclass(frozen=True)
class Combined:
    """members: fitted detectors of the same inputs. thresholds: of each, above 0. Raises ValueError for other input."""

    members: Sequence[Detector]
    thresholds: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.members) < 2 or len(self.members) != len(self.thresholds) or min(self.thresholds) <= 0.0:
            raise ValueError("give two or more detectors, and a threshold above 0 for each")

    @property
    def centre(self) -> FloatArray | None:
        """Of the first member, where it has one."""
        found: FloatArray | None = getattr(self.members[0], "centre", None)
        return found

    @property
    def scale(self) -> FloatArray | None:
        """Of the first member, where it has one."""
        found: FloatArray | None = getattr(self.members[0], "scale", None)
        return found

    def _translation(self, member: Detector) -> tuple[FloatArray, FloatArray] | None:
        """(factor, offset) from a member's deviations to those of the first; None where they are the same."""
        mine, ours = ((getattr(each, "centre", None), getattr(each, "scale", None)) for each in (member, self))
        if mine[0] is None or mine[1] is None or ours[0] is None or ours[1] is None:
            return None
        if np.array_equal(mine[0], ours[0]) and np.array_equal(mine[1], ours[1]):
            return None
        return rounded(mine[1] / ours[1]), rounded((mine[0] - ours[0]) / ours[1])

    def _deviations(self, member: Detector, own: FloatArray) -> FloatArray:
        to = self._translation(member)
        return own if to is None else own * to[0] + to[1]

    def reach(self) -> FloatArray:
        """Shape (n,): the highest score that each input alone can cause, with the member that it moves most."""
        every = [each.reach() / threshold for each, threshold in zip(self.members, self.thresholds, strict=True)]
        reach: FloatArray = np.max(every, axis=0)
        return reach

    def score(self, rows: FloatArray) -> Scored:
        """The reference in numpy (float64)."""
        told = [each.score(rows) for each in self.members]
        scores = np.stack([each.scores / threshold for each, threshold in zip(told, self.thresholds, strict=True)])
        loudest, at = scores.argmax(axis=0), np.arange(len(rows))
        shares = np.stack([each.shares for each in told])[loudest, at]
        deviations = np.stack(
            [self._deviations(member, each.deviations) for member, each in zip(self.members, told, strict=True)]
        )
        return Scored(scores.max(axis=0), shares, deviations[loudest, at])

    def graph(self) -> onnx.GraphProto:
        """The members' graphs beside one another, their states under names of their own."""
        nodes: list[onnx.NodeProto] = []
        constants: list[onnx.TensorProto] = []
        inputs: list[onnx.ValueInfoProto] = []
        states: list[onnx.ValueInfoProto] = []
        told: list[str] = []
        n = 0
        for i, (member, threshold) in enumerate(zip(self.members, self.thresholds, strict=True)):
            prefix = f"m{i}_"
            part = compose.add_prefix_graph(member.graph(), prefix)
            for node in part.node:
                node.input[:] = [ROW if name == prefix + ROW else name for name in node.input]
            nodes.extend(part.node)
            constants.extend(part.initializer)
            inputs.extend(each for each in part.input if each.name != prefix + ROW)
            states.extend(each for each in part.output if each.name.endswith(NEXT))
            n = next(each for each in part.input if each.name == prefix + ROW).type.tensor_type.shape.dim[0].dim_value
            constants.append(
                numpy_helper.from_array(rounded(np.array([threshold])).astype("<f4"), f"{prefix}threshold")
            )
            nodes.append(helper.make_node("Div", [prefix + SCORE, f"{prefix}threshold"], [f"over_{i}"]))
            told.append(prefix + DEVIATIONS)
            to = self._translation(member)
            if to is not None:
                for what, value in zip(("to_factor", "to_offset"), to, strict=True):
                    constants.append(numpy_helper.from_array(value.astype("<f4"), prefix + what))
                scaled, told[i] = prefix + "to_scaled", prefix + "translated"
                nodes.append(helper.make_node("Mul", [prefix + DEVIATIONS, prefix + "to_factor"], [scaled]))
                nodes.append(helper.make_node("Add", [scaled, prefix + "to_offset"], [told[i]]))
        best: tuple[str, str, str] = ("over_0", "m0_" + SHARES, told[0])
        last = len(self.members) - 1
        for i in range(1, len(self.members)):
            names = (SCORE, SHARES, DEVIATIONS) if i == last else (f"score_{i}", f"shares_{i}", f"deviations_{i}")
            nodes.append(helper.make_node("Greater", [f"over_{i}", best[0]], [f"louder_{i}"]))
            new = (f"over_{i}", f"m{i}_" + SHARES, told[i])
            for mine, theirs, gives in zip(new, best, names, strict=True):
                nodes.append(helper.make_node("Where", [f"louder_{i}", mine, theirs], [gives]))
            best = names
        outputs = [floats(SCORE, 1), floats(SHARES, n), floats(DEVIATIONS, n), *states]
        return helper.make_graph(nodes, "combined", [floats(ROW, n), *inputs], outputs, constants)
