"""Tells an anomaly once: after a surprise only a clearly greater one counts, until the last is forgotten.

Without it a long fault would be told again at each new extreme on its way. The bar that a surprise has to pass is the
greatest of the last ones, raised by a factor, and falls exponentially.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.detectors.nodes import Nodes
from wire.block import FloatArray

# What follows must be so much greater. Figures here and in novelty.py and profile.py: the combined detector on eleven
# public series of NAB with its one threshold, 86.2. This one: 1.0 84.1, 1.2 85.2, 1.7 82.1, 2.0 82.3, 3.0 79.5.
_FACTOR = 1.5


@dataclass(frozen=True)
class Latch:
    """keeps: the part of the bar that is left after one row, in (0, 1)."""

    keeps: float

    @classmethod
    def fit(cls, quiet_rows: float) -> Latch:
        """quiet_rows: rows after which the bar has fallen to 37 %."""
        return cls(float(f"{math.exp(-1.0 / quiet_rows):.6g}"))

    def apply(self, surprises: FloatArray) -> FloatArray:
        """The reference in float64. Shape (n_rows,) in and out."""
        told, bar = surprises * 0.0, 0.0
        for i, surprise in enumerate(surprises):
            bar *= self.keeps
            if surprise > bar:
                told[i] = surprise
                bar = max(bar, _FACTOR * float(surprise))
        return told

    def nodes(self, to: Nodes, surprise: str) -> str:
        """The same as nodes; the state is the bar."""
        bar = to.add("Mul", to.state("bar", 1), to.constant(self.keeps))
        told = to.add("Mul", surprise, to.as_floats(to.add("Greater", surprise, bar)))
        to.keep("bar", to.add("Max", bar, to.add("Mul", told, to.constant(_FACTOR))))
        return told
