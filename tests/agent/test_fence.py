"""The fence as a rule: whatever comes late, no value is ever taken for another request's."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.driver import Span
from agent.drivers.fence import FORGET_S, FUNCTION, GHOST_S, Fence, shape
from agent.plan import plan_device
from tests.agent.points import device, point

SPANS = [
    Span("holding", 0, 2), Span("holding", 10, 2), Span("input", 0, 2), Span("holding", 20, 1),
    Span("coil", 0, 8), Span("coil", 16, 3), Span("holding", 40, 5),
]  # fmt: skip

# What the device does when its turn comes: answers so many requests of its queue, drops some, refuses some.
deeds = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["right", "right", "right", "drop", "refuse"])))
steps = st.lists(st.tuples(st.sampled_from(SPANS), deeds, deeds), max_size=60)


@pytest.mark.no_cover
@settings(max_examples=300)
@given(steps)
def test_an_answer_is_only_taken_for_the_request_that_it_answers(plan) -> None:  # type: ignore[no-untyped-def]
    fence, queue = Fence(), deque[Span]()

    def device_acts(doing, asked: Span | None, behind: Span | None) -> bool:  # type: ignore[no-untyped-def]
        """True when an answer was taken for the request that is out. behind: of a fence, what is to be asked then."""
        taken = False
        for count, deed in doing:
            for _ in range(min(count, len(queue))):
                span = queue.popleft()
                if deed == "drop":
                    continue
                function, size = shape(span)
                verdict = fence.heard(1, function, size, deed == "refuse")
                if verdict == "ours":
                    assert not taken and asked is not None
                    if behind is None:
                        assert span is asked, "the answer to another request was taken"
                    else:
                        assert all(shape(s) != shape(behind) for s in queue), "the fence has not passed them all"
                        assert not fence.needed(1, behind, now_s)
                    taken = True
        return taken

    now_s = 0.0
    for span, in_time, later in plan:
        now_s += 1.0
        wanted: Span | None = Span(span.table, span.address, span.count)
        behind: Span | None = None
        if fence.needed(1, span, now_s):
            wanted, behind = fence.choose(1, span), span
        assert wanted is not None, "there are shapes enough"
        queue.append(Span(wanted.table, wanted.address, wanted.count))
        fence.asked(1, queue[-1], now_s)
        if not device_acts(in_time, queue[-1], behind):
            fence.gave_up()
            device_acts(later, None, None)


bridge_deeds = st.lists(st.integers(0, 8), max_size=3)  # which of the unanswered are answered, the newest being 0
overtaking = st.lists(st.tuples(st.sampled_from(SPANS), bridge_deeds, bridge_deeds), max_size=60)


@pytest.mark.no_cover
@settings(max_examples=300)
@given(overtaking)
def test_an_answer_that_another_has_overtaken_is_not_taken_either(plan) -> None:  # type: ignore[no-untyped-def]
    """A bridge delivers any of the unanswered answers at any time within GHOST_S, the newest request's last."""
    fence, unanswered, now_s, is_fence = Fence(), list[tuple[Span, float]](), 0.0, False

    def bridge_gives(which: list[int], asked: Span | None) -> bool:
        for choice in which:
            if choice < len(unanswered):
                span, _ = unanswered.pop(-1 - choice)
                function, size = shape(span)
                if fence.heard(1, function, size, False) == "ours":
                    assert is_fence or span is asked, "the answer to another request was taken"
                    return True
        return False

    for span, in_time, later in plan:
        now_s += 1.0
        unanswered[:] = [(asked, at_s) for asked, at_s in unanswered if now_s - at_s < GHOST_S]
        is_fence = fence.needed(1, span, now_s)
        if is_fence:
            wanted = fence.choose(1, span)
        else:
            wanted = fence.widened(1, span)
            assert wanted is None or not fence.needed(1, wanted, now_s)
        if wanted is None:
            continue
        wanted = Span(wanted.table, wanted.address, wanted.count)
        fence.asked(1, wanted, now_s)
        unanswered.append((wanted, now_s))
        if not bridge_gives(in_time, wanted):
            fence.gave_up()
            bridge_gives(later, None)


