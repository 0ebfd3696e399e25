"""The examples of docs/examples against devices that speak as their manuals say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.dlt645 import encode, meter_address
from agent.pipeline import read_cycles
from gateway.cli import main
from gateway.clock import now_ms
from gateway.config import load_site
from tests.agent.far_end import FarEnd, Reply, serial_end, tcp_end

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_good(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(path)]) == 0
    assert ": good." in capsys.readouterr().out


async def read(name: str, reply: Reply, cycles: int = 1, say: list[bytes] | None = None) -> dict[str, Any]:
    """device/tag -> value, or the reason why there is none, of an example's only line."""
    (line,) = load_site(EXAMPLES / f"{name}.yaml").lines
    async with serial_end(reply) as end:
        return await _read(replace(line, port=end.port), cycles, end, say or [])


async def _read(line: Any, cycles: int, end: FarEnd | None, say: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def speak() -> None:
        for data in say:
            await asyncio.sleep(0.05)
            assert end is not None
            end.say(data)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(speak())
        async for _, block in read_cycles([line], cycles, now_ms):
            for s in block.samples():
                found[f"{block.device}/{s.name}"] = s.reason.name if s.value is None else s.value
    return found


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"S S     100.05 kg\r\n", {"scale-1/weight": pytest.approx(100.05), "scale-1/state": "S"}),
        (b"S D       -0.5 kg\r\n", {"scale-1/weight": "OUT_OF_RANGE", "scale-1/state": "D"}),
        (b"S +\r\n", {"scale-1/weight": "GARBLED", "scale-1/state": "GARBLED"}),
        (None, {"scale-1/weight": "TIMEOUT", "scale-1/state": "TIMEOUT"}),
    ],
)
async def test_a_weighing_indicator(answer: bytes | None, wanted: dict[str, Any]) -> None:
    assert await read("weighing", lambda asked: answer if asked == b"SI\r\n" else None) == wanted


async def test_a_traffic_detector_with_two_lanes() -> None:
    lines = [b"noise\r\n", b"D,1, 12,045.2,007.5\r\n", b"D,3,9,9,9\r\nD,2,3,---,101.0\r\n"]
    assert await read("traffic", lambda asked: None, 2, lines) == {
        "detector/lane1/count": 12, "detector/lane1/speed": pytest.approx(45.2), "detector/lane1/occupancy": 7.5,
        "detector/lane2/count": 3, "detector/lane2/speed": "INVALID_MARKER", "detector/lane2/occupancy": "OUT_OF_RANGE",
    }  # fmt: skip


def zone(body: str) -> bytes:
    from agent.checksum import crc_ccitt

    data = bytes.fromhex(body)
    data = bytes([len(data) + 2]) + data
    return b"\xaa\x55" + data + crc_ccitt(data).to_bytes(2, "big")


async def test_a_parking_zone_controller() -> None:
    answers = {
        zone("01 01"): b"\x00\xff\xaa" + zone("01 81 012C 0011 04"),
        zone("02 01"): zone("02 81 0064 0064 00"),
    }
    assert await read("parking", answers.get) == {
        "zone-1/capacity": 300, "zone-1/free": 17, "zone-1/sign_fault": True,
        "zone-2/capacity": 100, "zone-2/free": 100,
    }  # fmt: skip


async def test_a_stream_of_barrier_events_through_a_device_server() -> None:
    (line,) = load_site(EXAMPLES / "barrier.yaml").lines
    async with tcp_end(b"half\r#12 IN OPEN AB1234\r#13 OUT FAULT\r") as port:
        found = await _read(replace(line, host="127.0.0.1", port=port), 2, None, [])
    assert found == {
        "barriers/in/state": "OPEN", "barriers/in/ticket": "AB1234", "barriers/in/number": 12,
        "barriers/out/state": "FAULT",
    }  # fmt: skip


@asynccontextmanager
async def meters(values: dict[tuple[str, int], str]) -> AsyncIterator[FarEnd]:
    """values: (meter, item) -> the bytes as they go over the line, without 33H."""

    def reply(asked: bytes) -> bytes | None:
        from agent.dlt645 import Dlt645Framer

        (heard,) = Dlt645Framer().split(asked)
        for (meter, item), data in values.items():
            if heard.address == meter_address(meter) and heard.data == item.to_bytes(4, "little"):
                # The answer comes with its own preamble, behind the echo of the request.
                return asked + b"\xfe\xfe" + encode(heard.address, 0x91, heard.data + bytes.fromhex(data))
        return encode(heard.address, 0xD1, b"\x02")

    async with serial_end(reply) as end:
        yield end


async def test_electricity_meters() -> None:
    (line,) = load_site(EXAMPLES / "meters.yaml").lines
    main_meter, light = "201808220015", "201808220016"
    values = {
        (main_meter, 0x00010000): "78563412",  # 123456.78
        (main_meter, 0x00010200): "FFFFFFFF",
        (main_meter, 0x02030000): "563482",  # -2.3456
        (main_meter, 0x02010100): "0523",  # 230.5
        (main_meter, 0x02020100): "1A0000",  # no BCD
        (light, 0x00010000): "01000000",
    }
    async with meters(values) as end:
        found = await _read(replace(line, port=end.port), 1, end, [])
    assert found == {
        "main-meter/energy_import": pytest.approx(123456.78 * 80), "main-meter/energy_import_peak": "INVALID_MARKER",
        "main-meter/power": pytest.approx(-2.3456 * 80), "main-meter/voltage_a": 230.5,
        "main-meter/current_a": "UNPARSED", "main-meter/power_factor": "REFUSED",
        "light-meter/energy_import": 0.01,
    }  # fmt: skip
