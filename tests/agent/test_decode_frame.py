"""Text lines: named groups become values; a field that is no number is BAD alone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.decode_frame import FrameDecoder, frame_decoder
from agent.frame_spec import FrameSpec
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
