"""Stamps rise strictly per tag."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.stamps import Stamps
from tests.agent.points import point
from wire.block import Block, Reason
from wire.tag import TagTable

TAGS = TagTable([point("a").tag, point("b").tag])


@given(st.lists(st.integers(0, 100)), st.integers(0, 100), st.integers(0, 100))
def test_stamps_rise_above_the_high_water_and_when_the_clock_steps_back(clock: list[int], a_ms: int, b_ms: int) -> None:
    stamps = Stamps({("dev", "a"): a_ms, ("dev", "b"): b_ms, ("other", "a"): 10**9})
    found = [stamps.rising(TAGS, t) for t in clock]
    assert all(later > earlier for earlier, later in zip([max(a_ms, b_ms), *found], found, strict=False))
    assert all(stamp >= t for stamp, t in zip(found, clock, strict=True))


def test_a_stamp_that_rises_anyway_is_left_alone() -> None:
    stamps, block = Stamps({}), Block.bad(5, TAGS, Reason.TIMEOUT)
    assert stamps.risen(block) is block
    assert stamps.risen(block).ts_ms == 6
