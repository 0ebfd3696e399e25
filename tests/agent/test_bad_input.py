"""A description that does not fit the device, from the simulator to the status: what is wrong is said, and what is
right is read all the same."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from agent.frame_spec import BinarySpec, FrameSpec
from agent.pipeline import run_line
from agent.score import Scorers
from agent.spec import DerivedSpec, DeviceSpec, LineSpec
from agent.status import LineStatus
from tests.agent.points import device, point
from tests.agent.test_pipeline import Notes, now_ms, running
from tests.firmware_sim.running import running_text
from wire.block import Reason
from wire.errors import ConfigError

SITE = """\
name: site
speed: 20
lines:
  - {name: plc, kind: modbus-tcp}
  - {name: road, kind: serial-text, baud: 115200}
  - {name: park, kind: serial-binary, baud: 115200, turnaround_s: 0}
devices:
  - {id: road, model: traffic_detector, line: road, lanes: 2, interval_s: 1}
  - {id: park, model: parking_controller, line: park, unit_id: 5, zones: 1}
  - id: plc
    model: registers
    line: plc
    step_s: 0.1
    signals:
      - {name: long, address: 0, type: uint32, source: 0x12345678}
      - {name: pumps, address: 2, source: {kind: counter, rate_per_s: 9, wraps_at: 3}}
      - {name: flow, address: 3, source: 12}
"""


def line(at: dict[str, Any], *devices: DeviceSpec, **rest: Any) -> LineSpec:
    where = {"host": at.get("host", ""), "port": at["port"], "baud": 115200, "timeout_s": 0.2, "quiet_s": 0.01}
    return LineSpec("line", devices=devices, **where | rest)


@pytest.mark.parametrize(
    "frame",
    [
        FrameSpec(r"SPUR=(?P<n>\d+)$"),
        FrameSpec(r"LANE=(?P<n>\d+)", delimiter="\x03"),
        FrameSpec(r"LANE=(?P<n>\d+)", max_length=8),
        FrameSpec(separator=";", fields=4, starts="$"),
    ],
    ids=["pattern", "delimiter", "too short", "separator"],
)
@pytest.mark.parametrize("events", [False, True])
async def test_a_text_frame_that_never_matches_is_told_with_what_came(
    frame: FrameSpec, events: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.stream.PUZZLED_S", 0.3)
    field = "1" if frame.separator else "n"
    spec = device(point("n", None, field=field, device="road"), frame=frame, id="road", period_s=0.1, events=events)
    async with running_text(tmp_path, SITE) as at:
        with caplog.at_level(logging.WARNING, "agent.stream"):
            road = line(at["road"], spec, driver="serial-text", silent_polls=1)
            async with running(road) as (notes, status):
                async with asyncio.timeout(60):
                    while not caplog.records:
                        await asyncio.sleep(0.02)
                if not events:
                    await notes.until(lambda: ("road", False) in notes.order)
                    assert "no frame that fits" in status.unit("road").last_error
                    assert {s.value for s in notes.samples("road")} == {None}
    told = [r for r in caplog.records if "nothing that comes fits" in r.message]
    assert len(told) == 1 and "LANE=" in vars(told[0])["sample"]


async def test_a_binary_frame_that_never_matches_is_told_with_what_came(tmp_path: Path) -> None:
    frame = FrameSpec(binary=BinarySpec(b"\x02\x10", length=12))
    park = device(
        point("n", None, 8, device="park"), frame=frame, id="park", period_s=0.05, request=bytes.fromhex("AA5505010006")
    )
    async with running_text(tmp_path, SITE) as at:
        spec = line(at["park"], park, driver="serial-binary", silent_polls=2)
        async with running(spec) as (notes, status):
            await notes.until(lambda: ("park", False) in notes.order)
            unit = status.unit("park")
            assert unit.garbled >= 2 and unit.timeouts == 0
            assert "no frame that fits within 0.2 s; came aa 55 05 81 06 01 00 3c" in unit.last_error
            assert notes.reasons("park") == [Reason.GARBLED, Reason.DEVICE_DEAD]


async def test_overlapping_tags_all_have_their_part_and_impossible_ones_cost_nobody_else(tmp_path: Path) -> None:
    points = [
        point("long", address=0, raw="uint32", device="plc"),
        point("high", address=0, device="plc"),
        point("low", address=1, device="plc"),
        point("odd", address=0, raw="bool", bit=1, device="plc"),
        point("twice", address=0, raw="uint32", device="plc"),
        point("across", address=1, raw="uint32", device="plc"),
        point("beyond", address=3, raw="uint32", device="plc"),  # its second register does not exist
        point("nowhere", address=65_535, device="plc"),
    ]
    async with running_text(tmp_path, SITE) as at:
        plc = line(at["plc"], device(*points, id="plc", period_s=0.05), driver="modbus-tcp")
        async with running(plc) as (notes, _):
            await notes.until(lambda: len(notes.samples("plc")) >= 4 * len(points), 60)
            by_name: dict[str, list[Any]] = {}
            for s in notes.samples("plc"):
                by_name.setdefault(s.name, []).append((s.value, s.reason))
    assert by_name.pop("beyond")[-1] == by_name.pop("nowhere")[-1] == (None, Reason.REFUSED)
    assert by_name.pop("across")[-1][0] in {0x56780000 + pumps for pumps in range(3)}
    right = {"long": 0x12345678, "twice": 0x12345678, "high": 0x1234, "low": 0x5678, "odd": False}
    assert {name: set(values) for name, values in by_name.items()} == {
        name: {(value, Reason.NONE)} for name, value in right.items()
    }


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (device(point("a", address=65_535, raw="uint32")), "address 65535 with 2 registers lies outside 0 to 65535"),
        (device(point("a", address=-1)), "address -1 with 1 registers lies outside"),
        (device(point("a", "coil", 65_536, "bool")), "address 65536 with 1 registers lies outside"),
        (device(point("a", address=4), point("a", address=9)), "tag a stands twice"),
    ],
)
async def test_an_address_that_cannot_be_is_refused_before_anything_is_asked(spec: DeviceSpec, problem: str) -> None:
    asked = LineSpec("plc", "modbus-tcp", "127.0.0.1", 1, devices=(spec,))
    with pytest.raises(ConfigError, match=problem):
        await run_line(asked, Notes(), now_ms, {}, Scorers([], []), LineStatus())


async def test_an_expression_that_divides_by_zero_is_bad_until_it_does_not(tmp_path: Path) -> None:
    points = [point("pumps", address=2, device="plc"), point("flow", address=3, device="plc")]
    per_pump = DerivedSpec(
        point("per_pump", None, raw="float64", device="plc"), "flow / pumps", (("plc", "flow"), ("plc", "pumps")), 0.03
    )
    spec = device(*points, id="plc", period_s=0.03, derived=(per_pump,))
    async with running_text(tmp_path, SITE) as at:
        async with running(line(at["plc"], spec, driver="modbus-tcp")) as (notes, _):
            await notes.until(lambda: len(notes.samples("plc")) >= 60, 60)
        samples = notes.samples("plc")
    pumps = {s.ts_ms: s.value for s in samples if s.name == "pumps"}
    found = [(pumps[s.ts_ms], s.value, s.reason) for s in samples if s.name == "per_pump"]
    zero = (0, None, Reason.DIVISION_BY_ZERO)
    assert zero in found and set(found) <= {zero, (1, 12.0, Reason.NONE), (2, 6.0, Reason.NONE)}
    assert len(set(found)) > 1, "it comes back when the divisor does"
