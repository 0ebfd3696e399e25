"""How RTU frames begin and end: t1.5 and t3.5 on a bus, lengths through a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.modbus_frame import longest_gap_s, request_length, rtu_frame
from firmware_sim.pty_port import PtyPort
from firmware_sim.rtu_bus import RtuBus
from firmware_sim.rtu_units import RtuUnits
from firmware_sim.speaking import Leaving, Mouth
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


class Line:
    """A port of 1200 baud whose bytes come when the test says so; it is the bus's units too, and keeps the frames."""

    char_s = 11 / 1200

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.heard: Callable[[bytes], None] = lambda data: None

    def on_bytes(self, heard: Callable[[bytes], None]) -> None:
        self.heard = heard

    def deaf(self) -> None:
        self.heard = lambda data: None

    async def send(self, data: bytes, leaving: Leaving) -> None:
        raise AssertionError("nobody answers here")

    def hear(self, frame: bytes, mouth: Mouth, replies: asyncio.TaskGroup) -> None:
        self.frames.append(frame)


@pytest.mark.parametrize("strict", [True, False])
async def test_a_pause_within_a_frame_matters_only_where_gaps_are_strict(
    strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At 1200 baud t1.5 is 13.8 ms and t3.5 is 32 ms: a pause of 22 ms lies between. The clock is set forward by it, so
    # that no other work of the machine makes it longer.
    loop, ahead_s = asyncio.get_running_loop(), 0.0
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead_s)
    line, request = Line(), rtu_frame(3, bytes.fromhex(READ_TEN))
    bus = RtuBus(cast(PtyPort, line), 1200, 11, cast(RtuUnits, line), strict_gaps=strict)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(bus.serve())
        await asyncio.sleep(0)
        line.heard(request[:4])
        ahead_s += 4 * line.char_s + 0.022
        line.heard(request[4:])
        while not line.frames:
            await asyncio.sleep(0.01)
        serving.cancel()
    assert line.frames == [b"" if strict else request]


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