WALLED = [Span("holding", 0, 8), Span("holding", 2000, 8), Span("holding", 40, 2), Span("holding", 50, 2)]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(WALLED), bridge_deeds, bridge_deeds), max_size=40))
def test_no_value_is_anothers_where_a_unit_gives_nothing_beside_its_tags(plan) -> None:  # type: ignore[no-untyped-def]
    def allowed(unit_id: int, span: Span) -> bool:
        ends = {(s.table, a) for s in WALLED for a in range(s.address, s.address + s.count)}
        return all((span.table, a) in ends for a in range(span.address, span.address + span.count))

    fence, unanswered, now_s = Fence(allowed), list[tuple[Span, float]](), 0.0

    def asked(span: Span, in_time: list[int], later: list[int], fencing: bool) -> bool:
        def bridge_gives(which: list[int]) -> bool:
            for choice in which:
                if choice < len(unanswered):
                    old, _ = unanswered.pop(-1 - choice)
                    if fence.heard(1, *shape(old), False) == "ours":
                        assert fencing or old == span, "another register's value was taken"
                        return True
            return False

        fence.asked(1, span, now_s)
        unanswered.append((span, now_s))
        if bridge_gives(in_time):
            return True
        fence.gave_up()
        bridge_gives(later)
        return False

    for span, in_time, later in plan:
        now_s += 1.0
        unanswered[:] = [(old, at_s) for old, at_s in unanswered if now_s - at_s < GHOST_S]
        if fence.needed(1, span, now_s):
            found = fence.choose(1, span)
            if found is None or not asked(found, in_time, later, True):
                continue
        found = fence.widened(1, span)
        if found is not None:
            asked(found, in_time, later, False)
            continue
        for part in fence.parts(1, span, lambda address: address in (41, 51)) or ():
            assert not fence.needed(1, part, now_s)
            if not asked(part, in_time, later, False):
                break


LEDGE = [Span("holding", 10, 2), Span("holding", 20, 2), Span("holding", 30, 5), Span("input", 10, 2)]


@pytest.mark.no_cover
@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(LEDGE), st.lists(bridge_deeds, min_size=8, max_size=8)), max_size=40))
def test_no_value_is_anothers_where_refusals_are_overtaken_too(plan) -> None:  # type: ignore[no-untyped-def]
    """A unit refuses what reaches beyond five registers from a round address: so do some wider requests."""
    fence, unanswered, now_s = Fence(), list[tuple[Span, float]](), 0.0

    def refuses(span: Span) -> bool:
        return span.address % 10 + span.count > 5

    def exchange(span: Span, deeds: list[list[int]], fencing: bool) -> str:
        def bridge_gives(which: list[int]) -> str:
            for choice in which:
                if choice < len(unanswered):
                    old, _ = unanswered.pop(-1 - choice)
                    if fence.heard(1, *shape(old), refuses(old)) == "ours":
                        if refuses(old):
                            return "refused"
                        assert fencing or old == span, "another register's value was taken"
                        return "value"
            return ""

        fence.asked(1, span, now_s)
        unanswered.append((span, now_s))
        if found := bridge_gives(deeds.pop()):
            return found
        fence.gave_up()
        bridge_gives(deeds.pop())
        return ""

    for span, turns in plan:
        now_s += 1.0
        unanswered[:] = [(old, at_s) for old, at_s in unanswered if now_s - at_s < GHOST_S]
        deeds = [*turns]
        if fence.needed(1, span, now_s):
            found = fence.choose(1, span)
            if found is None or not exchange(found, deeds, True):
                continue
        while len(deeds) > 1 and (found := fence.widened(1, span)) is not None:
            if exchange(found, deeds, False) != "refused" or found == span:
                break
            fence.refused(1, span, found)


def test_a_refusal_that_may_be_an_earlier_requests_leaves_this_ones_answer_to_come() -> None:
    fence, span = Fence(), Span("holding", 10, 2)
    fence.asked(1, Span("holding", 10, 6), 0.0)
    fence.gave_up()
    assert fence.needed(1, Span("holding", 30, 6), 1.0)
    fence.asked(1, Span("holding", 10, 1), 1.0)
    assert fence.heard(1, 3, 2, False) == "ours"
    fence.asked(1, Span("holding", 10, 3), 2.0)
    assert fence.heard(1, 3, 0, True) == "ours", "nothing has overtaken anything so far"
    fence.refused(1, span, Span("holding", 10, 3))
    assert not fence.needed(1, span, 3.0)
    found = fence.widened(1, span)
    assert found is not None and found.count != 3, "the answer to those three may still come"
    fence.asked(1, found, 3.0)
    assert fence.heard(1, 3, 6, False) == "late"
    assert fence.heard(1, 3, 0, True) == "late", "now it is known that answers overtake each other"
    assert fence.heard(1, *shape(found), False) == "ours"


