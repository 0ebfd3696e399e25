"""When an alarm begins and ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alarm_logic import CALM, AlarmRule, AlarmState, step

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
