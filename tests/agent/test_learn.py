"""What refusals teach: every tag that can be read is read, and what was refused is not asked again in vain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.learn import AGE_S, CONFIRM_S, PAUSE_S, START_S, Learner
from agent.plan import PlannedSpan, plan_device
from agent.spec import Illegal
from agent.wire_time import CHARACTERS
from tests.agent.points import device, point


def poll(learner: Learner, refuses: Callable[[int, int], bool], now_s: float = 0.0) -> dict[str, bool]:
    """One poll as the unit makes it, with all the time in the world: tag -> was read."""
    read: dict[str, bool] = {}
    learner.look_again(now_s)
    left = list(learner.spans)
    while left:
        planned = left.pop(0)
        if refuses(planned.span.address, planned.span.address + planned.span.count):
            halves = learner.refused(planned, now_s)
            if halves is not None:
                left[:0] = halves
                continue
            read |= dict.fromkeys(planned.tags.names, False)
        else:
            learner.answered(planned, now_s)
            read |= dict.fromkeys(planned.tags.names, True)
    return read


def never(start: int, end: int) -> bool:
    return False


def hole_at(*addresses: int) -> Callable[[int, int], bool]:
    return lambda start, end: any(start <= a < end for a in addresses)


@given(
    st.sets(st.integers(0, 80), min_size=1, max_size=30), st.sets(st.integers(0, 80), max_size=12), st.integers(3, 125)
)
def test_after_some_polls_every_legal_tag_is_read_and_no_plan_is_refused_any_more(addresses, holes, gives) -> None:  # type: ignore[no-untyped-def]
    spec = device(*(point(f"t{a}", address=a) for a in addresses))
    learner = Learner(spec, CHARACTERS, ())

    def refuses(start: int, end: int) -> bool:
        return end - start > gives or any(start <= hole < end for hole in holes)

    for n in range(160):
        read = poll(learner, refuses, n * 10.0)
        assert read == {f"t{a}": a not in holes for a in addresses}, "in the very poll in which it was refused"
    assert learner.healed == 0 or gives < 125, "a hole stays a hole"
    for n in range(3):  # between two looks nothing is asked in vain but the values that are illegal themselves
        learner.look_again(0.0)
        refused = [s for s in learner.spans if refuses(s.span.address, s.span.address + s.span.count)]
        if all(len(s.points) == 1 for s in refused):
            break
        poll(learner, refuses, 2000.0 + n)
    assert all(len(s.points) == 1 for s in refused)


@given(st.sets(st.integers(0, 80), min_size=2, max_size=30), st.sets(st.integers(0, 80), max_size=8))
def test_stray_refusals_leave_nothing_behind(addresses, strays) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(device(*(point(f"t{a}", address=a) for a in addresses)), CHARACTERS, ())
    whole = learner.spans
    poll(learner, hole_at(*strays))
    assert learner.learned == ()
    for n in range(1, 200):
        assert all(poll(learner, never, n * 10.0).values()) and learner.learned == ()
    assert learner.suspected == () and [s.span for s in learner.spans] == [s.span for s in whole]


def test_a_hole_is_walled_off_at_once_and_remembered_when_it_is_refused_again_a_minute_later() -> None:
    spec = device(*(point(f"t{a}", address=a) for a in (0, 1, 2, 6, 7, 8)))
    learner, wall = Learner(spec, CHARACTERS, ()), Illegal("holding", 3, 6)
    assert len(learner.spans) == 1
    poll(learner, hole_at(4))
    assert learner.news and learner.suspected == (wall,) and learner.learned == ()
    assert [(s.span.address, s.span.count) for s in learner.spans] == [(0, 3), (6, 3)]
    assert str(wall) == "holding 3-5"
    asked: list[tuple[int, int]] = []

    def refuses(start: int, end: int) -> bool:
        asked.append((start, end))
        return start <= 4 < end

    for now_s in (1.0, CONFIRM_S - 1):
        poll(learner, refuses, now_s)
    assert asked == [(0, 3), (6, 9)] * 2, "it is not asked across in between"
    poll(learner, refuses, CONFIRM_S)
    assert (0, 9) in asked and learner.learned == (wall,) and learner.suspected == ()
    # What a new start makes of what was remembered is the same plan.
    assert [s.span for s in plan_device(spec, CHARACTERS, learner.learned)] == [s.span for s in learner.spans]
    asked.clear()
    poll(learner, refuses, AGE_S)
    assert (0, 9) not in asked
    poll(learner, refuses, CONFIRM_S + AGE_S)
    assert (0, 9) in asked and learner.learned == (wall,), "looked at once a day, and still there"


def test_a_stray_refusal_is_forgotten_when_the_request_is_answered() -> None:
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(8))), CHARACTERS, ())
    whole = learner.spans
    poll(learner, lambda start, end: end - start == 8)
    assert [str(i) for i in learner.suspected] == ["holding not across 4"] and len(learner.spans) == 2
    poll(learner, never, CONFIRM_S)
    assert learner.suspected == () == learner.learned and learner.spans == whole and learner.healed == 0


def test_a_tag_of_another_pace_that_lies_beside_a_hole_is_not_walled_off() -> None:
    slow = point("slow", address=1, period_s=9.0)
    learner = Learner(device(point("a"), slow, point("b", address=3)), CHARACTERS, ())
    for now_s in (0.0, 1.0, CONFIRM_S + 1.0):
        read = poll(learner, lambda start, end: start <= 2 < end, now_s)
        assert read == {"a": True, "slow": True, "b": True}
        assert [str(i) for i in (*learner.learned, *learner.suspected)] == ["holding not across 3"]
        assert not any(learner.knows(s) for s in learner.spans)


def test_a_device_that_gives_fewer_registers_than_we_thought_is_cut_not_walled() -> None:
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(8))), CHARACTERS, ())
    for now_s in (0.0, CONFIRM_S):
        poll(learner, lambda start, end: end - start > 4, now_s)
    assert [str(i) for i in learner.learned] == ["holding not across 4"]
    assert [s.span.count for s in learner.spans] == [4, 4]


def test_a_value_that_is_refused_is_asked_all_the_time_and_sure_after_a_minute() -> None:
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(3))), CHARACTERS, ())
    for now_s in (0.0, 1.0, CONFIRM_S / 2):
        poll(learner, hole_at(1), now_s)
        assert learner.learned == () and [str(i) for i in learner.suspected] == ["holding 1"]
    poll(learner, hole_at(1), CONFIRM_S)
    assert [str(i) for i in learner.learned] == ["holding 1"] and learner.suspected == ()
    poll(learner, never, CONFIRM_S + 1)
    assert learner.learned == () and learner.healed == 1 and [s.span.count for s in learner.spans] == [3]


def test_an_answer_between_two_refusals_begins_anew() -> None:
    learner = Learner(device(point("a")), CHARACTERS, ())
    for now_s, refused in ((0.0, True), (30.0, False), (70.0, True), (100.0, True)):
        poll(learner, hole_at(0) if refused else never, now_s)
        assert learner.learned == ()
    poll(learner, hole_at(0), 130.0)
    assert [str(i) for i in learner.learned] == ["holding 0"]


def test_what_was_remembered_is_looked_at_soon_after_a_start_one_by_one_and_heals() -> None:
    """Two holes of an old firmware; the new one fills the first."""
    walls = (Illegal("holding", 2, 4), Illegal("holding", 6, 8))
    spec = device(*(point(f"t{a}", address=a) for a in (0, 1, 4, 5, 8, 9)))
    learner = Learner(spec, CHARACTERS, walls, now_s=1000.0)
    poll(learner, hole_at(7), 1000.0 + START_S - 1)
    assert learner.learned == walls and len(learner.spans) == 3
    poll(learner, hole_at(7), 1000.0 + START_S)
    assert learner.learned == walls[1:] and learner.healed == 1 and learner.news
    poll(learner, hole_at(7), 1000.0 + START_S + PAUSE_S / 2)
    assert learner.learned == walls[1:]
    poll(learner, hole_at(7), 1000.0 + START_S + PAUSE_S)
    assert learner.learned == walls[1:], "refused again"
    assert [s.span.count for s in learner.spans] == [6, 2]


def test_a_wall_that_no_request_would_cross_costs_no_question() -> None:
    """The tags beyond it are gone from site.yaml."""
    wall = Illegal("holding", 3, 6)
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(3))), CHARACTERS, (wall,))
    poll(learner, never, START_S)
    assert learner.learned == (wall,) and [s.span.count for s in learner.spans] == [3]


def test_what_is_not_known_yet_is_not_remembered() -> None:
    learner = Learner(device(point("a"), point("b", address=1)), CHARACTERS, ())
    (whole,) = learner.spans
    halves = learner.refused(whole)
    assert halves is not None and not learner.news and learner.spans == halves
    learner.look_again(1e9)
    assert learner.spans == halves, "one question at a time"
    learner.answered(halves[0])
    assert not learner.news and learner.learned == ()


@pytest.mark.parametrize("learned", [(), (Illegal("input", 0, 5),)])
def test_an_answer_to_a_planned_request_teaches_nothing(learned: tuple[Illegal, ...]) -> None:
    learner = Learner(device(point("a"), point("b", address=1)), CHARACTERS, learned)
    plans: tuple[PlannedSpan, ...] = learner.spans
    learner.answered(plans[0])
    assert not learner.news and learner.spans is plans
