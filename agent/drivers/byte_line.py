"""A line of bytes: a serial port, or a TCP connection to a serial device server. What comes is handed on at once."""

from __future__ import annotations

import asyncio
import termios
from collections.abc import Callable

import serial

from agent.drivers.ports import NO_CONNECTION, NO_HOST, notice_dead_peer, usable_parity, why_port_fails
from agent.spec import LineSpec
from wire.errors import DeviceGarbled, DeviceSilent, LineDown

_CONNECT_S = 3.0  # as for Modbus TCP: one lost SYN is sent again after 1 s
_SHOWN = 48


class ByteLine:
    """Opened, written to and closed by its driver. heard: the newest bytes since the driver last cleared it."""

    def __init__(self, line: LineSpec, take: Callable[[bytes], None], down: Callable[[], None]) -> None:
        """take: called with bytes as they come; down: called when the line was lost, fault then says why."""
        self._line, self._take, self._down = line, take, down
        self._port: serial.Serial | None = None
        self._connection: asyncio.Transport | None = None
        self.heard = bytearray()
        self.last_s = 0.0  # when a byte was last sent or heard
        self.fault = ""

    @property
    def where(self) -> str:
        return f"{self._line.host}:{self._line.port}" if self._line.host else str(self._line.port)

    @property
    def is_open(self) -> bool:
        return (self._port is not None or self._connection is not None) and not self.fault

    async def open(self) -> None:
        """Raises LineDown with what to look at."""
        await self.close()
        self.fault = ""
        self.heard.clear()
        if self._line.host:
            await self._connect()
        else:
            self._open_port()
        self.last_s = _now_s()

    async def _connect(self) -> None:
        loop, line = asyncio.get_running_loop(), self._line
        try:
            async with asyncio.timeout(max(line.timeout_s, _CONNECT_S)):
                self._connection, _ = await loop.create_connection(lambda: _Ear(self), line.host, int(line.port))
            notice_dead_peer(self._connection)
        except TimeoutError as fault:
            raise LineDown(f"{self.where}: {NO_CONNECTION}") from fault
        except OSError as fault:
            raise LineDown(f"{self.where}: {NO_HOST}") from fault

    def _open_port(self) -> None:
        line, port = self._line, str(self._line.port)
        try:
            self._port = serial.Serial(
                port, line.baud, parity=usable_parity(port, line.parity), stopbits=line.stop_bits,
                timeout=0, write_timeout=0, exclusive=True,
            )  # fmt: skip
        except serial.SerialException as fault:
            raise LineDown(why_port_fails(port)) from fault
        except (ValueError, termios.error) as fault:
            raise LineDown(f"{port}: does not take these settings: {fault}") from fault
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable, self._port)

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            await asyncio.sleep(0)

    def write(self, data: bytes) -> None:
        """Raises LineDown."""
        if not self.is_open:
            raise LineDown(f"{self.where}: {self.fault or 'the line is not open'}")
        self.last_s = _now_s()
        if self._connection is not None:
            self._connection.write(data)
        elif self._port is not None:
            try:
                self._port.write(data)
            except (serial.SerialException, OSError) as fault:
                self.lost(str(fault))
                raise LineDown(f"{self.where}: {fault}") from fault

    async def quiet(self, quiet_s: float, at_most_s: float) -> None:
        """Until nothing was heard or sent for quiet_s; a line that babbles is given up after at_most_s."""
        end_s = _now_s() + at_most_s
        while (wait_s := min(self.last_s + quiet_s, end_s) - _now_s()) > 0:  # noqa: ASYNC110  # a time, not a state
            await asyncio.sleep(wait_s)

    def no_answer(self, who: str, timeout_s: float) -> DeviceSilent | DeviceGarbled:
        """What a time-out means: nothing came, or something that fits no description."""
        if self.heard:
            return DeviceGarbled(f"{who}: no frame that fits within {timeout_s:g} s; came {shown(self.heard)}")
        return DeviceSilent(f"{who}: no answer within {timeout_s:g} s")

    def taken(self, data: bytes) -> None:
        self.last_s = _now_s()
        self.heard += data
        del self.heard[:-_SHOWN]
        self._take(data)

    def lost(self, why: str) -> None:
        if not self.fault:
            self.fault = why
            self._down()

    def hung_up(self, connection: asyncio.BaseTransport, why: str) -> None:
        """A connection ended. One that we closed ourselves is no fault."""
        if connection is self._connection:
            self.lost(why)

    def _readable(self, port: serial.Serial) -> None:
        try:
            data = port.read(4096)
        except serial.SerialException as fault:
            asyncio.get_running_loop().remove_reader(port.fileno())
            self.lost(str(fault))
            return
        self.taken(data)


class _Ear(asyncio.Protocol):
    """Hands on what a TCP connection brings."""

    def __init__(self, line: ByteLine) -> None:
        self._line = line

    def data_received(self, data: bytes) -> None:
        self._line.taken(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.hung_up(self._transport, str(exc) if exc else "the other side closed the connection")


def shown(data: bytes | bytearray) -> str:
    """Bytes for a person: as hex, and as the text that they may be."""
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in data)
    return f"{bytes(data).hex(' ')} '{text}'"


def _now_s() -> float:
    return asyncio.get_running_loop().time()
