"""Text lines: named groups become values; a field that is no number is BAD alone."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decode_frame import FrameDecoder, frame_decoder
from agent.frame_spec import BinarySpec, FrameSpec
from agent.frames import frame_tables
from agent.spec import DeviceSpec
from tests.agent.points import device, point
from wire.block import Quality, Reason

ROAD = device(
    point("occupancy", None, raw="float32", field="occ"),
    point("speed", None, raw="float32", field="spd", unit="[mi_i]/h", low=0.0, high=150.0),
    point("flow", None, raw="uint16", field="vol"),
    frame=FrameSpec(r"L(?P<lane>\d) OCC=(?P<occ>\S+) SPD=(?P<spd>\S+)(?: VOL=(?P<vol>\S+))?$"),
)


def decoder_of(spec: DeviceSpec) -> FrameDecoder:
    assert spec.frame is not None
    (table,) = frame_tables(spec, "serial-text")
    return frame_decoder(spec.frame, table)


def test_a_line_of_the_road_detector() -> None:
    block = decoder_of(ROAD).block(9, "L1 OCC=013.5 SPD=058.0 VOL=00840")
    assert [(s.name, s.value, s.ts_ms) for s in block.samples()] == [
        ("occupancy", 13.5, 9),
        ("speed", 58.0, 9),
        ("flow", 840, 9),
    ]


def test_bad_fields_do_not_spoil_the_others() -> None:
    block = decoder_of(ROAD).block(9, "L1 OCC=1_3.5 SPD=200.0")
    assert [(s.value, s.reason) for s in block.samples()] == [
        (None, Reason.UNPARSED),
        (None, Reason.OUT_OF_RANGE),
        (None, Reason.UNPARSED),
    ]


def test_a_line_that_does_not_fit_is_bad_as_a_whole() -> None:
    decoder = decoder_of(ROAD)
    assert decoder.fits("L1 OCC=1 SPD=2") and not decoder.fits("x L1 OCC=1 SPD=2")
    assert {s.reason for s in decoder.block(9, "garbage").samples()} == {Reason.UNPARSED}


@pytest.mark.parametrize(
    ("raw", "rest", "word", "wanted"),
    [
        ("bool", {}, "ON", True),
        ("bool", {}, "0", False),
        ("bool", {}, "maybe", Reason.UNPARSED),
        ("string", {"length": 4}, "ABCD", "ABCD"),
        ("string", {"length": 3}, "ABCD", Reason.OUT_OF_RANGE),
        ("int16", {}, "-32768", -32768),
        ("int16", {}, "32768", Reason.OUT_OF_RANGE),
        ("uint64", {}, "18446744073709551615", 2**64 - 1),
        ("uint16", {}, "12.5", Reason.UNPARSED),
        ("uint16", {"scale": 0.5}, "5", 2.5),
        ("float32", {"invalid": ("----",)}, "----", Reason.INVALID_MARKER),
        ("float32", {"invalid": (999.9,)}, "999.9", Reason.INVALID_MARKER),
        ("float64", {}, "nan", Reason.NOT_A_NUMBER),
        ("float64", {}, "1e400", Reason.NOT_A_NUMBER),
        ("float32", {}, "1e39", Reason.OUT_OF_RANGE),
        ("int64", {"scale": 0.1}, "25", 2.5),
    ],
)
def test_fields_of_every_type(raw: str, rest: dict[str, Any], word: str, wanted: Any) -> None:
    spec = device(point("a", None, raw=raw, field="a", **rest), frame=FrameSpec(r"(?P<a>\S+)"))
    (sample,) = decoder_of(spec).block(1, word).samples()
    if isinstance(wanted, Reason):
        assert (sample.value, sample.quality, sample.reason) == (None, Quality.BAD, wanted)
    else:
        assert (sample.value, sample.quality) == (wanted, Quality.GOOD)
        assert type(sample.value) is type(wanted)


HIDDEN = {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f",
          "int64": "q", "uint64": "Q", "float64": "d"}  # fmt: skip


def of_bytes(data: bytes, **rest: Any) -> Any:
    """The value, or the reason why there is none, of one point at byte 1 of a binary frame."""
    spec = device(point("a", None, 1, **rest), frame=FrameSpec(binary=BinarySpec(b"\x02", length=len(data) + 1)))
    (table,) = frame_tables(spec, "serial-binary")
    assert spec.frame is not None
    (sample,) = frame_decoder(spec.frame, table).block(1, b"\x02" + data).samples()
    return sample.reason if sample.value is None else sample.value


@pytest.mark.parametrize("raw", HIDDEN)
@given(data=st.data())
def test_bytes_of_every_type_and_order(raw: str, data: st.DataObject) -> None:
    size = struct.calcsize(HIDDEN[raw])
    big = data.draw(st.binary(min_size=size, max_size=size))
    (wanted,) = struct.unpack(">" + HIDDEN[raw], big)
    words = [big[i : i + 2] for i in range(0, size, 2)]
    on_the_wire = {
        "ABCD": big,
        "CDAB": b"".join(reversed(words)),
        "BADC": b"".join(word[::-1] for word in words),
        "DCBA": big[::-1],
    }
    for order, sent in on_the_wire.items():
        found = of_bytes(sent, raw=raw, order=order)
        assert found == (wanted if math.isfinite(wanted) else Reason.NOT_A_NUMBER), order


def test_bits_strings_markers_and_short_frames() -> None:
    assert [of_bytes(b"\x84", raw="bool", bit=bit) for bit in (0, 2, 7)] == [False, True, True]
    assert of_bytes(b"AB\0\0", raw="string", length=4) == "AB"
    assert of_bytes(b"\xff\xfe", raw="string", length=2) is Reason.UNPARSED
    assert of_bytes(b"\x80\x00", raw="int16", invalid=(0x8000,)) is Reason.INVALID_MARKER
    assert of_bytes(b"\x80", raw="int16") is Reason.UNPARSED
    assert of_bytes(b"\x00\x64", raw="uint16", scale=0.1) == 10.0


def test_a_text_in_a_frame_has_its_bytes_in_any_order() -> None:
    for order, sent in {"ABCD": b"PUMP", "BADC": b"UPPM", "CDAB": b"MPPU", "DCBA": b"PMUP"}.items():
        assert of_bytes(sent, raw="string", length=4, order=order) == "PUMP"


def test_a_frame_of_another_kind_is_nobodys() -> None:
    text = decoder_of(ROAD)
    assert not text.known(b"L1") and not text.fits(b"L1")
    spec = device(point("a", None, 1, when=(("0", "2"),)), frame=FrameSpec(binary=BinarySpec(b"\x02", length=3)))
    assert spec.frame is not None
    (table,) = frame_tables(spec, "serial-binary")
    decoder = frame_decoder(spec.frame, table)
    assert decoder.known(b"\x02") and not decoder.known("x")
    assert {s.reason for s in decoder.block(1, b"\x03\x00\x00").samples()} == {Reason.UNPARSED}
