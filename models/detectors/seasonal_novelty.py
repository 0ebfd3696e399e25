"""The detector for a single series with a daily and weekly rhythm: the profile's residual, judged by range novelty.

The series without its rhythm shows both what the range alone cannot (a busy night, a silent noon) and what the profile
alone cannot (how unusual such a residual is). Series without a rhythm lose little: their profile is nearly flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from models.detectors.detector import Scored
from models.detectors.latch import Latch
from models.detectors.nodes import Nodes
from models.detectors.novelty import Ranges, told, usual
from models.detectors.profile import Profile
from wire.block import FloatArray


@dataclass(frozen=True)
class SeasonalNovelty:
    """A fitted detector for one input. centre, scale: shape (1,), in its unit; 6 significant digits."""

    centre: FloatArray
    scale: FloatArray
    profile: Profile
    ranges: Ranges
    latch: Latch

    @classmethod
    def fit(cls, values: FloatArray, clocks: FloatArray, quiet_rows: float) -> SeasonalNovelty:
        """values: shape (n_rows,), normal, without NaN. clocks: shape (n_rows, 2). quiet_rows: see Latch."""
        centre, scale = usual(values)
        profile, rest = Profile.fit((values - centre) / scale, clocks)
        return cls(centre, scale, profile, Ranges.fit(rest), Latch.fit(quiet_rows))

    def reach(self) -> FloatArray:
        return np.ones(1)

    def score(self, rows: FloatArray, clocks: FloatArray) -> Scored:
        """The reference in float64. rows: shape (n_rows, 1). clocks: shape (n_rows, 2)."""
        rest = self.profile.residuals((rows[:, 0] - self.centre) / self.scale, clocks)
        return Scored(self.latch.apply(self.ranges.surprises(rest)), np.ones((len(rows), 1)), told(rest))

    def graph(self) -> onnx.GraphProto:
        to = Nodes()
        rest = self.profile.nodes(to, to.standard(self.centre, self.scale))
        surprise, smooth = self.ranges.nodes(to, rest)
        return to.graph("seasonal_novelty", self.latch.nodes(to, surprise), smooth)
