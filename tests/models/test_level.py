"""Has the level of a tag moved?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detectors.level import Level, LevelSettings
from tests.models.conftest import normal_rows
from tests.models.exported import check_against_reference
from wire.block import FloatArray

SETTINGS = LevelSettings(smoothing_rows=10, lag_rows=30, centre_rows=100, threshold=4.0)
NONE = np.zeros(3)


def fitted(rows: FloatArray) -> Level:
    return Level.fit(rows, SETTINGS, NONE, NONE)


def test_the_file_gives_what_the_reference_gives(tmp_path: Path) -> None:
    rows = np.concatenate([normal_rows(60, seed=2), 1.2 * normal_rows(40, seed=3), 1e6 * normal_rows(5, seed=4)])
    check_against_reference(tmp_path, fitted(normal_rows(400, seed=1)), rows)


def test_a_tag_that_moves_alone_has_the_score_and_the_share() -> None:
    detector = fitted(normal_rows(400, seed=1))
    moved = np.tile(detector.centre + detector.scale * np.array([0.0, -6.0, 0.0]), (60, 1))
    told = detector.score(moved)
    assert told.scores[-1] == pytest.approx(6.0)
    assert told.shares[-1, 1] == pytest.approx(1.0)
    assert told.deviations[-1, 1] == pytest.approx(-6.0)


def test_wander_counts_for_more_than_its_noise() -> None:
    dice = np.random.default_rng(1)
    still = dice.normal(0.0, 1.0, (400, 3))
    wandering = still + np.cumsum(dice.normal(0.0, 0.5, (400, 3)), axis=0)
    assert (fitted(wandering).scale > 2 * fitted(still).scale).all()


def test_a_change_of_the_operating_point_in_the_calibration_does_not_make_it_deaf() -> None:
    dice = np.random.default_rng(1)
    rows = dice.normal(0.0, 1.0, (400, 3))
    rows[:170] += 100.0
    detector = fitted(rows)
    assert (np.abs(detector.centre) < 1.0).all()
    assert (detector.scale < 3.0).all()


def test_the_floor_of_a_kind_of_sensor_holds() -> None:
    rows = normal_rows(400, seed=1)
    detector = Level.fit(rows, SETTINGS, np.array([50.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.0]))
    assert detector.scale[0] == 50.0
    assert detector.scale[1] == pytest.approx(0.5 * detector.centre[1], rel=1e-5)
    assert detector.scale[2] < 5.0


def test_a_column_that_never_moved_and_a_coarse_one_have_a_spread() -> None:
    rows = normal_rows(400, seed=1)
    rows[:, 0], rows[:, 1] = 32.0, np.where(np.arange(400) == 7, 33.0, 32.0)
    scale = fitted(rows).scale
    assert scale[0] == pytest.approx(0.032)
    assert scale[1] == pytest.approx(0.1)


def test_one_wild_value_alone_never_reaches_the_threshold() -> None:
    detector = fitted(normal_rows(400, seed=1))
    rows = np.tile(detector.centre, (100, 1))
    rows[50, 0] = 1e9
    assert detector.score(rows).scores.max() < SETTINGS.threshold
    assert (detector.reach() > SETTINGS.threshold).all()


def test_too_few_rows_say_how_many_are_needed() -> None:
    with pytest.raises(ValueError, match=r"needs 130 rows \(got 120\)"):
        fitted(normal_rows(120, seed=1))
