"""Serial devices that send text lines by themselves: bytes of a port cut at a delimiter."""

from __future__ import annotations

import asyncio
import termios
from collections import deque
from collections.abc import AsyncIterator

import serial

from agent.driver import Answer, Clock, Frame, Span
from agent.drivers.ports import usable_parity, why_port_fails
from agent.spec import FrameSpec, LineSpec
from wire.errors import LineDown

_WAITING_FRAMES = 1000
"""Frames kept for a reader that is busy; the oldest goes first. 115,200 baud bring about 500 lines a second."""


class Splitter:
    """Bytes -> frames. What stands before the first delimiter is half a line and is not looked at."""

    def __init__(self, frame: FrameSpec) -> None:
        self._delimiter = frame.delimiter.encode(frame.encoding)
        self._encoding = frame.encoding
        self._max_length = frame.max_length
        self._rest = b""
        self._skipping = True  # until the next delimiter
        self.overlong = 0

    def split(self, data: bytes) -> list[str | None]:
        """The frames that end in data; None for one that is overlong or no text. Empty ones are left out."""
        *whole, self._rest = (self._rest + data).split(self._delimiter)
        frames: list[str | None] = []
        for line in whole:
            if self._skipping:
                self._skipping = False
            elif line:
                frames.append(self._text(line))
        # A delimiter may lie half in what came and half in what comes.
        if len(self._rest) > self._max_length:
            if not self._skipping:
                self.overlong += 1
                frames.append(None)
            self._skipping = True
            self._rest = self._rest[-len(self._delimiter) :]
        return frames

    def _text(self, line: bytes) -> str | None:
        if len(line) > self._max_length:
            self.overlong += 1
            return None
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            return None


class FramedSerialDriver:
    """One serial port on which devices speak when they want."""

    late = 0

    def __init__(self, line: LineSpec, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._frame = next(d.frame for d in line.devices if d.frame is not None)
        self._port: serial.Serial | None = None
        self._splitter = Splitter(self._frame)
        self._frames: deque[Frame] = deque(maxlen=_WAITING_FRAMES)
        self._news = asyncio.Event()
        self._down = ""

    @property
    def is_open(self) -> bool:
        return self._port is not None and not self._down

    async def open(self) -> None:
        """Raises LineDown with what to look at."""
        await self.close()
        line, port = self._line, str(self._line.port)
        try:
            self._port = serial.Serial(
                port, line.baud, parity=usable_parity(port, line.parity), stopbits=line.stop_bits,
                timeout=0, exclusive=True,
            )  # fmt: skip
        except serial.SerialException as fault:
            raise LineDown(why_port_fails(port)) from fault
        except (ValueError, termios.error) as fault:
            raise LineDown(f"{port}: does not take these settings: {fault}") from fault
        self._splitter = Splitter(self._frame)
        self._frames.clear()
        self._news.clear()
        self._down = ""
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable, self._port)

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()

    async def read(self, unit_id: int, span: Span) -> Answer:
        raise LineDown(f"{self._line.port}: devices of a text line are not asked, they stream")

    def stream(self) -> AsyncIterator[Frame]:
        return self

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if not self.is_open:
                await self.close()
                raise LineDown(f"{self._line.port}: {self._down or 'the port is not open'}")
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    def _readable(self, port: serial.Serial) -> None:
        try:
            data = port.read(4096)
        except serial.SerialException as fault:
            self._down = str(fault)
            asyncio.get_running_loop().remove_reader(port.fileno())
            self._news.set()
            return
        ts_ms = self._clock()
        for text in self._splitter.split(data):
            self._frames.append(Frame(ts_ms, text))
        if self._frames:
            self._news.set()
