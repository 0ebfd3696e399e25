"""What normal operation says of each input: its usual value, its spread, and which others it follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.detectors.detector import Detector, rounded
from wire.block import FloatArray

# MAD of a normal distribution, as standard deviation.
_MAD = 1.482602
_WINSOR = 3.0
# Towards "no correlation", so that no pair of nearly equal tags is trusted blindly.
_SHRINK = 0.1
# A tag is followed when it moves the other by so many spreads per spread; at most two are named.
_FOLLOWED = 0.15
_NAMED = 2


def usual(detector: Detector, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(centre, spread) of each input, in its unit: those that the detector judges by, where it has such."""
    centre, scale = getattr(detector, "centre", None), getattr(detector, "scale", None)
    n = rows.shape[1]
    if isinstance(centre, np.ndarray) and isinstance(scale, np.ndarray) and centre.shape == scale.shape == (n,):
        return centre, scale
    middle = np.median(rows, axis=0)
    spread = _MAD * np.median(np.abs(rows - middle), axis=0)
    return rounded(middle), rounded(np.where(spread > 0, spread, rows.std(axis=0)))


def followed(rows: FloatArray, names: Sequence[str]) -> list[tuple[str, ...]]:
    """For each input the others that say most about it, by partial regression. rows: normal, without NaN."""
    n = len(names)
    if n < 2:
        return [()] * n
    middle = np.median(rows, axis=0)
    spread = _MAD * np.median(np.abs(rows - middle), axis=0)
    z = np.clip((rows - middle) / np.where(spread > 0, spread, rows.std(axis=0)), -_WINSOR, _WINSOR)
    correlation = (1.0 - _SHRINK) * np.corrcoef(z, rowvar=False) + _SHRINK * np.eye(n)
    precision = np.linalg.inv(correlation)
    weights = np.abs(precision / np.diag(precision)[:, None])
    np.fill_diagonal(weights, 0.0)
    found = []
    for i in range(n):
        # To three digits: the last bits differ between processors, the order must not.
        order = sorted(range(n), key=lambda j: (-round(float(weights[i, j]), 3), j))
        found.append(tuple(names[j] for j in order[:_NAMED] if weights[i, j] >= _FOLLOWED))
    return found
