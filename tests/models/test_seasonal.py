"""Profiles of the day and the week, the detector of their residual, and range novelty of that residual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detectors.profile import Profile
from models.detectors.seasonal import Seasonal
from models.detectors.seasonal_novelty import SeasonalNovelty
from tests.models.single_series import DAY_ROWS, assert_same, clocks, rhythm, through_file

WEEK = 7 * DAY_ROWS
NOON, MIDNIGHT = 12 * 4, 0


@pytest.fixture(scope="module")
def novelty() -> SeasonalNovelty:
    return SeasonalNovelty.fit(rhythm(3 * WEEK, 1), clocks(3 * WEEK), 50.0)


@pytest.fixture(scope="module")
def seasonal() -> Seasonal:
    return Seasonal.fit(rhythm(3 * WEEK, 1), clocks(3 * WEEK), 50.0)


def test_the_files_give_what_the_numpy_references_give(
    novelty: SeasonalNovelty, seasonal: Seasonal, tmp_path: Path
) -> None:
    values, when = rhythm(2 * WEEK, 2), clocks(2 * WEEK)
    values[WEEK + NOON : WEEK + NOON + 8] = 20.0
    values[-20:] *= 1.3
    for detector in (novelty, seasonal):
        got = through_file(detector, "seasonal", values, when, tmp_path)
        assert_same(got, detector.score(values[:, None], when))
        assert 0.0 <= got.scores.min() < 0.01 < 0.15 < got.scores.max() <= 1.0


@pytest.mark.parametrize("at", [NOON, MIDNIGHT])
def test_a_common_value_at_the_wrong_hour_is_found(novelty: SeasonalNovelty, seasonal: Seasonal, at: int) -> None:
    values, when = rhythm(2 * WEEK, 3), clocks(2 * WEEK)
    fault = slice(WEEK + at, WEEK + at + 6)
    values[fault] = 100.0 - values[fault]  # 80 at night, 20 by day
    for detector in (novelty, seasonal):
        scores = detector.score(values[:, None], when).scores
        assert WEEK + at <= scores.argmax() < WEEK + at + 12
        assert scores.max() > 3 * scores[:WEEK].max()


def test_a_working_day_like_a_sunday_is_found(novelty: SeasonalNovelty) -> None:
    values, when = rhythm(3 * WEEK, 4), clocks(3 * WEEK)
    wednesday = slice(2 * WEEK + 2 * DAY_ROWS, 2 * WEEK + 3 * DAY_ROWS)
    values[wednesday] /= 2
    scores = novelty.score(values[:, None], when).scores
    assert wednesday.start <= scores.argmax() < wednesday.stop


def test_the_deviation_tells_the_direction(novelty: SeasonalNovelty, seasonal: Seasonal) -> None:
    values, when = rhythm(WEEK, 5), clocks(WEEK)
    values[NOON : NOON + 6] = 20.0
    for detector in (novelty, seasonal):
        assert detector.score(values[:, None], when).deviations[NOON + 5, 0] < -0.5


def test_a_new_rhythm_becomes_usual() -> None:
    when = clocks(8 * WEEK)
    profile, _ = Profile.fit(rhythm(2 * WEEK, 6), when[: 2 * WEEK])
    moved = np.roll(rhythm(8 * WEEK, 7), 12)  # three hours later from now on
    rest = np.abs(profile.residuals(moved, when))
    assert rest[:DAY_ROWS].mean() > 10
    assert rest[-WEEK:].mean() < 4


def test_an_hour_of_a_weekday_never_seen_leans_on_the_hour_of_other_days() -> None:
    when = clocks(DAY_ROWS * 2)
    profile, _ = Profile.fit(rhythm(DAY_ROWS, 8), when[:DAY_ROWS])  # a Monday
    tuesday = profile.residuals(rhythm(DAY_ROWS * 2, 9)[DAY_ROWS:], when[DAY_ROWS:])
    assert np.abs(tuesday).mean() < 12  # the day's range is 60


def test_the_first_rows_know_nothing_and_lean_on_the_usual_value() -> None:
    _, rest = Profile.fit(np.array([5.0, 5.0, 5.0]), np.zeros((3, 2)))
    assert rest[0] == 5.0
    assert rest[0] > rest[1] > rest[2] > 0


def test_the_last_second_of_a_sunday_is_in_its_last_hour(novelty: SeasonalNovelty, tmp_path: Path) -> None:
    when = np.array([[86399.0, 6.0], [86399.999, 6.0], [86400.0, 6.0], [3600.0, 0.0], [3599.0, 0.0]])
    values = np.full(5, 10.0)
    assert_same(through_file(novelty, "seasonal_novelty", values, when, tmp_path), novelty.score(values[:, None], when))


def test_no_input_can_exceed_one(novelty: SeasonalNovelty, seasonal: Seasonal) -> None:
    for detector in (novelty, seasonal):
        assert detector.reach().tolist() == [1.0]
        assert detector.score(np.array([[1e30]]), clocks(1)).scores[0] == 1.0
