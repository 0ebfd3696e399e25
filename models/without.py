"""Without which tags a model can score on, and against which threshold: measured on the rows it was made from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models import threshold
from models.detectors.detector import Detector, rounded
from models.detectors.robust_distance import correlation_of
from models.missing import BoolArray, Filler, Gap, MissingRule
from models.settings import Settings
from models.usual import usual
from wire.block import FloatArray
from wire.errors import ModelError

# What the others suggest is the middle of normal for a detector that knows of no relations.
_ALONE = frozenset({"level"})
# A score without several tags is never more than that without one of them (the rest of a Mahalanobis distance, the
# greatest of fewer deviations): the threshold of one will do. Of the others nothing of the kind is known.
_SEVERAL = frozenset({"robust_distance", "level"})
_TAKEN = frozenset({"robust_distance", "level", "pca", "neighbours", "combined"})
# The factor has so many digits: a rebuild gives the same file.
_FACTOR_DIGITS = 4
_BOUND = 10.0
_FAR = 1e6


def rule_for(settings: Settings, detector: Detector, pieces: Sequence[FloatArray], limit: float) -> MissingRule | None:
    """None where the detector needs every input. pieces: of normal rows. limit: the threshold for the stated rate."""
    n = len(settings.inputs)
    if settings.detector not in _TAKEN or n < 2 or bool(getattr(detector, "takes_missing", False)):
        return None
    rows = np.concatenate(pieces)
    centre, spread = usual(detector, rows)
    bound = _bound(detector)
    relations = np.eye(n) if settings.detector in _ALONE else _precision((rows - centre) / spread)
    precision = tuple(tuple(float(each) for each in row) for row in relations)
    trial = MissingRule(n - 1, (1.0,) * n, precision, bound)
    filler = Filler(trial, centre, spread)
    whole = _level(settings, [detector.score(piece).scores for piece in pieces])
    if whole is None:
        return None
    factors = []
    for i in range(n):
        missing = np.arange(n) == i
        gap = filler.made(missing)
        lasting = _level(settings, [detector.score(filler.filled(piece, missing, gap)).scores for piece in pieces])
        factor = 0.0 if lasting is None else float(f"{lasting / whole:.{_FACTOR_DIGITS}g}")
        heard = factor > 0.0 and _heard(detector, filler, gap, centre, spread, missing, factor * limit)
        factors.append(factor if heard else 0.0)
    if not any(factors):
        return None
    several = settings.detector in _SEVERAL and bound > max(factors) * limit
    return MissingRule(max(1, n // 2) if several else 1, tuple(factors), precision, bound)


def _level(settings: Settings, scores: Sequence[FloatArray]) -> float | None:
    """The threshold for the stated rate; None where the scores give none."""
    try:
        tail = threshold.tail([each[settings.warm_up_rows :] for each in scores], settings.rule)
    except ModelError:
        return None
    found = tail.at(settings.false_alarm_every_rows)
    return found if found > 0.0 else None


def _heard(
    detector: Detector, filler: Filler, gap: Gap, centre: FloatArray, spread: FloatArray, missing: BoolArray,
    limit: float,
) -> bool:  # fmt: skip
    """Whether each tag that is left could raise an alarm alone."""
    for j in np.flatnonzero(~missing):
        for way in (-_FAR, _FAR):
            row = centre.copy()
            row[j] += way * spread[j]
            if float(detector.score(filler.filled(row[None, :], missing, gap)).scores[0]) <= limit:
                return False
    return True


def _precision(z: FloatArray) -> FloatArray:
    """The inverse of the shrunk correlation of normal rows in robust spreads."""
    found = np.linalg.inv(correlation_of(z))
    even: FloatArray = rounded((found + found.T) / 2.0)
    return even


def _bound(detector: Detector) -> float:
    """In spreads: where the detector itself bounds a value."""
    inner = getattr(detector, "smoothing", detector)
    return float(getattr(inner, "ceiling", _BOUND))
