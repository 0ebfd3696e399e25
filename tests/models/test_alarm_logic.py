"""When an alarm begins and ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alarm_logic import CALM, AlarmRule, AlarmState, parts_of, step

RULES = st.builds(
    AlarmRule,
    raise_rows=st.integers(1, 4),
    hold_rows=st.integers(0, 8),
    release_rows=st.integers(1, 4),
    clear_ratio=st.sampled_from([0.5, 0.9, 1.0]),
)
# Below the clear level of every rule, between the levels, at the threshold (4.0), above it.
SCORES = st.lists(st.sampled_from([0.0, 1.9, 3.0, 3.8, 4.0, 9.0]), max_size=60)
THRESHOLD = 4.0


def course(rule: AlarmRule, scores: list[float]) -> list[bool]:
    state, raised = CALM, []
    for score in scores:
        state = step(rule, state, score, THRESHOLD)
        raised.append(state.raised)
    return raised


def by_definition(rule: AlarmRule, scores: list[float]) -> list[bool]:
    """The rule in words, looking back over the whole history instead of counting."""
    raised: list[bool] = []
    began = 0  # where the present calm or alarm began
    for i in range(len(scores)):
        now = raised[-1] if raised else False
        if not now:
            last = scores[max(began, i - rule.raise_rows + 1) : i + 1]
            change = len(last) == rule.raise_rows and all(score >= THRESHOLD for score in last)
        else:
            last = scores[max(began + 1, i - rule.release_rows + 1) : i + 1]
            quiet = len(last) == rule.release_rows and all(s < rule.clear_ratio * THRESHOLD for s in last)
            change = quiet and i - began >= rule.hold_rows
        if change:
            began = i + 1 if now else i
        raised.append(now != change)
    return raised


@given(RULES, SCORES)
def test_counting_row_by_row_is_the_rule_as_it_is_worded(rule: AlarmRule, scores: list[float]) -> None:
    assert course(rule, scores) == by_definition(rule, scores)


@given(RULES, SCORES)
def test_an_alarm_lasts_at_least_its_latch(rule: AlarmRule, scores: list[float]) -> None:
    words = "".join("#" if raised else "." for raised in course(rule, scores))
    ended = words.rstrip("#").split(".")
    assert all(len(alarm) >= max(rule.hold_rows, rule.release_rows) for alarm in ended if alarm)


@given(RULES, SCORES, st.data())
def test_a_score_that_is_no_number_changes_nothing(rule: AlarmRule, scores: list[float], data: st.DataObject) -> None:
    state = AlarmState()
    for score in scores:
        state = step(rule, state, score, THRESHOLD)
        if data.draw(st.booleans()):
            assert step(rule, state, math.nan, THRESHOLD) == state


def test_one_strange_row_is_not_an_alarm_and_three_are() -> None:
    rule = AlarmRule(raise_rows=3, hold_rows=0, release_rows=1)
    assert course(rule, [9, 0, 9, 9, 0, 9, 9, 9]) == [False] * 7 + [True]


def test_between_the_two_levels_an_alarm_stays_and_calm_stays() -> None:
    rule = AlarmRule(raise_rows=1, hold_rows=0, release_rows=1, clear_ratio=0.5)
    assert course(rule, [3, 3, 4, 3, 3, 1.9, 3]) == [False, False, True, True, True, False, False]


@pytest.mark.parametrize("wrong", [{"raise_rows": 0}, {"hold_rows": -1}, {"release_rows": 0}, {"clear_ratio": 0.0}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AlarmRule(**wrong)  # type: ignore[arg-type]


END = AlarmRule(
    raise_rows=1, hold_rows=0, release_rows=2, clear_ratio=0.5, peak_ratio=0.4, settle_rows=5, settle_ratio=0.8
)


def by_tag(rule: AlarmRule, rows: list[tuple[float, ...]]) -> list[bool]:
    state, raised = CALM, []
    for parts in rows:
        state = step(rule, state, max(map(abs, parts)), THRESHOLD, parts)
        raised.append(state.raised)
    return raised


def test_a_fault_ends_when_each_tag_is_well_below_the_most_that_it_showed() -> None:
    # 39 is below 0.4 * 100, and far above the hysteresis.
    assert by_tag(END, [(0, 100), (0, 41), (0, 41), (0, 39), (0, 39)]) == [True] * 4 + [False]


def test_without_a_peak_ratio_only_the_hysteresis_ends_an_alarm() -> None:
    rule = AlarmRule(raise_rows=1, hold_rows=0, release_rows=2, clear_ratio=0.5)
    assert by_tag(rule, [(0, 100), (0, 39), (0, 39), (0, 1), (0, 1)]) == [True] * 4 + [False]


def test_a_tag_that_comes_back_and_goes_a_little_too_far_is_back() -> None:
    assert by_tag(END, [(-9, 0), (-9, 0), (6, 0), (6, 0)]) == [True, True, True, False]


def test_a_tag_that_is_as_far_off_on_the_other_side_is_not_back() -> None:
    assert by_tag(END, [(-9, 0), (10, 0), (10, 0), (10, 0)]) == [True] * 4


def test_another_tag_that_becomes_strange_holds_the_alarm() -> None:
    assert by_tag(END, [(9, 0), (0, 9), (0, 9), (0, 9), (0, 1), (0, 1)]) == [True] * 5 + [False]


def test_a_strange_tag_that_never_passed_the_threshold_itself_does_not_hold_the_alarm() -> None:
    assert by_tag(END, [(9, 3), (1, 3), (1, 3)]) == [True, True, False]


def test_just_after_an_alarm_only_what_is_nearly_as_strange_raises_the_next_one() -> None:
    calm_after = [(0.0,), (0.0,)]
    assert by_tag(END, [(20.0,), *calm_after, (15.0,), (15.0,)])[-2:] == [False, False]  # below 0.8 * 20
    assert by_tag(END, [(20.0,), *calm_after, (17.0,)])[-1]
    assert by_tag(END, [(20.0,), *calm_after, *[(0.0,)] * 5, (15.0,)])[-1]  # settled


@pytest.mark.parametrize("wrong", [{"peak_ratio": 1.0}, {"settle_ratio": 1.1}, {"settle_rows": -1}])
def test_an_end_of_fault_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AlarmRule(**wrong)  # type: ignore[arg-type]


def test_the_strangest_tag_carries_the_whole_score_and_a_missing_one_nothing() -> None:
    assert parts_of(8.0, [-2.0, 1.0, math.nan]) == [-8.0, 4.0, 0.0]
    assert parts_of(0.0, [0.0, 0.0]) == [0.0, 0.0]
    assert parts_of(3.0, [math.nan]) == [0.0]
