"""The detector by itself."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from models import threshold
from models.alarm_logic import AlarmRule
from models.detectors.detector import rounded
from models.detectors.robust_distance import RobustDistance
from models.detectors.smoothing import smoothed
from tests.models.conftest import normal_rows

RECORDING = Path(__file__).parents[2] / "firmware_sim/recordings/machine_temperature_system_failure.csv"


def test_smoothing_begins_with_the_first_row_itself() -> None:
    rows = np.array([[8.0], [4.0], [4.0]])
    # gain 0.5: (8), (0.25*8 + 0.5*4) / 0.75, (0.125*8 + 0.25*4 + 0.5*4) / 0.875
    np.testing.assert_allclose(smoothed(rows, 0.5)[:, 0], [8.0, 4.0 / 0.75, 4.0 / 0.875])


def test_constants_keep_six_digits() -> None:
    assert rounded(np.array([1.23456789e-7, 123456789.0])).tolist() == [1.23457e-07, 123457000.0]


def test_one_outlier_in_ten_does_not_widen_normal() -> None:
    rows = normal_rows(2000, seed=1)
    clean = RobustDistance.fit([rows], 1)
    dirty = rows.copy()
    dirty[::10, 0] = 500.0
    spoilt = RobustDistance.fit([dirty], 1)
    assert spoilt.scale[0] == pytest.approx(clean.scale[0], rel=0.25)
    assert dirty[:, 0].std() > 20 * spoilt.scale[0]


def test_a_broken_relation_is_strange_though_each_value_is_common() -> None:
    detector = RobustDistance.fit([normal_rows(4000, seed=1)], 3)
    usual, spread = detector.centre, detector.scale
    together = usual + spread * np.array([1.5, -1.5, 1.5])  # pressure falls as flow and current rise
    against = usual + spread * np.array([-1.5, -1.5, 1.5])
    scores = detector.score(np.tile(against, (10, 1)))
    assert scores.scores[-1] > 1.8 * detector.score(np.tile(together, (10, 1))).scores[-1]
    assert scores.shares[-1].argmax() == 0


def test_a_column_that_is_mostly_one_value_still_has_a_spread() -> None:
    rows = normal_rows(1000, seed=1)
    rows[:, 1] = np.where(np.arange(1000) % 5 == 0, 6.0, 5.0)
    assert (RobustDistance.fit([rows], 1).scale > 0).all()


def test_at_the_middle_shares_are_equal_and_the_score_is_nothing() -> None:
    detector = RobustDistance.fit([normal_rows(1000, seed=1)], 5)
    middle = detector.score(detector.centre[None, :])
    assert middle.scores[0] < 1e-4
    np.testing.assert_allclose(middle.shares[0], 1 / 3)


def test_one_tag_alone_is_enough_on_a_real_machine() -> None:
    """NAB's machine temperature, learnt from one week, judged from the next day to past its labelled failure."""
    with RECORDING.open() as file:
        rows = [(datetime.fromisoformat(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    times = [at for at, _ in rows]
    values = np.array([[value] for _, value in rows])
    week, begin = times.index(datetime(2014, 1, 30)), times.index(datetime(2014, 2, 6))
    label, end = times.index(datetime(2014, 2, 7, 14, 55)), times.index(datetime(2014, 2, 9, 14, 5))
    detector, rule = RobustDistance.fit([values[week:begin]], 5), AlarmRule(5, 20, 20)
    limit = threshold.fit([detector.score(values[week:begin]).scores[20:]], rule, 2016).threshold
    scores = detector.score(values[begin : end + 500])
    assert (scores.shares == 1.0).all()
    assert threshold.count_alarms(scores.scores[: label - begin], rule, limit) == 0
    assert threshold.count_alarms(scores.scores[: end - begin], rule, limit) == 1
    assert threshold.count_alarms(scores.scores, rule, limit) == 1
