"""Engines that run to failure, made up in the layout of C-MAPSS: wear that grows ever faster, in noisy sensors."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from models.evaluate.cmapss import INPUTS
from models.life_train import Plan
from wire.block import FloatArray

QUICK = Plan(
    horizon=80.0,
    caps=(0.8, 1.0),
    nets=2,
    trial_nets=1,
    hidden=(8, 8),
    rounds=25,
    copies=1,
    folds=3,
    least_rows=15,
    warm_up_rows=8,
    most_rows=2500,
)
_SENSORS = len(INPUTS) - 3
# Wear moves the first ten sensors; a second kind of wear moves some of them the other way.
_FIRST = np.array([2.0, 1.5, -1.0, 1.0, 2.0, -2.0, 1.0, 0.5, 1.0, -1.0])
_SECOND = np.array([2.0, 1.0, 1.0, -1.0, 2.0, 2.0, 1.5, -1.0, 1.0, 1.0])
# Columns that never change: the last ones.
_CONSTANT = 4


def engines(count: int, seed: int, *, regimes: int = 1, kinds: int = 1) -> dict[int, FloatArray]:
    """Unit -> rows of settings and sensors from new to failed. kinds: of wear, one an engine."""
    dice = np.random.default_rng(seed)
    places = np.column_stack([10.0 * np.arange(regimes), 0.1 * np.arange(regimes), 60.0 + np.arange(regimes)])
    shift = np.random.default_rng(99).normal(0, 50, (regimes, _SENSORS))
    lives = {}
    for unit in range(1, count + 1):
        length = int(dice.integers(90, 180))
        grown = np.expm1(3.0 * (np.arange(1, length + 1) / length) ** 1.5) / np.expm1(3.0)
        wear = 0.08 * dice.random() + grown
        loading = (_SECOND if kinds > 1 and unit % 2 else _FIRST) * 4.0
        where = dice.integers(0, regimes, length)
        sensors = 500.0 + shift[where]
        sensors[:, : len(loading)] += wear[:, None] * loading
        sensors[:, :-_CONSTANT] += dice.normal(0, 0.6, (length, _SENSORS - _CONSTANT))
        settings = places[where] + dice.normal(0, 0.001, (length, 3))
        lives[unit] = np.column_stack([settings, sensors])
    return lives


def cut(lives: dict[int, FloatArray], seed: int, longest: int = 75) -> tuple[dict[int, FloatArray], FloatArray]:
    """(the lives without their last rows, how many rows each has lost)."""
    dice = np.random.default_rng(seed)
    lost = np.array([int(dice.integers(1, min(longest, len(rows) - 20))) for rows in lives.values()])
    return {unit: rows[:-gone] for (unit, rows), gone in zip(lives.items(), lost, strict=True)}, lost.astype(float)


def write(lives: dict[int, FloatArray], path: Path) -> Path:
    """As NASA publishes them: no header, columns separated by spaces; packed where the name ends in .gz."""
    lines = [
        " ".join([str(unit), str(cycle), *(f"{value:.4f}" for value in row)])
        for unit, rows in lives.items()
        for cycle, row in enumerate(rows, 1)
    ]
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
