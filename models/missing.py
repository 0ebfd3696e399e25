"""What a model does without a tag: the value that the others suggest in its place, and a threshold of its own.

In robust spreads normal rows have a correlation, and its inverse P says what the tags that are there suggest for those
that are not: z_M = -(P_MM)^-1 P_MO z_O, the conditional mean of a normal distribution. For the multivariate distance
the score of a row that is filled so is the distance of the rest alone; it is never more than that of the whole row, so
the threshold for the same rate of false alarms is lower, and training says by how much. numpy only; a gateway runs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wire.block import FloatArray

BoolArray = NDArray[np.bool_]
# So many sets of missing tags are remembered with their weights: a box has few, a bad cable may make many.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class MissingRule:
    """most: so many inputs may be missing in one row. factors: for each input, the threshold without it, as a part of
    the threshold; 0: no score without it. precision: P, in robust spreads. bound: a value counts for so many spreads
    at most when it suggests others. Raises ValueError when a figure makes no sense."""

    most: int
    factors: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    bound: float

    def __post_init__(self) -> None:
        n = len(self.factors)
        matrix = np.array(self.precision, np.float64)
        if matrix.shape != (n, n) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
            raise ValueError("what it says of missing inputs does not fit its inputs")
        bounded = math.isfinite(self.bound) and self.bound > 0.0
        if n == 0 or not bounded or float(np.linalg.eigvalsh(matrix).min()) <= 0.0:
            raise ValueError("what it says of missing inputs cannot be used")
        if not 1 <= self.most < n or not all(math.isfinite(each) and each >= 0.0 for each in self.factors):
            raise ValueError(f"most of the missing inputs must be 1 to {n - 1}, factors must be 0 or more")

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> MissingRule:
        """As a model file says it. Raises TypeError, KeyError or ValueError."""
        return cls(
            most=int(said["most"]),
            factors=tuple(float(each) for each in said["factors"]),
            precision=tuple(tuple(float(each) for each in row) for row in said["precision"]),
            bound=float(said["bound"]),
        )

    def allows(self, missing: BoolArray) -> bool:
        """Whether a row without these is scored."""
        return int(missing.sum()) <= self.most and all(
            factor > 0.0 for factor, gone in zip(self.factors, missing, strict=True) if gone
        )


class Centred(Protocol):
    """An input as a model describes it."""

    @property
    def centre(self) -> float: ...
    @property
    def spread(self) -> float: ...


class Gap(NamedTuple):
    """One set of missing inputs. weights: shape (n, n), deviations @ weights is what is suggested for the missing ones;
    factor: the threshold without them, as a part of the threshold."""

    weights: FloatArray
    factor: float


class Filler:
    """Fills rows of one model. centre, spread: shape (n,), of the model's inputs."""

    def __init__(self, rule: MissingRule, centre: FloatArray, spread: FloatArray) -> None:
        self._rule, self._centre, self._spread = rule, centre, spread
        self._precision = np.array(rule.precision, np.float64)
        self._factors = np.array(rule.factors)
        self._gaps: dict[bytes, Gap | None] = {}

    @classmethod
    def of(cls, rule: MissingRule, inputs: Sequence[Centred]) -> Filler:
        """For the inputs as a model describes them."""
        centre, spread = np.array([(each.centre, each.spread) for each in inputs], np.float64).T
        return cls(rule, centre, spread)

    def gap(self, missing: BoolArray) -> Gap | None:
        """None where a row without these is not scored. missing: shape (n,)."""
        key = missing.tobytes()
        if key not in self._gaps:
            if len(self._gaps) >= _REMEMBERED:
                self._gaps.clear()
            self._gaps[key] = self.made(missing) if self._rule.allows(missing) else None
        return self._gaps[key]

    def filled(self, rows: FloatArray, missing: BoolArray, gap: Gap) -> FloatArray:
        """What the others suggest in the place of missing values. rows: shape (n,) or (n_rows, n)."""
        z = np.minimum(np.maximum((rows - self._centre) / self._spread, -self._rule.bound), self._rule.bound)
        z[..., missing] = 0.0
        filled: FloatArray = np.where(missing, self._centre + (z @ gap.weights) * self._spread, rows)
        return filled

    def made(self, missing: BoolArray) -> Gap:
        """As gap, whether a row without these is scored or not."""
        weights = np.zeros(self._precision.shape)
        own = self._precision[np.ix_(missing, missing)]
        weights[np.ix_(~missing, missing)] = -np.linalg.solve(own, self._precision[np.ix_(missing, ~missing)]).T
        # With more missing the threshold would be lower still.
        return Gap(weights, float(self._factors[missing].min()))


def leave_out(missing: BoolArray, shares: FloatArray, deviations: FloatArray, expected: FloatArray | None) -> None:
    """What is missing has no share; the others have the whole."""
    shares[missing] = 0.0
    whole = np.add.reduce(shares)
    if whole > 0.0:
        shares /= whole
    for part in (shares, deviations, expected):
        if part is not None:
            part[missing] = np.nan
