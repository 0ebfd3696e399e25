"""Raw bytes over a socket or a serial port, so that nothing but the test stands between fault and eye."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from firmware_sim.modbus_frame import rtu_frame, tcp_frame

Piece = tuple[float, bytes]


class Wire:
    """Sends, and keeps what comes with the second at which it came."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.closed = False

    async def quiet(self, seconds: float) -> list[Piece]:
        """What came since the last call, after waiting so long."""
        await asyncio.sleep(seconds)
        pieces, self.pieces = self.pieces, []
        return pieces

    async def bytes(self, seconds: float = 0.25) -> bytes:
        return b"".join(data for _, data in await self.quiet(seconds))


class Socket(Wire):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)


class Serial(Wire):
    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)


@asynccontextmanager
async def connected(entry: dict[str, Any]) -> AsyncIterator[Socket | Serial]:
    """The line of a device, whichever kind it is."""
    if "host" not in entry:
        fd = os.open(entry["port"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        serial, loop = Serial(fd), asyncio.get_running_loop()
        loop.add_reader(fd, lambda: serial.pieces.append((time.monotonic(), os.read(fd, 4096))))
        try:
            yield serial
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return
    reader, writer = await asyncio.open_connection(entry["host"], entry["port"])
    sock = Socket(writer)

    async def listen() -> None:
        try:
            while data := await reader.read(4096):
                sock.pieces.append((time.monotonic(), data))
        except ConnectionError:
            pass
        sock.closed = True

    task = asyncio.create_task(listen())
    try:
        yield sock
    finally:
        task.cancel()
        await asyncio.wait([task])
        writer.close()


def ask(entry: dict[str, Any], pdu: str, number: int = 1) -> bytes:
    """A request to this device in the frame of its line."""
    data, unit_id = bytes.fromhex(pdu), entry["unit_id"]
    return tcp_frame(number, unit_id, data) if entry["kind"] == "modbus-tcp" else rtu_frame(unit_id, data)


def answers(entry: dict[str, Any], data: bytes) -> list[tuple[int, bytes]]:
    """(unit id, PDU) of each answer to a read of registers; whole frames only."""
    found = []
    while data:
        if entry["kind"] == "modbus-tcp":
            length = 6 + int.from_bytes(data[4:6], "big")
            found.append((data[6], data[7:length]))
        else:
            length = 5 if data[1] & 0x80 else 5 + data[2]
            found.append((data[0], data[1 : length - 2]))
        data = data[length:]
    return found
