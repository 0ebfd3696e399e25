"""A threshold keeps the rate for which it was set."""

from __future__ import annotations

import numpy as np
import pytest

from models import threshold
from models.alarm_logic import AlarmRule
from wire.block import FloatArray
from wire.errors import ModelError

RULE = AlarmRule(raise_rows=3, hold_rows=10, release_rows=5)


def slow_scores(n: int, seed: int, tail: str = "normal") -> FloatArray:
    """Autocorrelated, as scores are: an exponentially smoothed noise, its size, some with a heavy tail."""
    dice = np.random.default_rng(seed)
    noise = dice.normal(0, 1, n) if tail == "normal" else dice.standard_t(5, n)
    out = np.empty(n)
    level = 0.0
    for i, push in enumerate(noise):
        level = 0.8 * level + push
        out[i] = abs(level)
    return out


@pytest.mark.parametrize("tail", ["normal", "heavy"])
@pytest.mark.parametrize("rows_per_alarm", [1_000, 10_000])
def test_held_out_false_alarms_come_as_often_as_stated(rows_per_alarm: int, tail: str) -> None:
    """Ten thresholds, each from 20,000 rows and held to 200,000 others: within a factor of 1.6 over all."""
    due = came = 0.0
    for seed in range(10):
        fit = threshold.fit([slow_scores(20_000, seed, tail)], RULE, rows_per_alarm)
        held_out = slow_scores(200_000, 1000 + seed, tail)
        came += threshold.count_alarms(held_out, RULE, fit.threshold)
        due += len(held_out) / rows_per_alarm
    assert 0.6 < came / due < 1.6


def test_a_rarer_alarm_has_a_higher_threshold() -> None:
    scores = slow_scores(5_000, seed=1)
    limits = [threshold.fit([scores], RULE, rows).threshold for rows in (100, 1_000, 10_000, 1_000_000)]
    assert limits == sorted(limits)
    assert len(set(limits)) == 4


def test_beyond_what_was_seen_the_threshold_is_above_it_and_says_so() -> None:
    scores = slow_scores(1_000, seed=1)
    fit = threshold.fit([scores], RULE, 5_000)
    assert fit.threshold >= threshold.sustained(scores, RULE.raise_rows).max()
    assert "reaches 5.0 times beyond what was seen" in fit.method


def test_few_peaks_are_owned_up_to() -> None:
    fit = threshold.fit([slow_scores(400, seed=1)], AlarmRule(3, 60, 5), 1_000)
    assert fit.peaks < 30
    assert fit.method.startswith("exponential tail")
    assert "may be several times higher or lower" in fit.method


def test_what_one_alarm_would_hold_is_one_peak() -> None:
    values = np.array([0, 5, 0, 6, 0, 0, 0, 7, 0], dtype=float)
    assert threshold.peaks_over(1.0, values, gap=1).tolist() == [5, 6, 7]
    assert threshold.peaks_over(1.0, values, gap=2).tolist() == [6, 7]
    assert threshold.peaks_over(1.0, values, gap=4).tolist() == [7]
    assert threshold.peaks_over(9.0, values, gap=4).tolist() == []


def test_the_sustained_score_is_what_the_alarm_logic_waits_for() -> None:
    scores = slow_scores(3_000, seed=2)
    highest = float(threshold.sustained(scores, RULE.raise_rows).max())
    assert threshold.count_alarms(scores, RULE, highest) == 1
    assert threshold.count_alarms(scores, RULE, np.nextafter(highest, np.inf)) == 0


def test_too_few_and_lifeless_scores_are_refused() -> None:
    with pytest.raises(ModelError, match=r"at least 200 scored rows of normal data \(got 98\)"):
        threshold.fit([np.ones(100)], RULE, 1_000)
    with pytest.raises(ModelError, match="do not vary"):
        threshold.fit([np.ones(1_000)], RULE, 1_000)
