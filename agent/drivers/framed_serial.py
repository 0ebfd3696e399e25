"""Serial devices whose frames are described in site.yaml: they speak by themselves, or when they are asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from agent.driver import Answer, Clock, Frame, Span
from agent.drivers.byte_line import ByteLine
from agent.frame_spec import FrameSpec
from agent.framer import Content, framer
from agent.spec import LineSpec
from wire.errors import LineDown

_WAITING_FRAMES = 1000
"""Frames kept for a reader that is busy; the oldest goes first. 115,200 baud bring about 500 lines a second."""

_OWED_TIMEOUTS = 5
"""How many time-outs long the answer of another device may come late and be taken for this one's."""


class FramedSerialDriver:
    """One line of framed devices; all of them share the layout of a frame."""

    def __init__(self, line: LineSpec, clock: Clock) -> None:
        self._spec = line
        self._clock = clock
        self._layout = next((d.frame for d in line.devices if d.frame is not None), FrameSpec())
        self._line = ByteLine(line, self._take, self._wake)
        self._framer = framer(self._layout)
        self._frames: deque[Frame] = deque(maxlen=_WAITING_FRAMES)
        self._news = asyncio.Event()
        self._given_up: asyncio.TimerHandle | None = None
        # Who has not answered: until when an answer of it may still come, and how it would read.
        self._owed: dict[str, tuple[float, Callable[[Content], bool]]] = {}
        self.late = 0

    @property
    def is_open(self) -> bool:
        return self._line.is_open

    @property
    def heard(self) -> bytearray:
        """The newest bytes since somebody cleared it: a sample of what nobody understands."""
        return self._line.heard

    async def open(self) -> None:
        """Raises LineDown with what to look at."""
        self._begin(asked=False)
        await self._line.open()

    async def close(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
        await self._line.close()

    async def read(self, unit_id: int, span: Span) -> Answer:
        raise LineDown(f"{self._line.where}: devices with frames are not asked for registers")

    async def query(self, who: str, request: bytes, fits: Callable[[Content], bool]) -> Frame:
        """One request, and the first frame that fits. Raises LineDown, DeviceSilent, DeviceGarbled.

        A frame that may as well be the late answer of another device is not taken.
        """
        line, spec = self._line, self._spec
        now_s = asyncio.get_running_loop().time()
        self._owed = {w: owed for w, owed in self._owed.items() if w != who and owed[0] > now_s}
        await line.quiet(max(spec.gap_s, 0.0), spec.timeout_s)
        self.late += sum(frame.content is not None for frame in self._frames)
        self._begin(asked=True)
        line.heard.clear()
        line.write(request)
        # Whoever ends this wait early leaves an answer behind that may still come.
        self._owed[who] = (asyncio.get_running_loop().time() + (1 + _OWED_TIMEOUTS) * spec.timeout_s, fits)
        try:
            async with asyncio.timeout(spec.timeout_s):
                while True:
                    frame = await anext(self)
                    content = frame.content
                    others = (fits_other for w, (_, fits_other) in self._owed.items() if w != who)
                    if content is not None and fits(content) and not any(other(content) for other in others):
                        del self._owed[who]
                        return frame
                    self.late += content is not None
        except TimeoutError:
            fault = line.no_answer(who, spec.timeout_s)
            await line.quiet(spec.quiet_s, 5 * spec.quiet_s + spec.timeout_s)
            raise fault from None

    def stream(self) -> AsyncIterator[Frame]:
        return self

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if not self.is_open:
                await self.close()
                raise LineDown(f"{self._line.where}: {self._line.fault or 'the line is not open'}")
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    def _begin(self, asked: bool) -> None:
        self._framer = framer(self._layout, asked)
        self._frames.clear()
        self._news.clear()

    def _take(self, data: bytes) -> None:
        self._keep(self._framer.split(data))
        if self._given_up is not None:
            self._given_up.cancel()
        # A frame that has begun and does not go on hides the whole one that may lie in what came.
        loop = asyncio.get_running_loop()
        self._given_up = loop.call_later(self._spec.timeout_s / 2, lambda: self._keep(self._framer.give_up()))

    def _keep(self, contents: list[Content | None]) -> None:
        ts_ms = self._clock()
        self._frames.extend(Frame(ts_ms, content) for content in contents)
        if self._frames:
            self._news.set()

    def _wake(self) -> None:
        self._news.set()
