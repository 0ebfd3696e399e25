"""The planner: every tag exactly once, legally, in the fewest requests."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.check import check_line
from agent.decode import SpanDecoder
from agent.frame_spec import FrameSpec
from agent.join import join
from agent.plan import plan_device
from agent.spec import DeviceSpec, Illegal, LineSpec, PointSpec
from agent.wire_time import WireTime, wire_time
from tests.agent.points import device, point
from tests.work import calls_made
from wire.errors import ConfigError

GAP_REGISTERS = 10  # worth reading through: 20 characters, where another request costs 13 and two pauses of 3.5
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


@pytest.mark.no_cover
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
def test_single_registers_take_no_more_than_the_fewest_requests_do(addresses: set[int], limit: int) -> None:
    """Fewest: each as long as it may be, over every gap that costs less than a request. Three short ones may cost
    still less than two that read through much."""
    spec = device(*(point(f"t{a}", "input", a) for a in addresses), max_registers=limit)
    fewest: list[tuple[int, int]] = []
    for a in sorted(addresses):
        if fewest and a < fewest[-1][0] + limit and a - fewest[-1][1] <= GAP_REGISTERS + 1:
            fewest[-1] = (fewest[-1][0], a)
        else:
            fewest.append((a, a))
    spans = [s.span for s in plan_device(spec)]
    cost = sum(GAP_REGISTERS + span.count for span in spans)
    assert cost <= sum(GAP_REGISTERS + 1 + last - first + 1 for first, last in fewest)
    assert {a for span in spans for a in range(span.address, span.address + span.count)} >= addresses


def test_small_gaps_are_read_through_and_wide_ones_are_not() -> None:
    near = plan_device(device(point("a", address=0), point("b", address=GAP_REGISTERS + 1)))
    assert [(s.span.address, s.span.count) for s in near] == [(0, GAP_REGISTERS + 2)]
    assert len(plan_device(device(point("a", address=0), point("b", address=GAP_REGISTERS + 2)))) == 2


def test_overlapping_points_share_a_request() -> None:
    planned = plan_device(device(point("whole", raw="uint32"), point("low", address=1), point("again", address=1)))
    assert [(s.span.address, s.span.count) for s in planned] == [(0, 2)]


def table_of(kind: Any) -> LineSpec:
    return LineSpec("bus", kind, baud=19200, parity="E")


def test_a_bus_reads_through_what_its_turnaround_is_worth_and_a_network_what_fits() -> None:
    slow = wire_time(replace(table_of("modbus-rtu"), turnaround_s=0.05))
    assert slow.fixed_s == pytest.approx(13 * 11 / 19200 + 2 * 3.5 * 11 / 19200 + 0.05)
    assert slow.byte_s == pytest.approx(11 / 19200)
    apart = device(point("a", address=0), point("b", address=50))
    assert len(plan_device(apart)) == 2 and len(plan_device(apart, slow)) == 1
    assert wire_time(table_of("modbus-rtu-tcp")) == wire_time(table_of("modbus-rtu"))
    wide = device(point("a", address=0), point("b", address=124), point("c", address=125))
    assert [s.span.count for s in plan_device(wide, wire_time(table_of("modbus-tcp")))] == [1, 2]


def test_slow_tags_are_requests_of_their_own_and_limits_are_the_devices() -> None:
    tags = [point("a", address=0), point("b", address=1, period_s=60.0), point("c", address=2)]
    found = plan_device(device(*tags, period_s=1.0))
    assert [(s.period_s, s.tags.names) for s in found] == [(1.0, ("a", "c")), (60.0, ("b",))]
    bits = device(*(point(f"b{i}", "coil", i, "bool") for i in range(20)), max_bits=16)
    assert [s.span.count for s in plan_device(bits)] in ([16, 4], [4, 16], [8, 12], [12, 8])


places = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), min_size=1, max_size=8)
walls = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=3)


@given(places, walls, st.integers(4, 40), st.floats(1.0, 60.0))
def test_no_other_legal_plan_takes_less_wire_time(at, walled, limit: int, fixed: float) -> None:  # type: ignore[no-untyped-def]
    """Against every way to cut the points by address; none crosses what is illegal."""
    points = [point(f"t{i}", address=a, raw="string", length=2 * n) for i, (a, n) in enumerate(at)]
    illegal = [Illegal("holding", start, start + n) for start, n in walled]
    cost = WireTime(fixed, 1.0)
    ordered = sorted(points, key=lambda p: (p.address, p.registers))

    def legal(group: list[PointSpec]) -> bool:
        start, end = group[0].address, max(p.address + p.registers for p in group)
        same = len({(p.address, p.registers) for p in group}) == 1
        return same or (end - start <= limit and not any(i.crossed(start, end) for i in illegal))

    def price(group: list[PointSpec]) -> float:
        return fixed + 2.0 * (max(p.address + p.registers for p in group) - group[0].address)

    best = [0.0] + [float("inf")] * len(ordered)
    for i in range(1, len(ordered) + 1):
        for j in range(i):
            if legal(ordered[j:i]):
                best[i] = min(best[i], best[j] + price(ordered[j:i]))
    groups = join(points, limit, illegal, cost)
    assert sorted(p.tag.name for g in groups for p in g) == sorted(p.tag.name for p in points)
    assert all(legal(g) for g in groups)
    inside = any(i.holds(p.address, p.address + p.registers) for i in illegal for p in points)
    if not inside:
        assert sum(map(price, groups)) == pytest.approx(best[-1])


@pytest.mark.no_cover
@given(any_device(), st.randoms(use_true_random=False))
def test_a_plan_reads_every_tag_as_struct_would(spec, dice) -> None:  # type: ignore[no-untyped-def]
    """Whatever stands in the device, each tag is what struct makes of its own registers."""
    codes = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
    store = {t: {} for t in ("coil", "discrete", "input", "holding")}  # type: ignore[var-annotated]

    def word(table: str, address: int) -> int:
        return store[table].setdefault(address, dice.randrange(2 if table in ("coil", "discrete") else 65536))

    seen = 0
    for s in plan_device(spec):
        words = [word(s.span.table, s.span.address + i) for i in range(s.span.count)]
        for p, sample in zip(s.points, SpanDecoder(s).block(0, np.array(words, np.uint16)).samples(), strict=True):
            own = [word(s.span.table, p.address + i) for i in range(p.registers)]
            if p.type == "bool":
                assert sample.value == bool(own[0])
            elif p.type in codes:
                assert sample.value == struct.unpack(">" + codes[p.type], struct.pack(f">{len(own)}H", *own))[0]
            elif p.type != "string" and sample.value is not None:
                code = "f" if p.type == "float32" else "d"
                assert sample.value == struct.unpack(">" + code, struct.pack(f">{len(own)}H", *own))[0]
            seen += 1
    assert seen == len(spec.points)


@pytest.mark.no_cover
def test_ten_thousand_scattered_registers_are_planned_with_work_in_proportion_to_them() -> None:
    def scattered(tags: int) -> DeviceSpec:
        return device(*(point(f"t{i}", address=i * 5 + i % 3) for i in range(tags)))

    assert len(plan_device(scattered(10_000))) < 500
    few, many = scattered(300), scattered(3_000)
    assert calls_made(lambda: plan_device(many)) < 11 * calls_made(lambda: plan_device(few)) < 11 * 300 * 300


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (point("a", None), "needs a table"),
        (point("a", period_s=0.0), "period_s must be greater"),
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
    listed = device(point("a", address=4, raw="uint32"), illegal=(Illegal("holding", 5, 9),), max_bits=0)
    with pytest.raises(ConfigError, match="holding 5-8, which the device lists as illegal"):
        plan_device(listed)
    with pytest.raises(ConfigError, match="max_bits must be"):
        plan_device(listed)
    with pytest.raises(ConfigError, match="has no tags"):
        plan_device(device())


def text_device(pattern: str = r"A(?P<a>\d+)", **rest):  # type: ignore[no-untyped-def]
    return device(point("a", None, field="a"), frame=FrameSpec(pattern, **rest))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (device(point("a", None, field="a")), "needs a frame"),
        (text_device("A(?P<b>x)"), "has no field 'a'"),
        (text_device("A("), "not a regular expression"),
        (text_device(delimiter=""), "delimiter is empty"),
    ],
)
def test_an_impossible_frame_is_named(bad, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words):
        check_line(LineSpec("road", "serial-text", port="/dev/null", devices=(bad,)))


def test_a_line_is_checked_with_all_its_devices() -> None:
    rtu = LineSpec("bus", "modbus-rtu", port=5, baud=7, timeout_s=0.0, devices=(device(point("a", None)),))
    with pytest.raises(ConfigError) as caught:
        check_line(rtu)
    for words in ("7 baud", "path of its port", "timeout_s", "needs a table"):
        assert words in str(caught.value)
    two = (text_device(), replace(text_device(delimiter=";"), id="dev"))
    with pytest.raises(ConfigError, match="share delimiter"):
        check_line(LineSpec("road", "serial-text", port="/dev/null", devices=two))
    with pytest.raises(ConfigError, match="no devices"):
        check_line(LineSpec("empty", "modbus-tcp"))
    check_line(LineSpec("plc", "modbus-tcp", devices=(device(point("a")),)))