def test_a_unit_that_gives_no_more_is_asked_in_two_parts_that_tear_no_value() -> None:
    fence, near, far = Fence(), Span("holding", 0, 8), Span("holding", 2000, 8)
    fence.asked(1, far, 0.0)
    fence.gave_up()
    fence.asked(1, Span("holding", 0, 1), 1.0)
    assert fence.heard(1, 3, 2, False) == "ours"
    assert fence.widened(1, near) == Span("holding", 0, 9)
    fence.refused(1, near, Span("holding", 0, 9))
    assert fence.widened(1, near) is None, "the answer to the other one may still come"
    assert fence.parts(1, near, lambda address: address % 2 == 1) == (Span("holding", 0, 2), Span("holding", 2, 6))
    assert fence.parts(1, near, lambda address: True) is None
    fence.refused(1, far, Span("holding", 2000, 9))
    fence.refused(1, far, Span("holding", 1999, 9))
    assert fence.widened(1, far) == far, "an earlier answer to the same request, which nothing has overtaken yet"
    assert fence.heard(1, 3, 16, False) == "late"
    fence.asked(1, far, 2.0)
    fence.gave_up()
    fence.asked(1, Span("holding", 0, 1), 3.0)
    assert fence.heard(1, 3, 2, False) == "ours"
    assert fence.widened(1, far) is None, "on this line answers are overtaken"


def test_a_ghost_makes_requests_of_its_shape_wider_until_it_was_seen_or_is_old() -> None:
    fence, span = Fence(), Span("input", 6, 2)
    fence.asked(1, span, 0.0)
    fence.gave_up()
    fence.asked(1, Span("input", 6, 1), 1.0)
    assert fence.heard(1, 4, 2, False) == "ours"
    assert not fence.needed(1, span, 1.0)
    assert fence.widened(1, span) == Span("input", 6, 3)
    fence.refused(1, span, Span("input", 6, 3))
    assert fence.widened(1, span) == Span("input", 5, 3)
    assert fence.widened(1, Span("input", 0, 4)) == Span("input", 0, 4)
    assert not fence.needed(1, span, GHOST_S)
    assert fence.widened(1, span) == span
    fence.asked(1, span, 2.0)
    fence.gave_up()
    fence.asked(1, Span("input", 6, 1), 3.0)
    assert fence.heard(1, 4, 2, False) == "ours"
    assert fence.heard(1, 4, 4, False) == "late"
    assert fence.widened(1, span) == span


def test_a_clean_unit_needs_no_fence_and_a_late_answer_cleans_it() -> None:
    fence, span = Fence(), Span("input", 10, 2)
    assert not fence.needed(1, span, 0.0)
    fence.asked(1, span, 0.0)
    fence.gave_up()
    assert fence.needed(1, Span("input", 90, 2), 1.0)
    assert not fence.needed(1, Span("input", 90, 3), 1.0), "another shape is its own fence"
    assert not fence.needed(2, Span("input", 90, 2), 1.0), "another unit is not touched"
    assert fence.heard(1, 4, 4, False) == "late"
    assert not fence.needed(1, span, 1.0)


def test_a_unit_that_refuses_parts_is_asked_with_another_function() -> None:
    fence, span = Fence(), Span("holding", 10, 2)
    fence.asked(1, span, 0.0)
    fence.gave_up()
    first = fence.choose(1, span)
    assert first == Span("holding", 10, 1)
    fence.asked(1, first, 1.0)
    assert fence.heard(1, 3, 0, True) == "late", "the refusal may belong to either"
    fence.gave_up()
    second = fence.choose(1, span)
    assert second is not None and FUNCTION[second.table] != 3
    fence.asked(1, second, 2.0)
    assert fence.heard(1, FUNCTION[second.table], 0, True) == "ours"
    assert not fence.needed(1, span, 2.0)


