"""Residual of a seasonal profile: what this hour of this weekday usually brings, against what it brings now.

For car parks, traffic and loads, whose values are all common, only not at any time. The residual is smoothed over some
rows and told by its tail probability, in robust standard deviations of the residuals of the fitted rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from models.detectors import tail
from models.detectors.detector import Scored, rounded
from models.detectors.latch import Latch
from models.detectors.nodes import Nodes
from models.detectors.novelty import usual
from models.detectors.profile import Profile
from wire.block import FloatArray

# A single odd row is no alarm. NAB's public half, at the best threshold: 1 row 54.9, 3 rows 45.4, 10 rows 48.1, 30 rows
# 38.5; what is lost there are single spikes, which range novelty finds.
_SPAN_ROWS = 10
_GAIN = 2.0 / (_SPAN_ROWS + 1.0)
# Part of the fitted rows that only fill the profile.
_UNSETTLED = 0.2


@dataclass(frozen=True)
class Seasonal:
    """A fitted detector for one input. centre, scale: shape (1,), in its unit. spread: of the smoothed residual."""

    centre: FloatArray
    scale: FloatArray
    profile: Profile
    spread: FloatArray
    latch: Latch

    @classmethod
    def fit(cls, values: FloatArray, clocks: FloatArray, quiet_rows: float) -> Seasonal:
        """values: shape (n_rows,), normal, without NaN. clocks: shape (n_rows, 2). quiet_rows: see Latch."""
        centre, scale = usual(values)
        profile, rest = Profile.fit((values - centre) / scale, clocks)
        spread = usual(_smoothed(rest)[int(len(rest) * _UNSETTLED) :])[1]
        return cls(centre, scale, profile, rounded(spread), Latch.fit(quiet_rows))

    def reach(self) -> FloatArray:
        return np.ones(1)

    def score(self, rows: FloatArray, clocks: FloatArray) -> Scored:
        """The reference in float64. rows: shape (n_rows, 1). clocks: shape (n_rows, 2)."""
        rest = self.profile.residuals((rows[:, 0] - self.centre) / self.scale, clocks)
        deviations = _smoothed(rest) / self.spread
        return Scored(self.latch.apply(tail.surprise(deviations)), np.ones((len(rows), 1)), deviations[:, None])

    def graph(self) -> onnx.GraphProto:
        to = Nodes()
        rest = self.profile.nodes(to, to.standard(self.centre, self.scale))
        before = to.state("smooth", 1)
        now = to.add("Add", before, to.add("Mul", to.add("Sub", rest, before), to.constant(_GAIN)))
        to.keep("smooth", now)
        deviation = to.add("Div", now, to.constant(self.spread))
        return to.graph("seasonal", self.latch.nodes(to, tail.nodes(to, deviation)), deviation)


def _smoothed(values: FloatArray) -> FloatArray:
    out, now = np.empty(len(values)), 0.0
    for i, value in enumerate(values):
        now += _GAIN * (float(value) - now)
        out[i] = now
    return out
