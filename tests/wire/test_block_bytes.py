"""A Block encoded by columns gives the bytes that its samples give one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.block import Block, Quality, Reason, Sample, Value
from wire.block_bytes import BlockBytes, TableBytes
from wire.delivery import sample_bytes
from wire.payload import INTEGERS, Payload, data_metrics, decode, encode
from wire.tag import Datatype, Tag, TagTable

NOW = 1_790_000_000_000
REASONS = [r for r in Reason if r is not Reason.NONE]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[TagTable, dict[str, int], list[Block]]:
    datatypes = draw(st.lists(st.sampled_from(list(Datatype)), min_size=1, max_size=12))
    names = draw(
        st.lists(st.text(min_size=1, max_size=9), min_size=len(datatypes), max_size=len(datatypes), unique=True)
    )
    table = TagTable([Tag(n, "d", t) for n, t in zip(names, datatypes, strict=True)])
    numbers = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**21, 2**28, 2**32 - 1, 2**40])
    aliases = dict(zip(names, draw(st.lists(numbers, min_size=len(names), max_size=len(names))), strict=True))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        ts_ms = draw(st.sampled_from([NOW, NOW + 1, 0, (1 << 35) - 1, 1 << 35, (1 << 42) - 1, 1 << 42]))
        values, quality, reason = np.full(len(table), np.nan), np.zeros(len(table), np.uint8), []
        others: dict[int, bool | int | str] = {}
        for i, tag in enumerate(table):
            state = draw(st.sampled_from([Quality.GOOD, Quality.GOOD, Quality.BAD, Quality.UNCERTAIN]))
            quality[i] = state
            reason.append(Reason.NONE if state is Quality.GOOD else draw(st.sampled_from(REASONS)))
            if state is Quality.BAD:
                continue
            value = draw(value_of(tag.datatype))
            if tag.datatype.in_float64:
                values[i] = value
            else:
                assert not isinstance(value, float)
                others[i] = value
        found.append(Block(ts_ms, table, values, quality, np.array(reason, np.uint8), others))
    return table, aliases, found


def value_of(datatype: Datatype) -> st.SearchStrategy[Value]:
    if datatype is Datatype.BOOLEAN:
        return st.booleans()
    if datatype in (Datatype.STRING, Datatype.TEXT):
        return st.text(max_size=20)
    if datatype is Datatype.FLOAT:
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    if datatype is Datatype.DOUBLE:
        return st.floats(allow_nan=False, allow_infinity=False)
    if datatype in INTEGERS:
        low, high = INTEGERS[datatype]
        return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0, min(127, high), min(128, high)]))
    return st.integers(-(1 << 63) if datatype is Datatype.INT64 else 0, (1 << 63) - 1)


@pytest.mark.no_cover
@given(blocks())
@settings(max_examples=300)
def test_columns_give_the_bytes_that_samples_give(given: tuple[TagTable, dict[str, int], list[Block]]) -> None:
    table, aliases, found = given
    kept, form = TableBytes(table, aliases), BlockBytes(table, aliases)
    for block in found:
        body, digested, left = form.of(block)
        assert [*kept.of(block)[:2], [*kept.of(block).left]] == [body, digested, [*left]]
        samples = list(block.samples())
        taken = [s for i, s in enumerate(samples) if i not in left]
        in_order = sorted(taken, key=lambda s: (s.quality is Quality.BAD, s.reason))
        assert body == encode(Payload(metrics=data_metrics(in_order, aliases)))
        assert digested == b"".join(map(sample_bytes, in_order))
        assert len(left) == len(set(left))


@given(blocks())
def test_only_what_has_no_shape_is_left(given: tuple[TagTable, dict[str, int], list[Block]]) -> None:
    table, aliases, found = given
    form = BlockBytes(table, aliases)
    for block in found:
        shaped = [
            i
            for i, sample in enumerate(block.samples())
            if sample.quality is Quality.BAD
            or (sample.quality is Quality.GOOD and (sample.datatype.in_float64 or sample.datatype is Datatype.BOOLEAN))
        ]
        expected = set(range(len(table))) - set(shaped) if 1 << 35 <= block.ts_ms < 1 << 42 else set(range(len(table)))
        assert set(form.of(block).left) == expected


def test_a_value_that_its_datatype_cannot_hold_is_left() -> None:
    table = TagTable([Tag("a", "d", Datatype.FLOAT), Tag("b", "d", Datatype.UINT8), Tag("c", "d", Datatype.INT16)])
    good = np.full(3, Quality.GOOD, np.uint8)
    form = BlockBytes(table, {"a": 1, "b": 2, "c": 3})
    huge = Block(NOW, table, np.array([1e39, 256.0, -32769.0]), good, np.zeros(3, np.uint8))
    assert form.of(huge).left == [0, 1, 2]
    assert form.of(huge).body == form.of(huge).digested == b""
    fits = Block(NOW, table, np.array([3e38, 255.0, -32768.0]), good, np.zeros(3, np.uint8))
    metrics = decode(form.of(fits).body, {1: Datatype.FLOAT, 2: Datatype.UINT8, 3: Datatype.INT16}).metrics
    assert [m.value for m in metrics][1:] == [255, -32768]
    assert isinstance(metrics[0].value, float) and math.isclose(metrics[0].value, 3e38, rel_tol=1e-6)


def test_a_form_can_be_used_for_blocks_of_any_stamp_again_and_again() -> None:
    table = TagTable([Tag("a", "d", Datatype.UINT32), Tag("b", "d", Datatype.BOOLEAN)])
    form = TableBytes(table, {"a": 300, "b": 5})
    for ts_ms, number, flag in [(NOW, 5, True), (NOW + 1, 4_000_000_000, False), (NOW + 2, 0, True)]:
        block = Block(
            ts_ms, table, np.array([number, np.nan]), np.full(2, 192, np.uint8), np.zeros(2, np.uint8), {1: flag}
        )
        samples = [
            Sample(t.name, t.datatype, ts_ms, Quality.GOOD, v) for t, v in zip(table, (number, flag), strict=True)
        ]
        assert form.of(block).body == encode(Payload(metrics=data_metrics(samples, {"a": 300, "b": 5})))


def test_a_table_of_numbers_without_integers_takes_the_quick_way_and_gives_the_same() -> None:
    table = TagTable([Tag("a", "d", Datatype.FLOAT), Tag("b", "d", Datatype.BOOLEAN), Tag("c", "d", Datatype.DOUBLE)])
    aliases = {"a": 1, "b": 200, "c": 70_000}
    kept, form = TableBytes(table, aliases), BlockBytes(table, aliases)
    good, fine = np.full(3, 192, np.uint8), np.zeros(3, np.uint8)
    for value in (0.5, -1e30, 1e39, math.inf, math.nan):
        block = Block(NOW, table, np.array([value, np.nan, value]), good, fine, {1: True})
        assert [*kept.of(block)[:2], [*kept.of(block).left]] == [*form.of(block)[:2], [*form.of(block).left]]
    assert kept.of(Block(NOW, table, np.array([1.5, np.nan, 2.5]), good, fine, {1: False})).left == ()
