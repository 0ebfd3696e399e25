"""The forecast's residual, and the tail probability by which it is told."""

from __future__ import annotations

from math import erfc, log10, sqrt
from pathlib import Path

import numpy as np
import pytest

from models.detectors import tail
from models.detectors.forecast import Forecast
from tests.models.single_series import assert_same, clocks, through_file
from wire.block import FloatArray


def waves(n: int, seed: int) -> FloatArray:
    """A level that wanders, with a period of 25 rows in it."""
    dice, level = np.random.default_rng(seed), 0.0
    out = np.empty(n)
    for i in range(n):
        level = 0.95 * level + dice.normal(0, 0.1)
        out[i] = 200 + 5 * level + 5 * np.sin(2 * np.pi * i / 25)
    return out


@pytest.fixture(scope="module")
def detector() -> Forecast:
    return Forecast.fit(waves(750, 1), 100.0)


def test_the_file_gives_what_the_numpy_reference_gives(detector: Forecast, tmp_path: Path) -> None:
    values = np.concatenate([waves(2000, 2), waves(200, 3) + 20, [1e6, -1e6], waves(500, 4)])
    got = through_file(detector, "forecast", values, clocks(len(values)), tmp_path)
    assert_same(got, detector.score(values[:, None]))
    assert got.scores.max() == 1.0


def test_a_jump_within_the_usual_range_is_found(detector: Forecast) -> None:
    values = waves(1000, 5)
    values[600:] = 2 * 200 - values[600:]  # upside down: the same values, another way
    at = 606 if abs(values[600] - values[599]) < 2 else 600
    scores = detector.score(values[:, None]).scores
    assert abs(int(scores[20:].argmax()) + 20 - at) < 20


def test_a_series_that_moves_as_it_did_is_calm(detector: Forecast) -> None:
    values = waves(3000, 6)
    assert detector.score(values[:, None]).scores[20:].max() < 0.3
    values[1500] += 8
    scores = detector.score(values[:, None]).scores
    assert scores.argmax() in (1500, 1501)
    assert scores.max() > 0.5


def test_the_deviation_tells_the_direction(detector: Forecast) -> None:
    values = waves(100, 7)
    values[60] -= 8
    assert detector.score(values[:, None]).deviations[60, 0] < -3


def test_a_noisier_series_becomes_usual_but_one_error_does_not_widen_much(detector: Forecast) -> None:
    values = waves(6000, 8)
    values[1000:] += np.random.default_rng(9).normal(0, 3, 5000)
    deviations = np.abs(detector.score(values[:, None]).deviations[:, 0])
    assert deviations[1000:1200].mean() > 3 * deviations[-500:].mean()
    wild = waves(200, 10)
    wild[100] = 1e6
    wild[150] += 12
    assert np.abs(detector.score(wild[:, None]).deviations[150:152, 0]).max() > 5


def test_a_constant_series_is_calm_until_it_changes(tmp_path: Path) -> None:
    constant = Forecast.fit(np.full(300, 45.1234567), 100.0)
    values = np.append(np.full(300, 45.1234567), 46.0)
    scores = through_file(constant, "forecast", values, clocks(len(values)), tmp_path).scores
    assert scores[20:-1].max() < 0.05
    assert scores[-1] > 0.5


@pytest.mark.parametrize("z", [2.0, 3.0, 5.0, 8.0])
def test_the_surprise_is_the_logarithm_of_the_tail(z: float) -> None:
    wanted = -log10(erfc(z / sqrt(2)) / 2) / 16
    assert tail.surprise(np.array([z, -z])).tolist() == pytest.approx([wanted, wanted], rel=0.005)


def test_the_surprise_stays_between_0_and_1() -> None:
    told = tail.surprise(np.array([0.0, 0.5, 1.0, 1e6]))
    assert told[-1] == 1.0
    assert (np.diff(told) > 0).all()
    assert told[0] == pytest.approx(0.0, abs=0.02)


def test_no_input_can_exceed_one(detector: Forecast) -> None:
    assert detector.reach().tolist() == [1.0]
