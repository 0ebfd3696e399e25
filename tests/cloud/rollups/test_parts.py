"""The pure parts of roll-ups: the windows of an hour, which level a chart reads, questions that are joined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollups.hours import ALL, SETTLE_MS, merged, over, ranges, touched
from cloud.rollups.marks import day_range
from cloud.store.chart import fewer, level_for
from cloud.store.whole_rows import DAY_MS
from cloud.store.windows import HIGHEST_TOKEN, HOUR_MS, LEVELS, MINUTE_MS, QUARTER_MS, fenced, joined, no_windows
from wire.errors import ConfigError

HOUR = 472_222
H0 = HOUR * HOUR_MS


def test_a_minute_touches_its_quarter_and_its_hour() -> None:
    assert ranges(HOUR, touched(17), MINUTE_MS) == [(H0 + 17 * MINUTE_MS, H0 + 18 * MINUTE_MS)]
    assert ranges(HOUR, touched(17), QUARTER_MS) == [(H0 + QUARTER_MS, H0 + 2 * QUARTER_MS)]
    assert ranges(HOUR, touched(17), HOUR_MS) == [(H0, H0 + HOUR_MS)]
    for step_ms in LEVELS.values():
        assert ranges(HOUR, ALL, step_ms) == [(H0, H0 + HOUR_MS)]
        assert ranges(HOUR, 0, step_ms) == []


@given(st.sets(st.integers(0, 59)))
def test_ranges_are_the_minutes_again(minutes: set[int]) -> None:
    bits = 0
    for minute in minutes:
        bits |= touched(minute)
    found = ranges(HOUR, bits, MINUTE_MS)
    assert {m for a, b in found for m in range((a - H0) // MINUTE_MS, (b - H0) // MINUTE_MS)} == minutes
    assert merged(found, 0, 2**60) == found


def test_windows_are_over_once_they_have_settled() -> None:
    assert over(HOUR, H0) == 0
    assert over(HOUR, H0 + MINUTE_MS + SETTLE_MS - 1) == 0
    assert over(HOUR, H0 + MINUTE_MS + SETTLE_MS) == 1
    assert ranges(HOUR, over(HOUR, H0 + 31 * MINUTE_MS), QUARTER_MS) == [(H0, H0 + 2 * QUARTER_MS)]
    assert ranges(HOUR, over(HOUR, H0 + HOUR_MS + SETTLE_MS - 1), HOUR_MS) == []
    assert over(HOUR, H0 + HOUR_MS + SETTLE_MS) == ALL
    assert over(HOUR, H0 - 2 * HOUR_MS) == ALL  # a clock that is wrong
    assert over(HOUR, H0 - HOUR_MS) == 0


def test_ranges_are_cut_off_and_joined_where_they_touch() -> None:
    assert merged([(5, 9), (0, 3), (3, 4), (8, 20)], 1, 15) == [(1, 4), (5, 15)]
    assert merged([(0, 3)], 3, 9) == []
    assert fewer([(0, 1), (1, 2), (5, 6), (7, 8), (20, 21)], 3) == [(0, 2), (5, 8), (20, 21)]
    assert fewer([(0, 1), (5, 6), (7, 8), (20, 21)], 1) == [(0, 21)]
    assert fewer([], 2) == []
    assert list(day_range(DAY_MS, DAY_MS + 1)) == [1]
    assert list(day_range(0, 2 * DAY_MS)) == [0, 1]


@pytest.mark.parametrize(
    ("days", "points", "level"),
    [(365, 1000, "1h"), (30, 1000, "1h"), (7, 1000, "15m"), (1, 1000, "1m"), (1 / 24, 1000, "raw"), (1, 20_000, "raw")],
)
def test_a_chart_reads_the_coarsest_level_with_a_window_for_two_points(days: float, points: int, level: str) -> None:
    assert level_for(round(days * DAY_MS), points) == level


def test_nothing_comes_to_nothing() -> None:
    assert len(joined([])) == len(no_windows().coarser(HOUR_MS)) == 0
    assert no_windows().rank.dtype == np.int64


def test_a_token_fits_beneath_a_millisecond_or_is_refused() -> None:
    assert fenced(0) == 0
    assert fenced(HIGHEST_TOKEN) < 1_000_000
    for token in (-1, HIGHEST_TOKEN + 1):
        with pytest.raises(ConfigError, match="begin a new database"):
            fenced(token)
