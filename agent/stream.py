"""A line on which devices speak when they want: whose frame it is, who is silent, what nobody understands."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Sequence

from agent.driver import Clock, Driver, Frame
from agent.drivers.byte_line import shown
from agent.framed_unit import FrameDriver, FramedUnit
from agent.status import LineStatus
from agent.unit import Poll
from wire.errors import DeviceGarbled, DeviceSilent, FieldError, LineDown

log = logging.getLogger(__name__)

PUZZLED_S = 10.0
"""What came is told when nothing fits for so long, or for the longest usual pause of a device."""


class _Ear:
    """One device and when each of its tables is due."""

    def __init__(self, unit: FramedUnit, now_s: float) -> None:
        self.unit = unit
        self.patience_s = math.inf if unit.device.events else unit.device.period_s + unit.line_timeout_s
        self.heard_s = -math.inf
        self.due_s = [now_s + self.patience_s] * len(unit.tables)
        self.babble_s = 0.0

    def frame(self, frame: Frame, content: str | bytes, now_s: float) -> Poll | None:
        """The poll that a frame is; None when it is not this device's. One that is not wanted fills no table."""
        tables = self.unit.fitting(content)
        if not tables and not self.unit.knows(content):
            return None
        self.heard_s = now_s
        for i in tables:
            self.due_s[i] = now_s + self.patience_s
        return self.unit.said(frame.ts_ms, content, tables) if tables else Poll(self.unit.device.id, frame.ts_ms, ())

    def overdue(self, clock: Clock, now_s: float, sample: bytes) -> Poll | None:
        late = [i for i, due_s in enumerate(self.due_s) if now_s >= due_s]
        if not late:
            return None
        if self.heard_s + self.patience_s > now_s:
            for i in late:
                self.due_s[i] = now_s + self.patience_s
            return self.unit.lacks(clock, late)
        self.due_s = [now_s + self.patience_s] * len(self.due_s)
        fault: FieldError = DeviceSilent(f"no frame for {self.patience_s:g} s")
        if sample:
            fault = DeviceGarbled(f"no frame that fits for {self.patience_s:g} s; came {shown(sample)}")
        return self.unit.missed(clock, now_s, fault)


async def streamed(
    units: Sequence[FramedUnit], driver: Driver, clock: Clock, status: LineStatus
) -> AsyncGenerator[Poll, None]:  # fmt: skip
    """Frames as they come until the line goes down; a device that is silent for longer than usual has missed a poll."""
    loop = asyncio.get_running_loop()
    ears = [_Ear(unit, loop.time()) for unit in units]
    heard = driver.heard if isinstance(driver, FrameDriver) else bytearray()
    puzzled_s = max([PUZZLED_S, *(unit.device.period_s for unit in units if not unit.device.events)])
    puzzled_at_s = loop.time() + puzzled_s
    frames = driver.stream()
    while True:
        frame: Frame | None = None
        try:
            async with asyncio.timeout_at(min(puzzled_at_s, *(min(ear.due_s) for ear in ears))):
                frame = await anext(frames)
        except TimeoutError:
            pass
        except LineDown as fault:
            yield Poll(units[0].device.id, clock(), (), fault=fault)
            return
        now_s = loop.time()
        if frame is not None:
            content = frame.content
            polls = (ear.frame(frame, content, now_s) for ear in ears if content is not None)
            poll = next((p for p in polls if p is not None), None)
            if poll is not None:
                heard.clear()
                puzzled_at_s = now_s + puzzled_s
                yield poll
            else:
                units[0].status.unparsed += 1
                # Whose it was is only sure where one device speaks; told once a period at most.
                if len(ears) == 1 and now_s >= ears[0].babble_s:
                    ears[0].babble_s = now_s + units[0].device.period_s
                    yield units[0].babbled(frame.ts_ms)
        if now_s >= puzzled_at_s:
            puzzled_at_s = math.inf if heard else now_s + puzzled_s
            if heard:
                status.last_error = f"nothing that comes fits a frame; came {shown(heard)}"
                extra = {"line": status.name, "for_s": puzzled_s, "sample": shown(heard)}
                log.warning("nothing that comes fits a frame", extra=extra)
        for ear in ears:
            poll = ear.overdue(clock, now_s, bytes(heard))
            if poll is not None:
                yield poll
