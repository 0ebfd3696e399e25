"""How RTU frames begin and end: t1.5 and t3.5 on a bus, lengths through a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.modbus_frame import longest_gap_s, request_length, rtu_frame
from tests.firmware_sim.running import PLANT, running_text, truth
from tests.firmware_sim.test_answer_faults import READ_TEN, TEN
from tests.firmware_sim.wire import answers, ask, connected


def test_the_longest_gap_is_fixed_above_19200_baud() -> None:
    assert longest_gap_s(9600, 11) == pytest.approx(1.5 * 11 / 9600)
    assert longest_gap_s(115200, 11) == 0.00075


@given(st.binary(min_size=1, max_size=200), st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]))
def test_the_length_of_a_request_is_known_from_its_first_bytes(data: bytes, function: int) -> None:
    more = bytes((len(data),)) + data if function in (15, 16) else b""
    frame = rtu_frame(3, bytes((function, 0, 0, 0, 1)) + more)
    assert request_length(frame) == len(frame)
    assert request_length(frame[:1]) is None


@pytest.mark.parametrize(("strict", "answered"), [("true", False), ("false", True)])
async def test_a_pause_within_a_frame_matters_only_where_gaps_are_strict(
    tmp_path: Path, strict: str, answered: bool
) -> None:
    # At 1200 baud t1.5 is 13.8 ms and t3.5 is 32 ms: a pause of 22 ms lies between, with room for a busy machine.
    changes = ("lines.bus.baud=1200", f"lines.bus.strict_gaps={strict}")
    async with running_text(tmp_path, PLANT, "", *changes) as at, connected(at["bus"]) as wire:
        request, heard = ask(at["bus"], READ_TEN), b""
        for _ in range(5):  # a busy machine may make a pause longer than t3.5, but not every time
            wire.send(request[:4])
            await asyncio.sleep(4 * 11 / 1200 + 0.022)
            wire.send(request[4:])
            heard += await wire.bytes(0.4)
            if heard:
                break
        assert bool(heard) == answered


async def test_a_pause_longer_than_t35_ends_a_frame(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at, connected(at["bus"]) as wire:
        request = ask(at["bus"], READ_TEN)
        wire.send(request[:4])
        await asyncio.sleep(0.1)
        wire.send(request[4:])
        assert await wire.bytes(0.2) == b""
        wire.send(request)
        assert answers(at["bus"], await wire.bytes(0.2)) == [(3, TEN)]


async def test_pymodbus_reads_rtu_over_tcp(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at:
        entry = at["conv"]
        assert entry["kind"] == "rtu-over-tcp"
        async with AsyncModbusTcpClient(entry["host"], port=entry["port"], framer=FramerType.RTU) as modbus:
            assert (await modbus.read_holding_registers(0, count=1, device_id=3)).registers == [10]
            assert (await modbus.read_holding_registers(99, count=1, device_id=3)).exception_code == 2
    assert [each["values"] for each in truth(tmp_path, "served", "conv")] == [{"ten": 10}]


async def test_a_socket_finds_its_step_again_after_rubbish(tmp_path: Path) -> None:
    async with running_text(tmp_path, PLANT) as at, connected(at["conv"]) as wire:
        request = ask(at["conv"], READ_TEN)
        wire.send(b"\x03\x03\x00")  # cut short, and then a pause
        await asyncio.sleep(0.2)
        wire.send(request[:5])
        await asyncio.sleep(0.02)
        wire.send(request[5:] + request)
        assert answers(at["conv"], await wire.bytes(0.2)) == [(3, TEN), (3, TEN)]
        wire.send(b"\x00" * 11)
        await asyncio.sleep(0.2)
        wire.send(request)
        assert answers(at["conv"], await wire.bytes(0.2)) == [(3, TEN)]
