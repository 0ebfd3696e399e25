"""Time to a limit from a trend: right on wear that is known, silent where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.trend import LEAST_VALUES, trend
from wire.block import FloatArray


def worn(seed: int, n: int = 120, slope: float = 0.05, noise: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """A condition that rises from 10 by `slope` a day, read daily; one reading in twenty is wild."""
    dice = np.random.default_rng(seed)
    days = np.arange(float(n))
    values = 10 + slope * days + dice.normal(0, noise, n)
    wild = dice.random(n) < 0.05
    values[wild] += dice.normal(0, 8 * noise, int(wild.sum()))
    return days, values


def test_the_interval_covers_the_true_time_as_often_as_it_says() -> None:
    hits, found = 0, 0
    for seed in range(300):
        days, values = worn(seed, noise=0.6)
        said = trend(days, values, limit=20.0)
        found += said.verdict == "trend"
        hits += said.verdict == "trend" and said.lower <= (20.0 - 10.0) / 0.05 - days[-1] <= said.upper
    assert found >= 295
    assert 0.86 <= hits / found <= 0.97


def test_the_interval_covers_also_with_noise_that_lasts() -> None:
    hits = 0
    for seed in range(200):
        dice = np.random.default_rng(seed)
        noise = np.zeros(300)
        for i in range(1, 300):
            noise[i] = 0.6 * noise[i - 1] + dice.normal(0, 0.5)
        days = np.arange(300.0)
        said = trend(days, 10 + 0.03 * days + noise, limit=25.0)
        hits += said.lower <= 500.0 - days[-1] <= said.upper
    assert 0.84 <= hits / 200 <= 0.98


def test_steady_noise_has_no_trend_but_once_in_a_while() -> None:
    verdicts = [trend(*worn(seed, slope=0.0), limit=20.0).verdict for seed in range(300)]
    assert verdicts.count("no trend") >= 270
    assert set(verdicts) <= {"no trend", "trend", "away"}


def test_a_falling_condition_and_a_low_limit_are_the_mirror_of_a_rising_one() -> None:
    days, values = worn(3)
    up, down = trend(days, values, 20.0), trend(days, -values, -20.0, high=False)
    assert (down.left, down.lower, down.upper) == (up.left, up.lower, up.upper)
    assert (down.now, down.slope) == (-up.now, -up.slope)
    assert up.slope == pytest.approx(0.05, abs=0.01)


def test_a_trend_away_from_the_limit_gives_no_time() -> None:
    said = trend(*worn(1), limit=5.0, high=False)
    assert said.verdict == "away"
    assert math.isnan(said.left)
    assert "away from the limit" in said.sentence("days")


def test_beyond_the_limit_nothing_is_left() -> None:
    said = trend(*worn(1), limit=12.0)
    assert (said.verdict, said.left, said.lower, said.upper) == ("beyond", 0.0, 0.0, 0.0)
    assert said.sentence("days") == "beyond the limit already"


def test_few_values_and_missing_ones_are_told() -> None:
    days, values = worn(1)
    values[LEAST_VALUES - 1 :] = np.nan
    said = trend(days, values, 20.0)
    assert (said.verdict, said.values) == ("too few", LEAST_VALUES - 1)
    assert "at least 12" in said.sentence("days")
    assert trend(days, np.full(120, np.nan), 20.0).verdict == "too few"


def test_a_value_that_never_changes_has_no_trend() -> None:
    said = trend(np.arange(50.0), np.full(50, 7.0), 20.0)
    assert (said.verdict, said.now) == ("no trend", 7.0)


def test_a_perfect_line_is_told_exactly() -> None:
    said = trend(np.arange(50.0), 1.0 + np.arange(50.0), 100.0)
    assert said.verdict == "trend"
    assert (said.left, said.lower, said.upper) == pytest.approx((50.0, 50.0, 50.0))
    assert said.sentence("hours") == "about 50 hours to the limit (50 to 50)"


def test_wear_that_speeds_up_is_judged_by_its_newest_part() -> None:
    dice = np.random.default_rng(4)
    days = np.arange(400.0)
    values = 10 + np.maximum(0.0, days - 300) * 0.1 + dice.normal(0, 0.3, 400)
    said = trend(days, values, limit=30.0)
    assert said.values <= 200
    assert said.slope > 0.06
    assert said.lower <= said.left <= said.upper


def test_many_values_are_put_together_and_say_the_same() -> None:
    dice = np.random.default_rng(5)
    hours = np.arange(20_000.0)
    said = trend(hours, 10 + 0.001 * hours + dice.normal(0, 1, 20_000), limit=40.0)
    assert said.left == pytest.approx(10_000, rel=0.02)
    assert said.upper - said.lower < 500


def test_a_slope_that_is_barely_there_leaves_the_upper_end_open() -> None:
    seen = [trend(*worn(seed, n=30, slope=0.06), limit=20.0, level=0.98) for seed in range(60)]
    open_ended = [said for said in seen if said.verdict == "trend" and math.isinf(said.upper)]
    assert open_ended
    assert "more than can be said" in open_ended[0].sentence("days")
    assert all(said.lower <= said.left for said in open_ended)


@pytest.mark.parametrize(
    ("times", "limit", "level", "words"),
    [
        ([0.0, 2.0, 1.0], 5.0, 0.9, "rise"),
        ([0.0, 1.0, math.nan], 5.0, 0.9, "rise"),
        ([0.0, 1.0, 2.0], math.nan, 0.9, "limit"),
        ([0.0, 1.0, 2.0], 5.0, 1.0, "level"),
        ([0.0, 1.0], 5.0, 0.9, "one length"),
    ],
)
def test_what_makes_no_sense_is_refused(times: list[float], limit: float, level: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trend(np.array(times), np.ones(3), limit, level=level)
