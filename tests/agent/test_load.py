"""Wire time and load: what a line takes, what it has left for a fault, and what to change where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.frame_spec import BinarySpec, FrameSpec
from agent.load import fault_s, line_load
from agent.spec import DeviceSpec, Illegal, LineSpec
from tests.agent.points import device, point

CHAR_S = 11 / 19200


def bus(units: int, registers: int = 60, **rest: Any) -> LineSpec:
    devices = tuple(
        device(*(point(f"r{a}", address=a, device=f"d{i}") for a in range(registers)), id=f"d{i}", unit_id=i + 1)
        for i in range(units)
    )
    settings = {"baud": 19200, "parity": "E", "timeout_s": 0.2, "turnaround_s": 0.01} | rest
    return LineSpec("bus", "modbus-rtu", port="/dev/ttyUSB0", devices=devices, **settings)  # type: ignore[arg-type]


def test_a_request_takes_its_characters_two_pauses_and_the_turnaround() -> None:
    load = line_load(bus(8), {})
    each = (8 + 5 + 120) * CHAR_S + 2 * 3.5 * CHAR_S + 0.01
    assert [r.wire_s for r in load.requests] == pytest.approx([each] * 8)
    assert load.cycle_s == pytest.approx(8 * each) and load.load == pytest.approx(8 * each)
    fence = (8 + 5 + 2) * CHAR_S + 2 * 3.5 * CHAR_S + 0.01
    assert load.reserve_s == pytest.approx(0.2 + 0.05 + fence)
    assert line_load(bus(1), {}).reserve_s == 0.0, "it has no neighbours"
    longer = line_load(bus(8, gap_s=0.05), {})
    assert longer.requests[0].wire_s - each == pytest.approx(0.05 - 3.5 * CHAR_S), "the gap holds the pause before"
    assert line_load(bus(1, baud=115200), {}).requests[0].wire_s == pytest.approx(133 * 11 / 115200 + 0.0035 + 0.01)


def test_rare_requests_count_by_their_share() -> None:
    spec = device(point("a"), point("b", address=1, period_s=10.0), period_s=0.5)
    load = line_load(replace(bus(1), devices=(spec,)), {})
    fast, slow = load.requests
    assert load.period_s == 0.5 and load.cycle_s == pytest.approx(fast.wire_s + slow.wire_s / 20)
    assert load.longest_cycle_s == pytest.approx(fast.wire_s + slow.wire_s)


def test_what_was_learned_is_planned_with() -> None:
    load = line_load(bus(2, registers=4), {"d0": [Illegal("holding", 2, 2)]})
    assert [r.span.count for r in load.requests if r.span] == [2, 2, 4]
    gone = line_load(bus(1, registers=4), {"d0": [Illegal("holding", 1, 2)]})
    assert [(r.span.address, r.span.count) for r in gone.requests if r.span] == [(0, 1), (2, 2)]
    assert len(line_load(bus(1, registers=4), {"d0": [Illegal("holding", 0, 4)]}).requests) == 1


def test_a_request_says_its_bytes_and_what_it_reads_through() -> None:
    spec = device(point("a"), point("b", address=1, raw="float32"), point("c", address=5), point("d", address=7))
    (request,) = line_load(replace(bus(1), devices=(spec,))).requests
    assert (request.sent, request.answered, request.through) == (8, 5 + 2 * 8, ((3, 4), (6, 6)))
    assert (request.who, request.tags, request.exact) == ("1", ("a", "b", "c", "d"), True)
    tcp = LineSpec(
        "plc", "modbus-tcp", host="h", devices=(device(point("x", "coil", 3, "bool"), point("y", "coil", 12, "bool")),)
    )
    (request,) = line_load(tcp).requests
    assert (request.sent, request.answered, request.through) == (12, 9 + 2, ((4, 11),))


def framed(frame: FrameSpec, **rest: Any) -> DeviceSpec:
    return device(point("x", None, 3, "uint16", field="x"), frame=frame, **rest)


def serial(*devices: DeviceSpec, **rest: Any) -> LineSpec:
    settings: dict[str, Any] = {"driver": "serial-text", "port": "/dev/ttyUSB0"} | rest
    return LineSpec("line", devices=devices, **settings)


TEXT = FrameSpec(pattern="(?P<x>.)", max_length=40)
COLUMNS = FrameSpec(columns={"x": (4, 10)}, max_length=40)
FIXED = FrameSpec(binary=BinarySpec(b"\xaa", length=11))
OPEN = FrameSpec(binary=BinarySpec(b"\xaa\x55", b"\x16", length_at=2), max_length=30)


@pytest.mark.parametrize(
    ("frame", "driver", "least", "most"),
    [
        (TEXT, "serial-text", 3, 40),
        (COLUMNS, "serial-text", 12, 40),
        (FIXED, "serial-binary", 11, 11),
        (OPEN, "serial-binary", 6, 30),
    ],
)
def test_a_polled_frame_takes_what_its_description_says(frame: FrameSpec, driver: str, least: int, most: int) -> None:
    line = serial(framed(frame, request=b"SI\r\n"), driver=driver, gap_s=0.1)
    load = line_load(line)
    (request,) = load.requests
    char_s = 10 / 9600
    assert (request.sent, request.answered, request.asks) == (4, most, "'SI\\r\\n'")
    assert request.wire_s == pytest.approx((4 + most) * char_s + 0.005 + 0.1)
    assert request.least_s == pytest.approx((4 + least) * char_s + 0.005 + 0.1)
    assert load.exact is (least == most) and load.reserve_s == 0.0
    assert load.cycle_s == request.wire_s and load.least_cycle_s == request.least_s


def test_a_silent_framed_device_costs_time_out_and_quiet() -> None:
    two = serial(framed(TEXT, id="dev", request=b"\x05"), framed(TEXT, request=b"\x06"), timeout_s=0.4, quiet_s=0.1)
    load = line_load(two)
    assert load.reserve_s == pytest.approx(0.5) == fault_s(two)
    assert load.requests[0].asks == "05" and load.with_fault_s == load.least_cycle_s + 0.5


def test_a_meter_is_asked_item_by_item() -> None:
    points = [point(name, None, raw="float64", field=name) for name in ("energy_import", "voltage_a")]
    spec = device(*points, meter="201808220015", period_s=10)
    load = line_load(serial(spec, driver="dlt645", baud=2400, parity="E", turnaround_s=0.1))
    assert [(r.who, r.asks, r.sent, r.answered) for r in load.requests] == [
        ("201808220015", "energy_import (00010000)", 20, 24),
        ("201808220015", "voltage_a (02010100)", 20, 22),
    ]
    assert load.cycle_s == pytest.approx(86 * 11 / 2400 + 0.2) and load.exact


def test_who_speaks_by_itself_is_not_asked() -> None:
    load = line_load(serial(framed(FIXED, period_s=2.0), driver="serial-binary"))
    (heard,) = load.listens
    assert (load.requests, load.load, load.reserve_s) == ((), 0.0, 0.0)
    assert (heard.frame_bytes, heard.period_s, heard.bytes_per_s) == (11, 2.0, 5.5)
    (heard,) = line_load(serial(framed(TEXT))).listens
    assert (heard.frame_bytes, heard.bytes_per_s) == (None, None)
    assert line_load(serial(framed(FIXED, events=True), driver="serial-binary")).listens[0].period_s is None
