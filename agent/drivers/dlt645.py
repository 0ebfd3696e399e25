"""Electricity meters with DL/T 645-2007 on one line: a data item asked, its bytes answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from agent.dlt645 import ANSWER, FOLLOWS, READ, READ_MORE, REFUSED, Dlt645Framer, Heard, meter_address, read_request
from agent.driver import Answer, Clock, Frame, Span
from agent.drivers.byte_line import ByteLine
from agent.spec import LineSpec
from wire.errors import DeviceGarbled, DeviceRefused, LineDown

_MOST_FRAMES = 64  # of one item; the longest load record is far shorter


class Dlt645Driver:
    """One line of meters. An answer is taken only from the meter, and for the item, that was asked."""

    def __init__(self, line: LineSpec, clock: Clock) -> None:
        self._spec = line
        self._clock = clock
        self._line = ByteLine(line, self._take, self._wake)
        self._framer = Dlt645Framer()
        self._frames: deque[tuple[int, Heard]] = deque(maxlen=100)
        self._news = asyncio.Event()
        self.late = 0

    @property
    def is_open(self) -> bool:
        return self._line.is_open

    @property
    def heard(self) -> bytearray:
        return self._line.heard

    async def open(self) -> None:
        self._framer, self._frames = Dlt645Framer(), deque(maxlen=100)
        await self._line.open()

    async def close(self) -> None:
        await self._line.close()

    async def read(self, unit_id: int, span: Span) -> Answer:
        raise LineDown(f"{self._line.where}: a dlt645 meter has items, no registers")

    def stream(self) -> AsyncIterator[Frame]:
        raise LineDown(f"{self._line.where}: dlt645 meters are asked, they do not stream")

    async def fetch(self, meter: str, data_id: int) -> Frame:
        """The bytes of an item, following frames joined.

        Raises LineDown, DeviceSilent, DeviceGarbled, DeviceRefused.
        """
        address = meter_address(meter)
        if address is None:
            raise DeviceGarbled(f"{meter!r} is no meter address")
        content = b""
        for follow in range(_MOST_FRAMES):
            ts_ms, heard = await self._exchange(meter, address, data_id, follow)
            body = heard.data[4:]
            if follow:  # the number of the frame stands behind its data
                body = body[:-1]
            content += body
            if not heard.control & FOLLOWS:
                return Frame(ts_ms, content)
        raise DeviceGarbled(f"meter {meter}: item {data_id:08x} has no end")

    async def _exchange(self, meter: str, address: bytes, data_id: int, follow: int) -> tuple[int, Heard]:
        line, spec = self._line, self._spec
        await line.quiet(spec.gap_s, spec.timeout_s)
        self.late += sum(bool(heard.control & ANSWER) for _, heard in self._frames)
        self._framer, self._frames = Dlt645Framer(), deque(maxlen=100)
        line.heard.clear()
        line.write(read_request(address, data_id, follow))
        try:
            async with asyncio.timeout(spec.timeout_s):
                while True:
                    ts_ms, heard = await self._next()
                    if heard.address == address and heard.control & ANSWER and self._answers(heard, data_id, follow):
                        break
                    self.late += bool(heard.control & ANSWER)  # without it, it is the echo of our request
        except TimeoutError:
            fault = line.no_answer(f"meter {meter}", spec.timeout_s)
            await line.quiet(spec.quiet_s, 5 * spec.quiet_s + spec.timeout_s)
            raise fault from None
        if heard.control & REFUSED:
            code = heard.data[0] if heard.data else 0
            raise DeviceRefused(f"meter {meter}: refused item {data_id:08x}: {heard.error}", code)
        return ts_ms, heard

    @staticmethod
    def _answers(heard: Heard, data_id: int, follow: int) -> bool:
        if heard.control & 0x1F != (READ_MORE if follow else READ):
            return False
        if heard.control & REFUSED:
            return True
        numbered = not follow or heard.data[-1:] == bytes([follow])
        return heard.data[:4] == data_id.to_bytes(4, "little") and numbered

    async def _next(self) -> tuple[int, Heard]:
        while not self._frames:
            if not self.is_open:
                await self.close()
                raise LineDown(f"{self._line.where}: {self._line.fault or 'the line is not open'}")
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    def _take(self, data: bytes) -> None:
        found = self._framer.split(data)
        if found:
            ts_ms = self._clock()
            self._frames.extend((ts_ms, heard) for heard in found)
            self._news.set()

    def _wake(self) -> None:
        self._news.set()
