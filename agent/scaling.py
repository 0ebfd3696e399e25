"""Raw numbers -> engineering values with a quality and reason each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent.spec import PointSpec
from wire.block import Block, CodeArray, FloatArray, Quality, Reason
from wire.tag import Datatype, TagTable


class Scaling:
    """Scale, offset, range and rounding of the columns of one TagTable, as arrays."""

    def __init__(self, points: Sequence[PointSpec], tags: TagTable) -> None:
        self.tags = tags
        factors = [_factor(p.scale) for p in points]
        self._times = np.array([f[0] for f in factors])
        self._over = np.array([f[1] for f in factors])
        self._offset = np.array([p.offset for p in points])
        self._scaled = bool(np.any(self._times != 1.0) or np.any(self._over != 1.0) or np.any(self._offset != 0.0))
        self._single = np.array([t.datatype is Datatype.FLOAT for t in tags])
        self._any_single, self._all_single = bool(self._single.any()), bool(self._single.all())
        low = np.array([-np.inf if p.low is None else p.low for p in points])
        high = np.array([np.inf if p.high is None else p.high for p in points])
        # A FLOAT is compared with the bounds as a FLOAT: 0.1 is within a range that ends at 0.1.
        self._low = np.where(self._single, low.astype(np.float32), low)
        self._high = np.where(self._single, high.astype(np.float32), high)
        # Within these nothing can be wrong with a value; NaN and infinity are within nothing.
        most = np.where(self._single, np.finfo(np.float32).max, np.finfo(np.float64).max)
        self._sound_low, self._sound_high = np.maximum(self._low, -most), np.minimum(self._high, most)
        self._all_good: CodeArray = np.full(len(tags), Quality.GOOD, np.uint8)
        self._no_reason: CodeArray = np.zeros(len(tags), np.uint8)
        self._bounds = {i: (p.low, p.high) for i, p in enumerate(points) if (p.low, p.high) != (None, None)}

    def block(
        self, ts_ms: int, raw: FloatArray, reason: CodeArray, others: Mapping[int, bool | int | str]
    ) -> Block:  # fmt: skip
        """raw: shape (n_tags,), consumed; NaN where the value stands in others or there is none.

        reason: shape (n_tags,), Reason codes found so far; a column with one becomes BAD.
        """
        given = raw
        with np.errstate(over="ignore", invalid="ignore"):  # infinite is OUT_OF_RANGE below
            if self._scaled:
                raw = raw * self._times / self._over + self._offset
            if self._all_single:
                raw = raw.astype(np.float32).astype(np.float64)
            elif self._any_single:
                raw = np.where(self._single, raw.astype(np.float32), raw)
            if not others and not reason.any() and ((raw >= self._sound_low) & (raw <= self._sound_high)).all():
                return Block(ts_ms, self.tags, raw, self._all_good, self._no_reason)
        missing = ~np.isfinite(given)
        outside = (raw < self._low) | (raw > self._high) | np.isinf(raw)
        found = np.where(missing, np.uint8(Reason.NOT_A_NUMBER), np.where(outside, np.uint8(Reason.OUT_OF_RANGE), 0))
        for column, value in others.items():
            found[column] = Reason.OUT_OF_RANGE if self._beyond(column, value) else Reason.NONE
        codes = np.where(reason != 0, reason, found).astype(np.uint8)
        bad = codes != 0
        if bad.any():
            raw = np.where(bad, np.nan, raw)
            others = {c: v for c, v in others.items() if not bad[c]}
        quality = np.where(bad, np.uint8(Quality.BAD), np.uint8(Quality.GOOD))
        return Block(ts_ms, self.tags, raw, quality, codes, others)

    def _beyond(self, column: int, value: bool | int | str) -> bool:
        """64-bit integers are compared as integers."""
        low, high = self._bounds.get(column, (None, None))
        if isinstance(value, (bool, str)):
            return False
        return (low is not None and value < low) or (high is not None and value > high)


def _factor(scale: float) -> tuple[float, float]:
    """scale as (times, over): dividing by 100 gives the nearest double to the decimal, times 0.01 does not."""
    inverse = round(1.0 / scale)
    if abs(inverse) > 1 and 1.0 / inverse == scale:
        return 1.0, float(inverse)
    return scale, 1.0
