"""Batch keys, digests and confirmations: what is believed, and what is not."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import samples
from wire.block import Quality, Sample
from wire.delivery import (
    BatchTag,
    Confirmation,
    ConfirmedRange,
    batch_digest,
    check_confirmation,
    confirmation_json,
    confirmed_ranges,
    digest_of_digests,
    parse_batch_tag,
    parse_confirmation,
)
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw")
DIGESTS = st.dictionaries(st.integers(0, 60), st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=30)


@given(st.lists(samples(), max_size=5), st.integers(0, 2**40))
def test_a_digest_is_the_same_for_the_same_samples(batch: list[Sample], number: int) -> None:
    first = batch_digest(NODE, "pump", "e1", number, batch)
    assert first == batch_digest(NODE, "pump", "e1", number, list(batch))
    assert len(first) == 32


@given(samples(), st.data())
def test_a_digest_changes_with_everything_that_it_covers(sample: Sample, data: st.DataObject) -> None:
    other = data.draw(
        st.sampled_from(
            [
                sample._replace(name=sample.name + "x"),
                sample._replace(ts_ms=sample.ts_ms + 1),
                sample._replace(quality=Quality.GOOD if sample.quality is not Quality.GOOD else Quality.UNCERTAIN),
            ]
        )
    )
    base = batch_digest(NODE, "d", "e", 1, [sample])
    assert base != batch_digest(NODE, "d", "e", 1, [other])
    assert base != batch_digest(NODE, "d", "e", 2, [sample])
    assert base != batch_digest(NODE, "d", "f", 1, [sample])
    assert base != batch_digest(NODE, "c", "e", 1, [sample])
    assert base != batch_digest(NodeId("plant", "gx"), "d", "e", 1, [sample])


def test_a_value_under_another_alias_changes_the_digest() -> None:
    a = Sample("flow", Datatype.DOUBLE, 1, Quality.GOOD, 1.5)
    b = Sample("flow", Datatype.DOUBLE, 1, Quality.GOOD, 1.5000000000000002)
    assert batch_digest(NODE, "d", "e", 1, [a]) != batch_digest(NODE, "d", "e", 1, [b])


def test_names_cannot_be_shifted_between_fields() -> None:
    assert batch_digest(NodeId("ab", "c"), "d", "e", 1, []) != batch_digest(NodeId("a", "bc"), "d", "e", 1, [])


def test_the_batch_tag_reads_as_it_was_written() -> None:
    tag = BatchTag("k3f9", 17, 240, "ab" * 16)
    assert parse_batch_tag(str(tag)) == tag


@pytest.mark.parametrize(
    "text", ["", "e:1:2", "e:x:2:" + "ab" * 16, ":1:2:" + "ab" * 16, "e:1:2:short", "e:-1:2:" + "ab" * 16]
)
def test_a_broken_batch_tag_is_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        parse_batch_tag(text)


@given(DIGESTS)
def test_ranges_cover_exactly_the_numbers_given(digests: dict[int, str]) -> None:
    ranges = confirmed_ranges(digests)
    assert [n for r in ranges for n in range(r.first, r.last + 1)] == sorted(digests)
    assert all(b.first > a.last + 1 for a, b in itertools.pairwise(ranges))


@given(DIGESTS)
def test_a_confirmation_of_what_was_published_is_believed_whole(digests: dict[int, str]) -> None:
    text = confirmation_json(Confirmation("host", "e1", confirmed_ranges(digests)))
    numbers, refused = check_confirmation(parse_confirmation(text), digests)
    assert (numbers, refused) == (sorted(digests), 0)


@given(DIGESTS.filter(bool), st.data())
def test_a_confirmation_with_one_wrong_digest_confirms_nothing_of_that_range(
    digests: dict[int, str], data: st.DataObject
) -> None:
    victim = data.draw(st.sampled_from(sorted(digests)))
    seen_by_host = {**digests, victim: digest_of_digests([digests[victim]])}
    numbers, refused = check_confirmation(Confirmation("host", "e1", confirmed_ranges(seen_by_host)), digests)
    assert victim not in numbers
    assert refused == 1


def test_a_confirmation_of_numbers_never_published_is_not_believed() -> None:
    forged = Confirmation("host", "e1", (ConfirmedRange(0, 10**12, "00" * 16), ConfirmedRange(5, 5, "00" * 16)))
    assert check_confirmation(forged, {1: "11" * 16}) == ([], 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"host":"h","epoch":"e","ranges":[[1]]}',
        '{"host":"h","epoch":"e","ranges":[[2,1,"aa"]]}',
        json.dumps({"host": "h", "epoch": "e", "ranges": 5}),
        "[" * 100_000,
        '{"host":"h","epoch":"e","ranges":[[1,Infinity,"aa"]]}',
        '{"host":"h","epoch":"e","ranges":[[NaN,1,"aa"]]}',
    ],
)
def test_a_broken_confirmation_is_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        parse_confirmation(text)