def test_single_register_and_last_address_still_find_a_fence() -> None:
    for span in (Span("holding", 65535, 1), Span("discrete", 65535, 1), Span("input", 0, 125)):
        fence = Fence()
        fence.asked(1, span, 0.0)
        fence.gave_up()
        found = fence.choose(1, span)
        assert found is not None and shape(found) != shape(span)
        assert found.address + found.count <= 65536
        assert found.count <= (2000 if found.bits else 125)


def test_after_a_silence_of_any_length_the_first_fence_that_is_answered_opens_the_way() -> None:
    fence, spans, now_s = Fence(), [Span("holding", 0, 2), Span("input", 0, 1), Span("coil", 0, 8)], 0.0
    for _ in range(200):
        now_s += 0.05
        for span in spans:
            found = fence.choose(1, span) if fence.needed(1, span, now_s) else span
            assert found is not None
            fence.asked(1, found, now_s)
            fence.gave_up()
    for span in spans:
        if fence.needed(1, span, now_s):
            found = fence.choose(1, span)
            assert found is not None
            fence.asked(1, found, now_s)
            assert fence.heard(1, *shape(found), False) == "ours"
            assert not fence.needed(1, span, now_s)
        asked = fence.widened(1, span)
        assert asked is not None, "no shape is left for the request itself"
        fence.asked(1, asked, now_s)
        assert fence.heard(1, *shape(asked), False) == "ours"


def test_a_fence_of_one_silence_is_none_of_the_next() -> None:
    fence, span, first = Fence(), Span("holding", 0, 2), Span("holding", 0, 1)
    for asked in (span, first, first):
        fence.asked(1, asked, 0.0)
        fence.gave_up()
    fence.asked(1, first, 0.0)
    assert fence.heard(1, 3, 2, False) == "ours", "which of the three it answers does not matter"
    fence.asked(1, Span("holding", 0, 3), 0.0)
    assert fence.heard(1, 3, 2, False) == "late", "two of the fence may still come"
    fence.gave_up()
    fence.asked(1, span, 0.0)
    fence.gave_up()
    assert fence.needed(1, span, 0.0)
    found = fence.choose(1, span)
    assert found is not None and shape(found) not in (shape(span), shape(first), (3, 6))


def test_what_nobody_answers_is_forgotten_after_ten_minutes() -> None:
    fence, span = Fence(), Span("holding", 0, 2)
    fence.asked(1, span, 0.0)
    fence.gave_up()
    assert fence.needed(1, span, FORGET_S - 1)
    assert not fence.needed(1, span, FORGET_S)


def test_a_frame_of_nobody_is_foreign() -> None:
    fence = Fence()
    assert fence.heard(5, 3, 2, False) == "foreign"
    (planned,) = plan_device(device(point("a")))
    fence.asked(1, planned.span, 0.0)
    assert fence.heard(1, 3, 6, False) == "foreign"
    assert fence.heard(1, 3, 2, False) == "ours"


def test_a_late_answer_of_one_unit_leaves_its_neighbours_request_waiting_for_its_own() -> None:
    fence, span = Fence(), Span("holding", 0, 2)
    fence.asked(3, span, 0.0)
    fence.gave_up()
    fence.asked(4, span, 1.0)
    assert fence.heard(3, *shape(span), False) == "late"
    assert fence.heard(4, *shape(span), False) == "ours"


def test_a_fence_never_asks_what_the_device_must_not_be_asked() -> None:
    def allowed(unit_id: int, span: Span) -> bool:
        return span.table == "holding" and span.address + span.count <= 3

    fence, span = Fence(allowed), Span("holding", 0, 2)
    fence.asked(1, span, 0.0)
    fence.gave_up()
    assert fence.choose(1, span) == Span("holding", 0, 1)
    fence.asked(1, Span("holding", 0, 1), 1.0)
    fence.gave_up()
    fence.asked(1, span, 2.0)
    fence.gave_up()
    assert fence.choose(1, span) == Span("holding", 0, 3)
    fence.asked(1, Span("holding", 0, 3), 2.0)
    fence.gave_up()
    fence.asked(1, span, 3.0)
    fence.gave_up()
    assert fence.choose(1, span) is None
    ghosts = Fence(allowed)
    ghosts.asked(1, Span("holding", 1, 2), 0.0)
    ghosts.gave_up()
    ghosts.asked(1, Span("holding", 1, 1), 1.0)
    assert ghosts.heard(1, 3, 2, False) == "ours"
    assert ghosts.widened(1, Span("holding", 1, 2)) == Span("holding", 0, 3)
