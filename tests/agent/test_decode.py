"""Decoding: what struct packs, in whatever order, comes back; what cannot be a value is BAD with its reason."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decode import SpanDecoder
from agent.plan import plan_device
from agent.spec import PointSpec
from tests.agent.points import device, point
from wire.block import Block, Quality, Reason
from wire.errors import ConfigError, DeviceGarbled
from wire.tag import Datatype

CODES = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def on_the_wire(raw: str, order: str, value: Any) -> list[int]:
    """The registers that a device with this order sends; written with bytes only."""
    data = struct.pack(">" + CODES[raw], value)
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    return [int.from_bytes(pair, "big") for pair in pairs]


def decoded(points: list[PointSpec], memory: dict[int, int]) -> Block:
    (planned,) = plan_device(device(*points))
    words = [memory.get(planned.span.address + i, 0) for i in range(planned.span.count)]
    return SpanDecoder(planned).block(5, np.array(words, np.uint16))


def one(p: PointSpec, words: list[int]) -> tuple[Any, Quality, Reason]:
    sample = next(iter(decoded([p], dict(enumerate(words))).samples()))
    return sample.value, sample.quality, sample.reason


def numbers(raw: str) -> st.SearchStrategy[Any]:
    if raw.startswith("float"):
        return st.floats(width=32 if raw == "float32" else 64, allow_nan=False, allow_infinity=False)
    bits = int(raw.lstrip("uint"))
    return st.integers(0, 2**bits - 1) if raw[0] == "u" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


typed = st.sampled_from(sorted(CODES)).flatmap(
    lambda raw: st.tuples(st.just(raw), st.sampled_from(ORDERS), numbers(raw))
)


@given(st.lists(typed, min_size=1, max_size=20))
def test_every_type_in_every_order_comes_back_as_struct_packed_it(values: list[tuple[str, str, Any]]) -> None:
    points, memory, address = [], {}, 100
    for i, (raw, order, value) in enumerate(values):
        points.append(point(f"t{i}", "input", address, raw, order=order))
        for word in on_the_wire(raw, order, value):
            memory[address] = word
            address += 1
    found = {s.name: s for s in decoded(points, memory).samples()}
    for i, (_, _, value) in enumerate(values):
        assert found[f"t{i}"] == (f"t{i}", points[i].tag.datatype, 5, Quality.GOOD, value, Reason.NONE)
        assert type(found[f"t{i}"].value) is type(value)


@given(st.integers(0, 65535), st.integers(0, 15))
def test_a_bit_of_a_register(word: int, number: int) -> None:
    assert one(point("a", raw="bool", bit=number), [word]) == (bool(word >> number & 1), Quality.GOOD, Reason.NONE)


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_bits_of_a_bit_table(bits: list[bool]) -> None:
    points = [point(f"b{i}", "coil", i, "bool") for i in range(len(bits))]
    (planned,) = plan_device(device(*points))
    block = SpanDecoder(planned).block(0, np.array(bits, np.uint16))
    assert [s.value for s in block.samples()] == bits


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8), st.sampled_from(ORDERS))
def test_strings_end_at_nul_or_padding(text: str, order: str) -> None:
    data = text.encode().ljust(8, b"\0")
    pairs = [data[i : i + 2] for i in range(0, 8, 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    if order in ("BADC", "DCBA"):
        pairs = [p[::-1] for p in pairs]
    words = [int.from_bytes(p, "big") for p in pairs]
    assert one(point("a", raw="string", length=8, order=order), words)[0] == text


def test_bytes_that_are_no_text_are_bad() -> None:
    assert one(point("a", raw="string", length=2), [0xFFFE]) == (None, Quality.BAD, Reason.UNPARSED)


@pytest.mark.parametrize(
    ("p", "words", "wanted"),
    [
        (point("a", scale=0.01), [2503], float(np.float32(25.03))),
        (point("a", raw="int16", scale=-0.5, offset=10.0), [0xFFFE], 11.0),
        (point("a", raw="uint32", scale=0.1), [0, 12345], 1234.5),  # not 1234.5000000000002
        (point("a", raw="uint64", scale=0.001), [0, 0, 1, 0], 65.536),
        (point("a", raw="float32", scale=0.1), [0x3F80, 0], float(np.float32(0.1))),
    ],
)
def test_scaled_values(p: PointSpec, words: list[int], wanted: float) -> None:
    assert one(p, words) == (wanted, Quality.GOOD, Reason.NONE)


NAN32, INF32, BIG32 = [0x7FC0, 0], [0x7F80, 0], [0x7F7F, 0xFFFF]


@pytest.mark.parametrize(
    ("p", "words", "reason"),
    [
        (point("a", raw="float32"), NAN32, Reason.NOT_A_NUMBER),
        (point("a", raw="float32"), INF32, Reason.NOT_A_NUMBER),
        (point("a", raw="float32", scale=10.0), BIG32, Reason.OUT_OF_RANGE),
        (point("a", raw="float64", scale=10.0), [0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF], Reason.OUT_OF_RANGE),
        (point("a", raw="int16", invalid=(0x8000,)), [0x8000], Reason.INVALID_MARKER),
        (point("a", raw="int16", invalid=(-32768,)), [0x8000], Reason.INVALID_MARKER),
        (point("a", raw="uint32", order="CDAB", invalid=(0xFFFF0000,)), [0, 0xFFFF], Reason.INVALID_MARKER),
        (point("a", raw="float32", invalid=(-9999.0,)), on_the_wire("float32", "ABCD", -9999.0), Reason.INVALID_MARKER),
        (point("a", raw="int64", invalid=(-1,)), [0xFFFF] * 4, Reason.INVALID_MARKER),
        (point("a", low=10.0), [9], Reason.OUT_OF_RANGE),
        (point("a", high=10.0), [11], Reason.OUT_OF_RANGE),
        (point("a", raw="uint64", high=2.0**60), [0xFFFF] * 4, Reason.OUT_OF_RANGE),
        (point("a", raw="int64", low=0.0), [0xFFFF] * 4, Reason.OUT_OF_RANGE),
    ],
)
def test_what_is_no_value_is_bad_with_its_reason(p: PointSpec, words: list[int], reason: Reason) -> None:
    assert one(p, words) == (None, Quality.BAD, reason)


def test_the_ends_of_a_range_are_allowed() -> None:
    assert one(point("a", scale=0.1, low=0.1, high=0.3), [3])[1] is Quality.GOOD
    assert one(point("a", scale=0.1, low=0.1, high=0.3), [1])[1] is Quality.GOOD


def test_one_bad_value_leaves_its_neighbours_alone() -> None:
    points = [point("good", address=0), point("bad", address=1, invalid=(7,)), point("big", address=2, raw="uint64")]
    block = decoded(points, {0: 5, 1: 7, 5: 9})
    assert [s.value for s in block.samples()] == [5, None, 9]
    assert math.isnan(block.values[1]) and math.isnan(block.values[2])


def test_an_answer_of_another_length_is_garbled() -> None:
    (planned,) = plan_device(device(point("a"), point("b", address=1)))
    with pytest.raises(DeviceGarbled, match="1 words answered, 2 asked"):
        SpanDecoder(planned).block(0, np.zeros(1, np.uint16))


@given(st.integers(0, 99_999_999), st.sampled_from(ORDERS))
def test_bcd_of_every_order(number: int, order: str) -> None:
    pattern = int(str(number), 16)
    assert one(point("a", raw="bcd32", order=order), on_the_wire("uint32", order, pattern))[0] == number
    low = number % 10_000
    words = on_the_wire("uint16", order, int(str(low), 16))
    assert one(point("a", raw="bcd16", order=order), words) == (low, Quality.GOOD, Reason.NONE)


@given(st.integers(0, 2**32 - 1))
def test_a_bcd_digit_above_nine_is_bad_and_only_that_one(pattern: int) -> None:
    digits = f"{pattern:08X}"
    bad = any(d in "ABCDEF" for d in digits)
    points = [point("a", raw="bcd32", order="CDAB", scale=0.1), point("b", address=2)]
    words = on_the_wire("uint32", "CDAB", pattern)
    found = {s.name: s for s in decoded(points, {0: words[0], 1: words[1], 2: 7}).samples()}
    assert found["b"].value == 7
    if bad:
        assert found["a"][3:] == (Quality.BAD, None, Reason.NOT_A_NUMBER)
    else:
        assert found["a"].value == pytest.approx(int(digits) / 10)
    marked = point("a", raw="bcd32", order="CDAB", invalid=(0xFFFFFFFF,))
    assert one(marked, [0xFFFF, 0xFFFF])[2] is Reason.INVALID_MARKER


def test_any_nan_is_the_marker_where_nan_is_one() -> None:
    p = point("a", raw="float32", order="DCBA", invalid=(math.nan, -1.0))
    for pattern in (0x7FC00000, 0x7FFFFFFF, 0xFFC00001):
        assert one(p, on_the_wire("uint32", "DCBA", pattern)) == (None, Quality.BAD, Reason.INVALID_MARKER)
    assert one(p, on_the_wire("float32", "DCBA", -1.0))[2] is Reason.INVALID_MARKER
    assert one(p, on_the_wire("float32", "DCBA", 2.0))[0] == 2.0


def test_named_states_and_bits() -> None:
    mode = point("mode", raw="int16", states=((-1, "fault"), (0, "stopped"), (7, "running")), datatype=Datatype.STRING)
    for word, wanted in ((0xFFFF, "fault"), (0, "stopped"), (7, "running")):
        assert one(mode, [word]) == (wanted, Quality.GOOD, Reason.NONE)
    assert one(mode, [3]) == (None, Quality.BAD, Reason.OUT_OF_RANGE)
    names = ((0, "pump_on"), (4, "hot"), (31, "test"))
    status = point("s", raw="uint32", order="CDAB", bit_names=names, invalid=(0xFFFFFFFF,), datatype=Datatype.STRING)
    assert one(status, on_the_wire("uint32", "CDAB", 1 << 31 | 0b10001))[0] == "pump_on, hot, test"
    assert one(status, [0, 0])[0] == "", "no bit is set: that is a value"
    assert one(status, [0xFFFF, 0xFFFF])[2] is Reason.INVALID_MARKER
    with pytest.raises(ConfigError, match="whole numbers"):
        plan_device(device(point("a", raw="float32", states=((1, "x"),), datatype=Datatype.STRING)))
