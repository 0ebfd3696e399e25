"""Payloads within payloads: smaller, the same when unpacked, and no way to fill the host's memory."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import sparkplug_pb2 as pb
from wire.compressed import LARGEST_BYTES, UUID, compressed
from wire.errors import PayloadError
from wire.payload import Metric, Payload, decode, encode
from wire.tag import Datatype

FLOAT = {1: Datatype.FLOAT, 2: Datatype.FLOAT}
METRICS = tuple(Metric(alias=a, ts_ms=1_790_000_000_000, datatype=Datatype.FLOAT, value=2.5) for a in (1, 2))


def within(body: bytes, **fields: int) -> bytes:
    return pb.Payload(uuid=UUID, body=body, **fields).SerializeToString()


def test_what_comes_out_is_what_went_in_with_stamp_and_seq_of_the_outside() -> None:
    data = compressed(encode(Payload(metrics=METRICS)), 1_790_000_000_123, 17)
    assert decode(data, FLOAT) == Payload(1_790_000_000_123, 17, METRICS)
    assert pb.Payload.FromString(data).seq == 17


def test_a_hundred_values_take_less_than_half() -> None:
    metrics = tuple(
        Metric(alias=500 + i, ts_ms=1_790_000_000_000, datatype=Datatype.FLOAT, value=i * 0.37) for i in range(100)
    )
    body = encode(Payload(metrics=metrics))
    assert len(compressed(body, 1_790_000_000_000, 0)) < len(body) / 2


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_deflate_and_gzip_of_other_nodes_are_unpacked_with_the_seq_inside(pack: type) -> None:
    inner = encode(Payload(5, 9, METRICS))
    assert decode(within(pack(inner)), FLOAT) == Payload(5, 9, METRICS)


def test_a_few_bytes_that_stand_for_gigabytes_are_refused() -> None:
    with pytest.raises(PayloadError, match=f"more than {LARGEST_BYTES}"):
        decode(within(zlib.compress(b"\0" * (LARGEST_BYTES + 1))))


@pytest.mark.parametrize("body", [b"", b"no zlib", zlib.compress(b"abc" * 100)[:-5]])
def test_what_cannot_be_unpacked_says_so(body: bytes) -> None:
    with pytest.raises(PayloadError, match="compressed payload"):
        decode(within(body))


@given(st.binary(max_size=200))
def test_any_bytes_within_give_a_payload_or_a_payload_error(content: bytes) -> None:
    try:
        decode(within(zlib.compress(content)))
    except PayloadError:
        return
