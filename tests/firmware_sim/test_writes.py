"""Writable signals: functions 5, 6, 15 and 16, on the wire, in later answers and in the truth."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from tests.firmware_sim.running import PLANT, running_text, truth
from tests.firmware_sim.test_answer_faults import fault
from tests.firmware_sim.wire import ask, connected


def client(entry: dict[str, Any]) -> AsyncModbusTcpClient:
    framer = FramerType.SOCKET if entry["kind"] == "modbus-tcp" else FramerType.RTU
    return AsyncModbusTcpClient(entry["host"], port=entry["port"], framer=framer, timeout=2, retries=0)


@pytest.mark.parametrize("device", ["tcp", "conv"])
async def test_pymodbus_writes_and_reads_back(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT) as at, client(at[device]) as modbus:
        assert not (await modbus.write_register(0, 777, device_id=3)).isError()
        assert not (await modbus.write_registers(1, [0x4248, 0x0000], device_id=3)).isError()
        assert not (await modbus.write_coil(0, True, device_id=3)).isError()
        assert (await modbus.read_holding_registers(0, count=3, device_id=3)).registers == [777, 0x4248, 0]
        assert (await modbus.read_coils(0, count=2, device_id=3)).bits[:2] == [True, True]
        assert not (await modbus.write_coils(0, [False, False], device_id=3)).isError()
        assert (await modbus.read_coils(0, count=2, device_id=3)).bits[:2] == [False, False]
    written = [(each["values"], each["held"]) for each in truth(tmp_path, "written", device)]
    assert [values for values, _ in written] == [
        {"ten": 777},
        {"ramp": 50.0},
        {"relay": True},
        {"relay": False, "lamp": False},
    ]
    assert all(values == held for values, held in written)


async def test_half_of_a_value_keeps_the_other_half(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at, client(at["tcp"]) as modbus:
        await modbus.write_registers(1, [0x4248, 0x0000], device_id=3)
        await modbus.write_register(2, 0x8000, device_id=3)
        assert (await modbus.read_holding_registers(1, count=2, device_id=3)).registers == [0x4248, 0x8000]


async def test_a_written_value_stays_even_where_it_was_the_current_one(tmp_path: Path) -> None:
    text = PLANT.replace("kind: ramp, low: 100, high: 200, period_s: 100", "kind: ramp, low: 7, high: 907, period_s: 9")
    async with running_text(tmp_path, text.replace("step_s: 0.05", "step_s: 1")) as at, client(at["tcp"]) as modbus:
        words = (await modbus.read_holding_registers(1, count=2, device_id=3)).registers
        await modbus.write_registers(1, words, device_id=3)
        await asyncio.sleep(1.1)
        assert (await modbus.read_holding_registers(1, count=2, device_id=3)).registers == words


async def test_what_cannot_be_written_is_refused_whole(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at, client(at["tcp"]) as modbus:
        for address, values in ((3, [0, 1]), (2, [1, 2]), (60, [1])):
            assert (await modbus.write_registers(address, values, device_id=3)).exception_code == 2
        assert (await modbus.write_coil(7, True, device_id=3)).exception_code == 2
    assert truth(tmp_path, "written") == []


@pytest.mark.parametrize(("kind", "held"), [("write_ignored", 10), ("write_clamped", 50)])
async def test_faults_of_writes_confirm_and_do_something_else(tmp_path: Path, kind: str, held: int) -> None:
    more = "low: 0, high: 50" if kind == "write_clamped" else ""
    async with running_text(tmp_path, PLANT, fault("tcp", kind, more)) as at, client(at["tcp"]) as modbus:
        assert not (await modbus.write_register(0, 777, device_id=3)).isError()
        assert (await modbus.read_holding_registers(0, count=1, device_id=3)).registers == [held]
    [written] = truth(tmp_path, "written", "tcp")
    assert (written["values"], written["held"]) == ({"ten": 777}, {"ten": held})
    assert truth(tmp_path, "fault", "tcp")[0]["name"] == kind


async def test_a_broadcast_is_done_by_all_and_answered_by_none(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at, connected(at["bus"]) as wire:
        wire.send(ask({**at["bus"], "unit_id": 0}, "06 0000 0055"))
        assert await wire.bytes(0.2) == b""
    assert [each["device"] for each in truth(tmp_path, "written")] == ["bus", "bus4"]
