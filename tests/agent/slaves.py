"""Small faulty Modbus devices for the agent's tests: one answers in the order in which it was asked, however late."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pymodbus.framer import FramerRTU

TABLE_OF = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def register(table: str, address: int) -> int:
    """What stands at an address: every register of every table is different, so that a wrong one is seen."""
    return (address * 7 + {"holding": 10_000, "input": 40_000}[table]) & 0xFFFF


def bit(table: str, address: int) -> int:
    return (address * 5 + address // 3 + (table == "coil")) % 3 % 2


def words(table: str, address: int, count: int) -> list[int]:
    of = bit if table in ("coil", "discrete") else register
    return [of(table, address + i) for i in range(count)]


def reply_pdu(pdu: bytes, illegal: Callable[[str, int, int], bool]) -> bytes:
    """The right answer to a request, as a device gives it."""
    function, address, count = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    table = TABLE_OF[function]
    if illegal(table, address, count):
        return bytes([function | 0x80, 2])
    values = words(table, address, count)
    if function in (1, 2):
        data = sum(v << i for i, v in enumerate(values)).to_bytes((count + 7) // 8, "little")
    else:
        data = b"".join(v.to_bytes(2, "big") for v in values)
    return bytes([function, len(data)]) + data


def with_crc(frame: bytes) -> bytes:
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


@dataclass
class RtuSlave:
    """Units on a pseudo-terminal. delay_s: time to the answer, drawn per request; None: never answered.

    twist: changes the bytes of an answer; it may be empty. overtakes: like some bridges, a quick answer does not
    wait for a slow one that was asked before.
    """

    delay_s: Callable[[int], float | None] = lambda unit_id: 0.0
    illegal: Callable[[str, int, int], bool] = lambda table, address, count: False
    twist: Callable[[bytes], bytes] = lambda frame: frame
    units: frozenset[int] = frozenset({1})
    overtakes: bool = False
    requests: list[bytes] = field(default_factory=list)
    port: str = ""
    _master: int = -1
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RtuSlave:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        os.set_blocking(self._master, False)
        self._begin()
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self

    def _begin(self) -> None:
        self._asked: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""
        self._task = asyncio.create_task(self._answer())

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.unplug()

    def unplug(self) -> None:
        """The adapter is pulled out."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    def say(self, data: bytes) -> None:
        os.write(self._master, data)

    def _readable(self) -> None:
        self._came(os.read(self._master, 4096))

    def _came(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= 8:
            request, self._rest = self._rest[:8], self._rest[8:]
            assert with_crc(request[:-2]) == request
            self._asked.put_nowait(request)

    async def _answer(self) -> None:
        async with asyncio.TaskGroup() as answers:
            while True:
                request = await self._asked.get()
                self.requests.append(request)
                delay_s = self.delay_s(request[0]) if request[0] in self.units else None
                if delay_s is None:
                    continue
                if self.overtakes:
                    answers.create_task(self._late(request, delay_s))
                else:
                    await self._late(request, delay_s)

    async def _late(self, request: bytes, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.say(self.twist(with_crc(request[:1] + reply_pdu(request[1:6], self.illegal))))


class RtuTcpSlave(RtuSlave):
    """The same units behind a serial converter: late answers come on whatever connection is open by then."""

    host, tcp_port = "127.0.0.1", 0
    _writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> RtuTcpSlave:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.tcp_port = self._server.sockets[0].getsockname()[1]
        self._begin()
        return self

    def unplug(self) -> None:
        self._server.close()
        self.drop()

    def drop(self) -> None:
        """The connection ends; the bus behind it goes on."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def say(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while data := await reader.read(4096):
            self._came(data)
        writer.close()


Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class TcpSlave:
    """A Modbus TCP server. answer: takes one request with its header and writes what it likes."""

    def __init__(self, answer: Serve | None = None) -> None:
        self._answer = answer or self.right
        self.host, self.port = "127.0.0.1", 0
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> TcpSlave:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.shut()
        await asyncio.sleep(0.01)

    def shut(self) -> None:
        self._server.close()
        self.drop()

    def drop(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                await self._answer(await reader.readexactly(12), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @staticmethod
    def frame(request: bytes) -> bytes:
        """The right answer with its header."""
        pdu = reply_pdu(request[7:12], lambda *_: False)
        return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu

    async def right(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.frame(request))
