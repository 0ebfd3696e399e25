"""Electricity meters against a foreign witness: the package dlt645 (Apache-2.0, by Chen Dongyu), which shares no code
with us. Its meter answers our driver, its client reads the simulator's meter, and its frames are ours, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dlt645 import DLT645Protocol, MeterClientService, MeterServerService
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dlt645 import ITEMS, Dlt645Framer, Item, encode, meter_address, read_request
from agent.drivers.dlt645 import Dlt645Driver
from agent.pipeline import read_cycles
from agent.spec import LineSpec
from tests.agent.points import device, point
from tests.agent.test_pipeline import now_ms
from tests.firmware_sim.running import running_text, truth
from tests.servers import free_port
from wire.block import Quality
from wire.errors import DeviceRefused

METER = "210987654321"
addresses = st.binary(min_size=6, max_size=6)


@given(addresses, st.integers(0, 255), st.binary(max_size=200))
def test_our_frames_are_the_frames_of_the_witness(address: bytes, control: int, data: bytes) -> None:
    theirs = bytes(DLT645Protocol.build_frame(address, control, data, preamble_count=0))
    assert encode(address, control, data) == theirs
    (heard,) = Dlt645Framer().split(b"\xfe\xfe" + theirs)
    assert (heard.address, heard.control, heard.data) == (address, control, data)


@settings(max_examples=25)
@given(st.text("0123456789", min_size=12, max_size=12), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_the_witness_understands_what_we_ask(digits: str, data_id: int, follow: int) -> None:
    address = meter_address(digits)
    assert address is not None
    frame = DLT645Protocol.deserialize(read_request(address, data_id, follow))
    assert frame is not None and bytes(frame.preamble) == b"\xfe" * 4
    assert bytes(frame.addr)[::-1].hex() == digits
    assert frame.ctrl_code == (0x12 if follow else 0x11)
    assert bytes(frame.data) == data_id.to_bytes(4, "little") + bytes([follow] if follow else [])


def sample(item: Item, i: int) -> float:
    """A value with every digit of the item, different for each."""
    digits = 10 ** (2 * item.size) // (8 if item.signed else 9) - 1
    return float((digits * (i + 3) // 80) / 10**item.decimals) * (-1 if item.signed and i % 2 else 1)


@pytest.fixture(scope="module")
def meter() -> Iterator[tuple[int, dict[str, float]]]:
    """A meter of the witness on a socket, as behind a serial device server; and what it shows."""
    port = free_port()
    service = MeterServerService.new_tcp_server("127.0.0.1", port)
    service.set_address(bytes.fromhex(METER)[::-1])
    shown: dict[str, float] = {}
    for i, (name, item) in enumerate(ITEMS.items()):
        put = service.set_00 if item.data_id >> 24 == 0 else service.set_02
        if put(item.data_id, sample(item, i)):
            shown[name] = sample(item, i)
    assert service.server.start()
    yield port, shown
    service.server.stop()


def line(port: int, **rest: Any) -> LineSpec:
    return LineSpec("meters", "dlt645", "127.0.0.1", port, timeout_s=2.0, quiet_s=0.01, **rest)


async def test_every_item_of_the_foreign_meter_is_read_as_it_shows_it(meter: tuple[int, dict[str, float]]) -> None:
    port, shown = meter
    assert set(shown) == set(ITEMS) and min(shown.values()) < 0
    points = [point(name, None, raw="float64", field=name, device="m") for name in shown]
    spec = device(*points, id="m", meter=METER)
    found = {s.name: s async for _, b in read_cycles([line(port, devices=(spec,))], 1, now_ms) for s in b.samples()}
    assert {s.quality for s in found.values()} == {Quality.GOOD}
    assert {name: s.value for name, s in found.items()} == pytest.approx(shown, abs=1e-9)


async def test_a_foreign_meter_refuses_what_it_has_not_and_is_read_afterwards(
    meter: tuple[int, dict[str, float]],
) -> None:
    driver = Dlt645Driver(line(meter[0]), now_ms)
    await driver.open()
    with pytest.raises(DeviceRefused, match="refused item 02fe0300: no such data") as caught:
        await driver.fetch(METER, 0x02FE0300)
    assert caught.value.code == 2
    content = (await driver.fetch(METER, ITEMS["voltage_b"].data_id)).content
    assert isinstance(content, bytes) and len(content) == 2
    await driver.close()


SITE = f"""\
name: flat
speed: 100
lines: [{{name: wire, kind: serial-binary, baud: 115200, turnaround_s: 0.001}}]
devices: [{{id: flat, model: dlt645_meter, line: wire, address: "{METER}"}}]
"""


@asynccontextmanager
async def client(port: str) -> AsyncIterator[MeterClientService]:
    service = MeterClientService.new_rtu_client(port, 115200, 8, 1, "N", 2.0)
    service.address = bytearray(bytes.fromhex(METER)[::-1])
    try:
        yield service
    finally:
        service.client.disconnect()


async def test_the_simulated_meter_says_to_a_foreign_client_what_stands_in_the_truth(tmp_path: Path) -> None:
    asked = {
        "energy_total": 0x00000000, "energy_import": 0x00010000, "energy_export": 0x00020000,
        "voltage_a": 0x02010100, "voltage_b": 0x02010200, "voltage_c": 0x02010300, "current_a": 0x02020100,
        "current_c": 0x02020300, "power": 0x02030000, "power_factor": 0x02060000, "frequency": 0x02800002,
    }  # fmt: skip
    async with running_text(tmp_path, SITE) as at, client(str(at["flat"]["port"])) as service:
        for name, data_id in asked.items():
            read = service.read_00 if data_id >> 24 == 0 else service.read_02
            said = await asyncio.to_thread(read, data_id)
            assert said is not None, name
            assert truth(tmp_path, "served")[-1]["values"] == {name: pytest.approx(said.value, abs=1e-9)}
        assert await asyncio.to_thread(service.read_02, 0x02010400) is None, "it has no fourth phase"
    assert len(truth(tmp_path, "served")) == len(asked)
