"""The far end of a serial line or of a TCP connection, which answers as a script says."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Reply = Callable[[bytes], bytes | None]


class FarEnd:
    """asked: everything heard. reply: what is said to a piece of bytes; None: nothing."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked = bytearray()
        self.port = ""
        self.say: Callable[[bytes], None] = lambda data: None

    def heard(self, data: bytes) -> None:
        self.asked += data
        said = self._reply(data)
        if said is not None:
            self.say(said)


@asynccontextmanager
async def serial_end(reply: Reply = lambda data: None) -> AsyncIterator[FarEnd]:
    end = FarEnd(reply)
    master, slave = pty.openpty()
    tty.setraw(slave)
    end.port = os.ttyname(slave)
    end.say = lambda data: void(os.write(master, data))
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: end.heard(os.read(master, 4096)))
    try:
        yield end
    finally:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


def void(_: object) -> None:
    return None


@asynccontextmanager
async def tcp_end(greeting: bytes = b"", hang_up: bool = False) -> AsyncIterator[int]:
    """A device server that says one thing to whoever connects; yields its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)
        await writer.drain()
        if hang_up:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
