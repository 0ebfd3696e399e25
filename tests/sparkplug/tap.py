"""A tap between an MQTT client and its broker: writes down every packet, and can tear the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.sparkplug.mqtt import Reader
from tests.sparkplug.recording import Event


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Tape:
    """All events of a scenario in the order in which they were seen."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, kind: str, **said: Any) -> None:
        self.events.append(Event("note", 0, kind, True, wall_ms(), said=said))


class Tap:
    """Listens on `port`, forwards to the broker."""

    def __init__(self, tape: Tape, who: str, broker_port: int) -> None:
        self._tape, self._who, self._broker_port = tape, who, broker_port
        self._sessions = 0
        self._open: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self.port = 0

    def cut(self) -> None:
        """As a pulled cable: no DISCONNECT; the broker finds the connection reset."""
        for client, broker in self._open:
            client.transport.abort()
            broker.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions += 1
        number = self._sessions
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.close()
            return
        pair = (writer, up_writer)
        self._open.append(pair)
        try:
            await asyncio.gather(
                self._pass(reader, up_writer, number, True), self._pass(up_reader, writer, number, False)
            )
        finally:
            self._open.remove(pair)
            self._tape.events.append(Event(self._who, number, "LOST", True, wall_ms()))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, up: bool) -> None:
        packets = Reader()
        try:
            while data := await reader.read(65_536):
                for p in packets.feed(data):
                    event = Event(
                        self._who, number, p.kind, up, wall_ms(), p.topic, p.qos, p.retain, p.body, {}, p.said
                    )
                    self._tape.events.append(event)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tap(tape: Tape, who: str, broker_port: int) -> AsyncIterator[Tap]:
    found = Tap(tape, who, broker_port)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        found.cut()
        server.close()
