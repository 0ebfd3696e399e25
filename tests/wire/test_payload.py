"""Sparkplug payloads: round trips, the foreign witness, and what is refused."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import samples
from wire.block import Quality, Reason, Sample
from wire.body import as_historical, stamped
from wire.errors import PayloadError
from wire.payload import Metric, Other, Payload, data_metrics, decode, encode
from wire.tag import Datatype


def decode_raw(data: bytes) -> str:
    """What protoc makes of the bytes without any schema: a witness that is not ours."""
    command = [sys.executable, "-m", "grpc_tools.protoc", "--decode_raw"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()


@given(st.lists(samples(), max_size=8, unique_by=lambda s: s.name))
def test_data_comes_back_as_it_went(given_samples: list[Sample]) -> None:
    aliases = {s.name: i for i, s in enumerate(given_samples, 1)}
    names = {alias: name for name, alias in aliases.items()}
    datatypes = {aliases[s.name]: s.datatype for s in given_samples}
    body = encode(Payload(metrics=data_metrics(given_samples, aliases)))
    back = decode(stamped(body, 1_700_000_000_000, 255), datatypes)
    assert (back.ts_ms, back.seq) == (1_700_000_000_000, 255)
    found = [Sample(names[m.alias or 0], m.datatype, m.ts_ms, m.quality, m.value, m.reason) for m in back.metrics]
    assert found == given_samples


@given(st.lists(samples(), min_size=1, max_size=8, unique_by=lambda s: s.name))
def test_a_backlog_differs_from_live_data_only_in_the_historical_flag(given_samples: list[Sample]) -> None:
    aliases = {s.name: i for i, s in enumerate(given_samples, 1)}
    datatypes = {aliases[s.name]: s.datatype for s in given_samples}
    body = encode(Payload(metrics=data_metrics(given_samples, aliases)))
    live, late = decode(body, datatypes), decode(as_historical(body), datatypes)
    assert not any(m.historical for m in live.metrics)
    assert all(m.historical for m in late.metrics)
    assert [(m.alias, m.ts_ms, m.value, m.quality) for m in late.metrics] == [
        (m.alias, m.ts_ms, m.value, m.quality) for m in live.metrics
    ]


def test_field_numbers_are_those_of_the_specification() -> None:
    payload = Payload(
        ts_ms=1,
        seq=2,
        metrics=(
            Metric(name="t", alias=3, ts_ms=4, datatype=Datatype.DOUBLE, value=1.5, properties={"engUnit": "bar"}),
            Metric(alias=5, datatype=Datatype.INT16, value=-1, historical=True),
            Metric(alias=6, quality=Quality.BAD, reason=Reason.TIMEOUT),
        ),
    )
    seen = decode_raw(encode(payload)).split()
    text = " ".join(seen)
    assert text.startswith(
        '1: 1 2 { 1: "t" 2: 3 3: 4 4: 10 9 { 1: "engUnit" 2 { 1: 12 8: "bar" } } 13: 0x3ff8000000000000 }'
    )
    assert "2 { 2: 5 5: 1 10: 4294967295 }" in text  # Int16 -1 in int_value, masked to 32 bits
    assert '2 { 2: 6 7: 1 9 { 1: "Quality" 1: "Reason" 2 { 1: 3 3: 0 } 2 { 1: 12 8: "TIMEOUT" } } }' in text
    assert text.endswith("3: 2")


@pytest.mark.parametrize(
    ("raw", "datatype", "value"), [(0xFFFF, 2, -1), (0xFFFFFFFF, 2, -1), (0x80, 1, -128), (5, 3, 5)]
)
def test_negative_integers_of_either_custom_are_understood(raw: int, datatype: int, value: int) -> None:
    from wire import sparkplug_pb2 as pb

    message = pb.Payload()
    metric = message.metrics.add(name="a", datatype=datatype, int_value=raw)
    assert metric.HasField("int_value")
    assert decode(message.SerializeToString()).metrics[0].value == value


def test_an_unsigned_number_of_32_bits_is_read_from_either_field() -> None:
    from wire import sparkplug_pb2 as pb

    for field, value in (("int_value", 4_000_000_000), ("long_value", 4_000_000_000)):
        message = pb.Payload()
        setattr(message.metrics.add(name="a", datatype=Datatype.UINT32), field, value)
        assert decode(message.SerializeToString()).metrics[0].value == value
    too_large = pb.Payload()
    too_large.metrics.add(name="a", datatype=Datatype.UINT32).long_value = 2**32
    with pytest.raises(PayloadError, match="needs int_value"):
        decode(too_large.SerializeToString())


def test_qualities_are_only_those_that_sparkplug_knows() -> None:
    def quality_of(code: int) -> Metric:
        body = encode(
            Payload(metrics=(Metric(name="a", datatype=Datatype.INT32, value=1, properties={"Quality": code}),))
        )
        return decode(body).metrics[0]

    assert quality_of(192).quality is Quality.GOOD
    assert quality_of(0).quality is Quality.BAD
    assert (quality_of(500).quality, quality_of(500).reason) == (Quality.BAD, Reason.STALE)
    with pytest.raises(PayloadError, match="none of 0, 192, 500"):
        quality_of(64)


def test_a_null_without_quality_is_bad() -> None:
    assert (
        decode(encode(Payload(metrics=(Metric(name="a", datatype=Datatype.INT32),)))).metrics[0].quality is Quality.BAD
    )


def test_what_does_not_fit_a_float_is_refused_and_not_rounded_to_infinity() -> None:
    with pytest.raises(PayloadError, match="Float"):
        encode(Payload(metrics=(Metric(name="a", datatype=Datatype.FLOAT, value=1e39),)))
    with pytest.raises(PayloadError, match="no datatype"):
        encode(Payload(metrics=(Metric(name="a", value=1.0),)))


def test_datatypes_that_we_do_not_speak_stand_beside_the_metrics_and_are_named() -> None:
    from wire import sparkplug_pb2 as pb

    raw = pb.Payload()
    raw.metrics.add(name="model", datatype=19)
    raw.metrics.add(alias=4, datatype=15, string_value="123e4567")
    raw.metrics.add(name="flow", datatype=9, float_value=1.5)
    found = decode(raw.SerializeToString())
    assert found.others == (Other("model", None, "Template"), Other(None, 4, "UUID"))
    assert [(m.name, m.value) for m in found.metrics] == [("flow", 1.5)]


def test_an_alias_that_was_never_born_keeps_no_value() -> None:
    body = encode(Payload(metrics=(Metric(alias=9, datatype=Datatype.INT32, value=1),)))
    metric = decode(body, {}).metrics[0]
    assert (metric.datatype, metric.value, metric.alias) == (None, None, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datatype": 99}, "not supported"),
        ({"datatype": 10}, "needs double_value"),
        ({"datatype": 3, "keys": ["a", "b"]}, "unequal numbers"),
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    from wire import sparkplug_pb2 as pb

    raw = pb.Payload()
    metric = raw.metrics.add(name="a", datatype=change["datatype"], int_value=1)
    metric.properties.keys.extend(change.get("keys", []))
    with pytest.raises(PayloadError, match=message):
        decode(raw.SerializeToString())


@given(st.binary(max_size=200))
def test_garbage_is_a_payload_error_and_never_anything_else(data: bytes) -> None:
    with contextlib.suppress(PayloadError):
        assert isinstance(decode(data), Payload)


def test_a_float_travels_as_four_bytes() -> None:
    body = encode(Payload(metrics=(Metric(alias=1, datatype=Datatype.FLOAT, value=0.1),)))
    assert struct.pack("<f", 0.1) in body
