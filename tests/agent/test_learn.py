"""What refusals teach: every tag that can be read is read, and what was refused is not asked again in vain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.learn import Learner
from agent.plan import PlannedSpan, plan_device
from agent.spec import Illegal
from agent.wire_time import CHARACTERS
from tests.agent.points import device, point


def poll(learner: Learner, refuses: Callable[[int, int], bool]) -> dict[str, bool]:
    """One poll as the unit makes it, with all the time in the world: tag -> was read."""
    read: dict[str, bool] = {}
    left = list(learner.spans)
    while left:
        planned = left.pop(0)
        if refuses(planned.span.address, planned.span.address + planned.span.count):
            halves = learner.refused(planned)
            if halves is not None:
                left[:0] = halves
                continue
            read |= dict.fromkeys(planned.tags.names, False)
        else:
            learner.answered(planned)
            read |= dict.fromkeys(planned.tags.names, True)
    return read


@given(
    st.sets(st.integers(0, 80), min_size=1, max_size=30), st.sets(st.integers(0, 80), max_size=12), st.integers(3, 125)
)
def test_after_some_polls_every_legal_tag_is_read_and_no_plan_is_refused_any_more(addresses, holes, gives) -> None:  # type: ignore[no-untyped-def]
    spec = device(*(point(f"t{a}", address=a) for a in addresses))
    learner = Learner(spec, CHARACTERS, ())

    def refuses(start: int, end: int) -> bool:
        return end - start > gives or any(start <= hole < end for hole in holes)

    for _ in range(40):
        read = poll(learner, refuses)
        assert read == {f"t{a}": a not in holes for a in addresses}, "in the very poll in which it was refused"
    refused = [s for s in learner.spans if refuses(s.span.address, s.span.address + s.span.count)]
    assert all(len(s.points) == 1 for s in refused), "only what is illegal itself is still refused"
    # What a new start makes of what was remembered is the same plan.
    again = plan_device(spec, CHARACTERS, learner.learned)
    assert [s.span for s in again] == [s.span for s in learner.spans]


def test_a_hole_is_found_and_walled_off() -> None:
    spec = device(*(point(f"t{a}", address=a) for a in (0, 1, 2, 6, 7, 8)))
    learner = Learner(spec, CHARACTERS, ())
    assert len(learner.spans) == 1
    poll(learner, lambda start, end: start <= 4 < end)
    assert learner.news and learner.learned == (Illegal("holding", 3, 6),)
    assert [(s.span.address, s.span.count) for s in learner.spans] == [(0, 3), (6, 3)]
    assert str(learner.learned[0]) == "holding 3-5"


def test_a_tag_of_another_pace_that_lies_beside_a_hole_is_not_walled_off() -> None:
    slow = point("slow", address=1, period_s=9.0)
    learner = Learner(device(point("a"), slow, point("b", address=3)), CHARACTERS, ())
    for _ in range(3):
        read = poll(learner, lambda start, end: start <= 2 < end)
        assert read == {"a": True, "slow": True, "b": True}
        assert [str(i) for i in learner.learned] == ["holding not across 3"]
        assert not any(learner.knows(s) for s in learner.spans)


def test_a_device_that_gives_fewer_registers_than_we_thought_is_cut_not_walled() -> None:
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(8))), CHARACTERS, ())
    poll(learner, lambda start, end: end - start > 4)
    assert [str(i) for i in learner.learned] == ["holding not across 4"]
    assert [s.span.count for s in learner.spans] == [4, 4]


def test_an_address_that_becomes_legal_is_forgotten() -> None:
    learner = Learner(device(*(point(f"t{a}", address=a) for a in range(3))), CHARACTERS, (Illegal("holding", 1, 2),))
    assert [s.span.count for s in learner.spans] == [1, 1, 1]
    poll(learner, lambda start, end: False)
    assert learner.learned == () and [s.span.count for s in learner.spans] == [3]


def test_what_is_not_known_yet_is_not_remembered() -> None:
    learner = Learner(device(point("a"), point("b", address=1)), CHARACTERS, ())
    (whole,) = learner.spans
    halves = learner.refused(whole)
    assert halves is not None and not learner.news and learner.spans == halves
    learner.answered(halves[0])
    assert not learner.news and learner.learned == ()


@pytest.mark.parametrize("learned", [(), (Illegal("input", 0, 5),)])
def test_an_answer_to_a_planned_request_teaches_nothing(learned: tuple[Illegal, ...]) -> None:
    learner = Learner(device(point("a"), point("b", address=1)), CHARACTERS, learned)
    plans: tuple[PlannedSpan, ...] = learner.spans
    learner.answered(plans[0])
    assert not learner.news and learner.spans is plans
