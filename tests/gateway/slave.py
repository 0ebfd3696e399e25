"""A small Modbus device that can be written to: over TCP, a pseudo-terminal (RTU), or a converter (RTU over TCP)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymodbus.framer import FramerRTU

from tests.agent.far_end import serial_end


class Device:
    """Holding registers and coils. stuck: writes are answered and change nothing; mute: writes are not answered."""

    def __init__(self) -> None:
        self.holding = [0] * 100
        self.coils = [False] * 100
        self.functions: list[int] = []
        self.stuck = self.mute = self.deaf = False
        self.illegal: set[int] = set()

    def answer(self, pdu: bytes) -> bytes | None:
        function, address, value = struct.unpack(">BHH", pdu[:5])
        if self.deaf:
            return None
        if function in (5, 6, 16):
            self.functions.append(function)
            if address in self.illegal:
                return bytes([function | 0x80, 2])
            if not self.stuck:
                if function == 5:
                    self.coils[address] = value == 0xFF00
                elif function == 6:
                    self.holding[address] = value
                else:
                    self.holding[address : address + value] = struct.unpack(f">{value}H", pdu[6:])
            return None if self.mute else pdu[:5]
        if function == 1:
            bits = sum(self.coils[address + i] << i for i in range(value))
            return bytes([1, (value + 7) // 8]) + bits.to_bytes((value + 7) // 8, "little")
        words = self.holding[address : address + value]
        return struct.pack(f">BB{value}H", function, 2 * value, *words)


@asynccontextmanager
async def tcp(device: Device) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                said = device.answer(await reader.readexactly(length - 1))
                if said is not None:
                    writer.write(struct.pack(">HHHB", transaction, 0, len(said) + 1, unit) + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _rtu_reply(device: Device, asked: bytes) -> bytes | None:
    said = device.answer(asked[1:-2])
    if said is None:
        return None
    frame = asked[:1] + said
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


@asynccontextmanager
async def rtu(device: Device) -> AsyncIterator[str]:
    async with serial_end(lambda asked: _rtu_reply(device, asked)) as end:
        yield end.port


@asynccontextmanager
async def rtu_tcp(device: Device) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while asked := await reader.read(260):  # one request at a time: it comes whole
                writer.write(_rtu_reply(device, asked) or b"")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
