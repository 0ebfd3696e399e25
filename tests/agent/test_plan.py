"""The planner: every tag exactly once, legally, in the fewest requests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.frame_spec import FrameSpec
from agent.plan import GAP_REGISTERS, check_line, plan_device, plan_frame
from agent.spec import LineSpec, PointSpec
from tests.agent.points import device, point
from wire.errors import ConfigError

WORD_TYPES = ("int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64", "string")


@st.composite
def any_point(draw: st.DrawFn, index: int) -> PointSpec:
    table = draw(st.sampled_from(["coil", "discrete", "input", "holding"]))
    if table in ("coil", "discrete"):
        return point(f"t{index}", table, draw(st.integers(0, 65535)), "bool")
    raw = draw(st.sampled_from(WORD_TYPES))
    length = draw(st.integers(1, 20)) if raw == "string" else 0
    # Mostly near each other, so that joining matters.
    address = draw(st.integers(0, 400) | st.integers(0, 65526))
    return point(f"t{index}", table, address, raw, length=length)


@st.composite
def any_device(draw: st.DrawFn):  # type: ignore[no-untyped-def]
    points = [draw(any_point(i)) for i in range(draw(st.integers(1, 40)))]
    return device(*points, max_registers=draw(st.integers(10, 125)))


@given(any_device())
def test_every_tag_stands_in_exactly_one_legal_span(spec):  # type: ignore[no-untyped-def]
    planned = plan_device(spec)
    assert sorted(p.tag.name for s in planned for p in s.points) == sorted(p.tag.name for p in spec.points)
    for s in planned:
        assert 1 <= s.span.count <= (2000 if s.span.bits else spec.max_registers)
        assert s.span.address >= 0 and s.span.address + s.span.count <= 65536
        assert s.tags.names == tuple(p.tag.name for p in s.points)
        for p in s.points:
            assert p.table == s.span.table
            assert s.span.address <= p.address
            assert p.address + p.registers <= s.span.address + s.span.count
        # No request asks for more than its points: it begins and ends with one.
        assert any(p.address == s.span.address for p in s.points)
        assert any(p.address + p.registers == s.span.address + s.span.count for p in s.points)


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(1, 125))
def test_single_registers_need_the_fewest_requests(addresses: set[int], limit: int) -> None:
    spec = device(*(point(f"t{a}", "input", a) for a in addresses), max_registers=limit)
    fewest, end, last = 0, -1, -1
    for a in sorted(addresses):
        if fewest == 0 or a >= end or a - last > GAP_REGISTERS + 1:
            fewest, end = fewest + 1, a + limit
        last = a
    assert len(plan_device(spec)) == fewest


def test_small_gaps_are_read_through_and_wide_ones_are_not() -> None:
    near = plan_device(device(point("a", address=0), point("b", address=GAP_REGISTERS + 1)))
    assert [(s.span.address, s.span.count) for s in near] == [(0, GAP_REGISTERS + 2)]
    assert len(plan_device(device(point("a", address=0), point("b", address=GAP_REGISTERS + 2)))) == 2


def test_overlapping_points_share_a_request() -> None:
    planned = plan_device(device(point("whole", raw="uint32"), point("low", address=1), point("again", address=1)))
    assert [(s.span.address, s.span.count) for s in planned] == [(0, 2)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (point("a", None), "needs a table"),
        (point("a", "coil"), "a coil is one bit"),
        (point("a", raw="bool"), "needs a bit number"),
        (point("a", raw="bool", bit=16), "needs a bit number"),
        (point("a", bit=3), "goes with type bool only"),
        (point("a", address=65535, raw="float32"), "outside 0 to 65535"),
        (point("a", address=-1), "outside 0 to 65535"),
        (point("a", raw="string"), "needs a length"),
        (point("a", raw="string", length=252), "in one answer"),
        (point("a", scale=0.0), "other than 0"),
        (point("a", low=2.0, high=1.0), "is above high"),
        (point("a", deadband=-1.0), "cannot be negative"),
        (point("a", invalid=("none",)), "is a number"),
        (point("a", device="other"), "belongs to device other"),
        (replace(point("a"), type="float64"), "is declared UINT16"),
    ],
)
def test_an_impossible_point_is_named(bad: PointSpec, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_device(device(bad, id="dev"))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        plan_device(device(point("a"), point("a", None), unit_id=300, max_registers=0, period_s=0.0))
    text = str(caught.value)
    for words in ("stands twice", "needs a table", "unit_id", "max_registers", "period_s"):
        assert words in text
    with pytest.raises(ConfigError, match="has no tags"):
        plan_device(device())


def text_device(pattern: str = r"A(?P<a>\d+)", **rest):  # type: ignore[no-untyped-def]
    return device(point("a", None, field="a"), frame=FrameSpec(pattern, **rest))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (device(point("a", None, field="a")), "needs a frame"),
        (text_device("A(?P<b>x)"), "no named group"),
        (text_device("A("), "not a regular expression"),
        (text_device(delimiter=""), "delimiter is empty"),
        (device(point("a", "holding", field="a"), frame=FrameSpec("(?P<a>x)")), "goes with Modbus only"),
    ],
)
def test_an_impossible_frame_is_named(bad, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words):
        plan_frame(bad)


def test_a_line_is_checked_with_all_its_devices() -> None:
    rtu = LineSpec("bus", "modbus-rtu", port=5, baud=7, timeout_s=0.0, devices=(device(point("a", None)),))
    with pytest.raises(ConfigError) as caught:
        check_line(rtu)
    for words in ("7 baud", "path of its port", "timeout_s", "needs a table"):
        assert words in str(caught.value)
    two = (text_device(), replace(text_device(delimiter=";"), id="dev"))
    with pytest.raises(ConfigError, match="share one delimiter"):
        check_line(LineSpec("road", "serial-text", port="/dev/null", devices=two))
    with pytest.raises(ConfigError, match="no devices"):
        check_line(LineSpec("empty", "modbus-tcp"))
    check_line(LineSpec("plc", "modbus-tcp", devices=(device(point("a")),)))
