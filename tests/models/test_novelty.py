"""Range novelty and its latch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detectors.latch import Latch
from models.detectors.novelty import Novelty, Ranges, usual
from tests.models.single_series import assert_same, clocks, through_file
from wire.block import FloatArray


def noise(n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(0, 1, n)


def fitted(quiet_rows: float = 100.0) -> Novelty:
    return Novelty.fit(50 + 3 * noise(1000, 1), quiet_rows)


def test_the_file_gives_what_the_numpy_reference_gives(tmp_path: Path) -> None:
    detector = fitted()
    values = 50 + 3 * np.concatenate([noise(2000, 2), 10 + noise(50, 3), noise(500, 4), [1e6, -1e6], noise(500, 5)])
    got = through_file(detector, "novelty", values, clocks(len(values)), tmp_path)
    assert_same(got, detector.score(values[:, None]))
    assert got.scores.min() == 0.0
    assert 0.5 < got.scores.max() <= 1.0


def test_only_what_leaves_the_range_is_surprising() -> None:
    values = np.array([0.0, 2.9, -2.9, 9.0, -9.0])
    told = Ranges(np.full(5, -3.0), np.full(5, 3.0), 1e-5).surprises(values)
    assert (told[:3] == 0).all()
    assert (told[3:] > 0.15).all()


def test_a_slow_shift_within_the_range_of_single_values_is_found_by_the_long_spans() -> None:
    detector = fitted()
    values = noise(600, 6)
    assert np.abs(values[300:] + 1.5).max() > 3.0  # no value that noise would not bring
    shifted = np.clip(np.where(np.arange(600) < 300, values, values + 1.5), -2.8, 2.8)
    scores = detector.score(50 + 3 * shifted[:, None]).scores
    assert scores[:300].max() < 0.05
    assert scores[300:].max() > 0.12
    assert detector.score(50 + 3 * shifted[:, None]).deviations[-1, 0] > 0


def test_one_wild_value_does_not_blind() -> None:
    ranges = fitted().ranges
    calm = noise(2000, 7).clip(-2.5, 2.5)
    values = np.concatenate([[1e5], calm, np.full(5, 12.0)])
    assert ranges.surprises(values)[-5:].max() > 0.15


def test_a_range_is_forgotten_slowly() -> None:
    ranges = Ranges(np.full(5, -10.0), np.full(5, 10.0), 2.5e-5)
    values = np.concatenate([np.zeros(10_000), [9.0]])
    assert ranges.surprises(values[-2:])[-1] == 0.0
    assert ranges.surprises(values)[-1] > 0.0


def test_a_constant_series_is_calm_until_it_changes(tmp_path: Path) -> None:
    detector = Novelty.fit(np.full(500, 45.1234567), 100.0)
    values = np.append(np.full(300, 45.1234567), 46.0)
    scores = through_file(detector, "novelty", values, clocks(len(values)), tmp_path).scores
    assert scores[:-1].max() < 0.02
    assert scores[-1] > 0.5


def test_the_usual_spread_of_a_series_that_is_mostly_one_value_is_not_zero() -> None:
    assert usual(np.zeros(100))[1][0] == 1.0
    assert usual(np.full(100, -40.0))[1][0] == pytest.approx(0.04)
    assert usual(np.append(np.zeros(90), np.full(10, 5.0)))[1][0] == pytest.approx(1.5)
    assert usual(np.arange(101.0))[1][0] == pytest.approx(1.482602 * 25, rel=1e-5)


def test_a_surprise_is_told_once_and_again_only_if_clearly_greater() -> None:
    told = Latch.fit(100.0).apply(np.array([0.0, 0.2, 0.2, 0.25, 0.29, 0.4, 0.0, 0.4]))
    assert told.tolist() == [0.0, 0.2, 0.0, 0.0, 0.0, 0.4, 0.0, 0.0]


def test_the_latch_forgets() -> None:
    surprises = np.zeros(400)
    surprises[[0, 30, 300]] = 0.2
    assert np.flatnonzero(Latch.fit(100.0).apply(surprises)).tolist() == [0, 300]


def test_no_input_can_exceed_one() -> None:
    assert fitted().reach().tolist() == [1.0]
    assert fitted().score(np.array([[1e30]])).scores[0] == 1.0
