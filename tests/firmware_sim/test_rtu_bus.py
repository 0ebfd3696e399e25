"""Modbus RTU over a pseudo-terminal: pymodbus as witness, the pace of the wire, faults."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import serial
from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient

from firmware_sim.errors import ScenarioError
from firmware_sim.modbus_frame import parse_rtu, rtu_frame
from tests.firmware_sim.running import running, truth

CHAR_S = 11 / 19200
ANSWER = 9  # characters
MOST_TRIES = 20
READ_POWER = rtu_frame(7, bytes.fromhex("04 0000 0002"))


@asynccontextmanager
async def client(entry: dict[str, Any], timeout_s: float = 2.0) -> AsyncIterator[AsyncModbusSerialClient]:
    modbus = AsyncModbusSerialClient(entry["port"], baudrate=19200, parity="N", timeout=timeout_s, retries=0)
    assert await modbus.connect()
    try:
        yield modbus
    finally:
        modbus.close()


def exchange(path: str, request: bytes, wait_s: float = 20.0) -> list[tuple[float, bytes]]:
    """Sends these bytes and returns what comes within `wait_s`, with the seconds since the request; not more than an
    answer."""
    with serial.Serial(path, 19200, timeout=0) as port:
        begin, pieces = time.monotonic(), []
        port.write(request)
        while (since := time.monotonic() - begin) < wait_s and sum(len(piece) for _, piece in pieces) < ANSWER:
            if piece := port.read(256):
                pieces.append((since, piece))
            time.sleep(0.0005)
        return pieces


async def test_pymodbus_reads_two_units_of_one_bus(tmp_path: Path) -> None:
    async with running(tmp_path) as devices, client(devices["meter"]) as modbus:
        first = (await modbus.read_input_registers(0, count=8, device_id=7)).registers
        second = (await modbus.read_input_registers(0, count=8, device_id=8)).registers
        assert (await modbus.read_input_registers(0, count=9, device_id=7)).exception_code == 2
    assert first != second
    for device, words in (("meter", first), ("second", second)):
        [served] = truth(tmp_path, "served", device)
        power = AsyncModbusSerialClient.convert_from_registers(words[:2], AsyncModbusSerialClient.DATATYPE.FLOAT32)
        assert served["values"]["active_power"] == power
        assert served["values"]["energy_import"] == pytest.approx((words[2] * 65536 + words[3]) * 0.01)
        assert served["values"]["voltage"] == pytest.approx(words[4] * 0.1)


async def test_an_exchange_takes_the_time_of_the_wire(tmp_path: Path) -> None:
    async with running(tmp_path, changes=("lines.bus.turnaround_s=0.01",)) as devices:
        for _ in range(MOST_TRIES):
            pieces = await asyncio.to_thread(exchange, devices["meter"]["port"], READ_POWER)
            answer = b"".join(piece for _, piece in pieces)
            assert parse_rtu(answer) is not None
            # 8 characters out, 3.5 of silence, the turn, 9 characters back. Nothing may come sooner.
            first, last = pieces[0][0], pieces[-1][0]
            assert first >= (8 + 3.5 + 1) * CHAR_S + 0.01 - 0.001
            assert last >= (8 + 3.5 + 9) * CHAR_S + 0.01 - 0.001
            if len(pieces) > 1 and last < (8 + 3.5 + 9) * CHAR_S + 0.01 + 0.3:
                return  # a busy machine reads late, and then all at once
    raise AssertionError(f"no answer came piece by piece, and soon: {pieces}")


async def test_a_slower_bus_is_slower(tmp_path: Path) -> None:
    async with running(tmp_path, changes=("lines.bus.baud=1200",)) as devices:
        pieces = await asyncio.to_thread(exchange, devices["meter"]["port"], READ_POWER)
    assert pieces[-1][0] + 0.002 >= (8 + 3.5 + 9) * 11 / 1200


@pytest.mark.parametrize(
    "request_frame",
    [
        READ_POWER[:-1] + bytes((READ_POWER[-1] ^ 1,)),  # wrong CRC
        READ_POWER[:5],  # cut short
        rtu_frame(9, READ_POWER[1:-2]),  # no such unit
        rtu_frame(0, READ_POWER[1:-2]),  # broadcast is never answered
    ],
    ids=["crc", "short", "stranger", "broadcast"],
)
async def test_a_bus_stays_silent_on_what_is_not_for_it(tmp_path: Path, request_frame: bytes) -> None:
    async with running(tmp_path) as devices:
        path = devices["meter"]["port"]
        assert await asyncio.to_thread(exchange, path, request_frame, 0.15) == []
        assert await asyncio.to_thread(exchange, path, READ_POWER) != []
    assert len(truth(tmp_path, "served", "meter")) == 1


async def test_a_garbled_answer_has_a_wrong_checksum_and_serves_nothing(tmp_path: Path) -> None:
    faults = "  - {device: meter, kind: garbled, at_s: 0, for_s: 60}\n"
    async with running(tmp_path, faults) as devices:
        pieces = await asyncio.to_thread(exchange, devices["meter"]["port"], READ_POWER)
        answer = b"".join(piece for _, piece in pieces)
        async with client(devices["second"]) as modbus:
            assert not (await modbus.read_input_registers(0, count=8, device_id=8)).isError()
    assert len(answer) == 9 and parse_rtu(answer) is None
    assert truth(tmp_path, "served", "meter") == []
    assert len(truth(tmp_path, "served", "second")) == 1


async def test_a_late_unit_lets_its_neighbour_speak_first(tmp_path: Path) -> None:
    faults = "  - {device: meter, kind: late, at_s: 0, for_s: 60, delay_s: 3}\n"
    async with running(tmp_path, faults) as devices:
        async with client(devices["meter"], timeout_s=0.1) as modbus:
            with pytest.raises(ModbusException):
                await modbus.read_input_registers(0, count=8, device_id=7)
        async with client(devices["second"]) as modbus:
            assert not (await modbus.read_input_registers(0, count=8, device_id=8)).isError()
        async with asyncio.timeout(60):
            while not truth(tmp_path, "served", "meter"):
                await asyncio.sleep(0.05)
    order = [each["device"] for each in truth(tmp_path, "served") if each["device"] in ("meter", "second")]
    assert order == ["second", "meter"]


async def test_the_link_outlives_its_readers_and_goes_with_the_simulation(tmp_path: Path) -> None:
    path = tmp_path / "meter"
    async with running(tmp_path, changes=(f"lines.bus.port={path}",)) as devices:
        assert devices["meter"]["port"] == str(path)
        for _ in range(3):
            async with client(devices["meter"]) as modbus:
                assert not (await modbus.read_input_registers(0, count=8, device_id=7)).isError()
        assert path.is_symlink()
    assert not path.is_symlink()


async def test_a_link_left_by_a_killed_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "meter"
    path.symlink_to("/dev/pts/99999")
    async with running(tmp_path, changes=(f"lines.bus.port={path}",)) as devices, client(devices["meter"]) as modbus:
        assert not (await modbus.read_input_registers(0, count=8, device_id=7)).isError()


async def test_a_link_that_another_run_took_over_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "meter"
    async with running(tmp_path, changes=(f"lines.bus.port={path}",)):
        path.unlink()
        path.symlink_to("/dev/null")
    assert os.readlink(path) == "/dev/null"


async def test_a_path_that_cannot_be_linked_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for where, words in (("file", "exists and is not a link"), ("none/meter", "cannot make the link")):
        with pytest.raises(ScenarioError, match=rf"lines\.bus\.port: .*{words}"):
            async with running(tmp_path, changes=(f"lines.bus.port={tmp_path / where}",)):
                pass
    assert (tmp_path / "file").read_text() == "precious"
