"""Modbus TCP, with pymodbus' client as the independent witness."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.errors import ScenarioError
from tests.firmware_sim.running import running, truth


@asynccontextmanager
async def client(entry: dict[str, Any], timeout_s: float = 2.0) -> AsyncIterator[AsyncModbusTcpClient]:
    modbus = AsyncModbusTcpClient(entry["host"], port=entry["port"], timeout=timeout_s, retries=0)
    assert await modbus.connect()
    try:
        yield modbus
    finally:
        modbus.close()


async def test_pymodbus_reads_what_the_truth_says_was_served(tmp_path: Path) -> None:
    async with running(tmp_path) as devices, client(devices["machine"]) as modbus:
        words = (await modbus.read_holding_registers(0, count=7, device_id=1)).registers
        bits = (await modbus.read_discrete_inputs(0, count=1, device_id=1)).bits
        places = (await modbus.read_input_registers(0, count=6, device_id=2)).registers
    machine, running_bit = truth(tmp_path, "served", "machine")
    kinds = AsyncModbusTcpClient.DATATYPE
    assert machine["values"] == {
        "temperature": AsyncModbusTcpClient.convert_from_registers(words[0:2], kinds.FLOAT32),
        "motor_current": pytest.approx(words[2] * 0.01),
        "vibration_rms": pytest.approx(words[3] * 0.001),
        "speed_rpm": words[4],
        "run_hours": pytest.approx(
            0.1 * AsyncModbusTcpClient.convert_from_registers(words[5:7], kinds.UINT32, word_order="little")
        ),
    }
    assert running_bit["values"] == {"running": bits[0]}
    [park] = truth(tmp_path, "served", "park")
    assert park["values"]["capacity"] == places[0] == 420
    assert park["values"]["entries"] == places[2] * 65536 + places[3]
    assert abs(machine["t_ms"] - time.time() * 1000) < 60_000


@pytest.mark.parametrize(
    ("call", "address", "count", "unit_id", "code"),
    [
        ("read_holding_registers", 0, 8, 1, 2),  # one register too far
        ("read_input_registers", 0, 1, 1, 2),  # a table that this device leaves empty
        ("read_coils", 0, 1, 1, 2),
        ("read_holding_registers", 0, 1, 99, 11),  # nobody there: a gateway's word
    ],
)
async def test_refusals_reach_the_client(
    tmp_path: Path, call: str, address: int, count: int, unit_id: int, code: int
) -> None:
    async with running(tmp_path) as devices, client(devices["machine"]) as modbus:
        answer = await getattr(modbus, call)(address, count=count, device_id=unit_id)
        assert answer.isError() and answer.exception_code == code
    assert truth(tmp_path, "served", "machine") == []


async def test_a_silent_unit_keeps_its_neighbour_alive(tmp_path: Path) -> None:
    faults = "  - {device: machine, kind: silent, at_s: 0, for_s: 60}\n"
    async with running(tmp_path, faults) as devices, client(devices["machine"], timeout_s=0.2) as modbus:
        with pytest.raises(ModbusException):
            await modbus.read_holding_registers(0, count=2, device_id=1)
        assert await modbus.connect()
        assert not (await modbus.read_input_registers(0, count=2, device_id=2)).isError()
    assert truth(tmp_path, "served", "machine") == []
    assert len(truth(tmp_path, "served", "park")) == 1


async def test_a_late_answer_comes_late_and_holds_nobody_up(tmp_path: Path) -> None:
    faults = "  - {device: machine, kind: late, at_s: 0, for_s: 60, delay_s: 1}\n"
    async with running(tmp_path, faults) as devices:
        reader, writer = await asyncio.open_connection(devices["machine"]["host"], devices["machine"]["port"])
        asked = time.monotonic()
        writer.write(bytes.fromhex("0001 0000 0006 01 03 0000 0002  0002 0000 0006 02 04 0000 0001"))
        first = await reader.readexactly(11)
        assert first[:2] == b"\x00\x02"
        second = await reader.readexactly(13)
        assert second[:2] == b"\x00\x01"
        assert time.monotonic() - asked >= 1.0
        writer.close()
    [served] = truth(tmp_path, "served", "machine")
    assert set(served["values"]) == {"temperature"}


async def test_a_client_that_leaves_before_its_late_answer_harms_nothing(tmp_path: Path) -> None:
    faults = "  - {device: machine, kind: late, at_s: 0, for_s: 60, delay_s: 0.3}\n"
    async with running(tmp_path, faults) as devices:
        _, writer = await asyncio.open_connection(devices["machine"]["host"], devices["machine"]["port"])
        writer.write(bytes.fromhex("0001 0000 0006 01 03 0000 0002"))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.sleep(0.4)
        async with client(devices["park"]) as modbus:
            assert not (await modbus.read_input_registers(0, count=1, device_id=2)).isError()
    assert truth(tmp_path, "served", "machine") == []


async def test_a_refusing_unit_says_its_exception(tmp_path: Path) -> None:
    faults = "  - {device: machine, kind: refused, at_s: 0, for_s: 60, exception: 6}\n"
    async with running(tmp_path, faults) as devices, client(devices["machine"]) as modbus:
        assert (await modbus.read_holding_registers(0, count=2, device_id=1)).exception_code == 6


@pytest.mark.parametrize(
    "request_hex",
    [
        "0001 0007 0006 01 03 0000 0002",  # not protocol 0
        "0001 0000 0001 01",  # no function code
        "0001 0000 FFFF 01 03 0000 0002",  # longer than a frame can be
    ],
)
async def test_what_is_not_modbus_ends_the_connection(tmp_path: Path, request_hex: str) -> None:
    async with running(tmp_path) as devices:
        reader, writer = await asyncio.open_connection(devices["machine"]["host"], devices["machine"]["port"])
        writer.write(bytes.fromhex(request_hex))
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


async def test_a_request_may_come_in_pieces_and_two_may_come_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as devices:
        reader, writer = await asyncio.open_connection(devices["machine"]["host"], devices["machine"]["port"])
        request = bytes.fromhex("0001 0000 0006 02 04 0000 0001")
        for byte in request:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.002)
        assert await reader.readexactly(11) == bytes.fromhex("0001 0000 0005 02 04 02 01A4")
        writer.write(request + request)
        assert len(await reader.readexactly(22)) == 22
        writer.close()


async def test_a_port_in_use_names_the_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ScenarioError, match=rf"lines\.tcp\.port: 127\.0\.0\.1:{port} is in use; .*--set lines"):
            async with running(tmp_path, changes=(f"lines.tcp.port={port}",)):
                pass


async def test_a_host_that_is_not_ours_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"lines\.tcp\.host: cannot listen on 192\.0\.2\.1:0"):
        async with running(tmp_path, changes=("lines.tcp.host=192.0.2.1",)):
            pass


async def test_a_run_after_another_takes_the_same_port(tmp_path: Path) -> None:
    async with running(tmp_path) as devices, client(devices["machine"]):
        port = devices["machine"]["port"]
    async with running(tmp_path, changes=(f"lines.tcp.port={port}",)) as devices, client(devices["machine"]) as modbus:
        assert not (await modbus.read_input_registers(0, count=1, device_id=2)).isError()
    assert len(truth(tmp_path, "run")) == 2
