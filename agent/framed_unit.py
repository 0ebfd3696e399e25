"""One device whose frames, or items, are not registers: asked with a request, or listened to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from agent.decode_frame import FrameDecoder, frame_decoder
from agent.dlt645 import ITEMS, ItemDecoder
from agent.driver import Clock, Driver, Frame
from agent.frame_time import exchanges
from agent.frames import FrameTable, frame_tables
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from agent.unit import Poll, Reading, Unit
from wire.block import Block, Reason
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, LineDown


@runtime_checkable
class FrameDriver(Driver, Protocol):
    """A line of framed devices. heard: the newest bytes since it was cleared."""

    @property
    def heard(self) -> bytearray: ...

    async def query(self, who: str, request: bytes, fits: Callable[[str | bytes], bool]) -> Frame: ...


@runtime_checkable
class MeterDriver(Driver, Protocol):
    """A line of electricity meters."""

    async def fetch(self, meter: str, data_id: int) -> Frame: ...


class Decoder(Protocol):
    def block(self, ts_ms: int, content: str | bytes) -> Block: ...


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked at a poll, and the tables that its answer may fill."""

    put: Callable[[Driver], Awaitable[Frame]]
    tables: tuple[int, ...]


class FramedUnit(Unit):
    """tables, frame_tables and decoders stand in one order."""

    def __init__(self, device: DeviceSpec, line: LineSpec, status: LineStatus) -> None:
        super().__init__(device, line, status)
        self.frame_tables: tuple[FrameTable, ...] = frame_tables(device, line.driver)
        self.tables = tuple(t.tags for t in self.frame_tables)
        self.frame_decoders: tuple[FrameDecoder, ...] = ()
        self._questions: tuple[_Question, ...] = ()
        if device.frame is not None:
            self.frame_decoders = tuple(frame_decoder(device.frame, t) for t in self.frame_tables)
            self.decoders: tuple[Decoder, ...] = self.frame_decoders
            if device.request:
                everything = tuple(range(len(self.tables)))
                self._questions = (_Question(self._query, everything),)
        else:
            self.decoders = tuple(ItemDecoder(t.points, t.tags) for t in self.frame_tables)
            items = [ITEMS[t.points[0].field] for t in self.frame_tables]
            self._questions = tuple(_Question(partial(self._fetch, item.data_id), (i,)) for i, item in enumerate(items))
        self.streams = not self._questions
        self._wire_s = sum(e.least_s for e in exchanges(line, device))

    def wire_s(self, period_s: float) -> float:
        return self._wire_s

    def fitting(self, content: str | bytes) -> Sequence[int]:
        """The tables that a frame fills; none when it is not this device's, or holds nothing that is wanted."""
        return [i for i, decoder in enumerate(self.frame_decoders) if decoder.fits(content)]

    def knows(self, content: str | bytes) -> bool:
        """True when a frame is described as this device's, be it wanted or not."""
        return self.frame_decoders[0].known(content)

    async def ask(self, driver: Driver, clock: Clock, now_s: float, period_s: float) -> Poll:
        """One poll; as of registers, the rest is not asked after a silence."""
        self.status.polls += 1
        self._line.polls += 1
        readings: list[Reading] = []
        answered = False
        for question in self._questions:
            try:
                frame = await question.put(driver)
            except DeviceRefused as fault:
                answered = True
                self._count(fault)
                readings += [Reading(clock(), self.tables[i], None, Reason.REFUSED) for i in question.tables]
            except (DeviceSilent, DeviceGarbled, LineDown) as fault:
                reason = self._count(fault)
                had = {id(r.tags) for r in readings}
                readings += [r for r in self._everything(clock(), reason) if id(r.tags) not in had]
                down = fault if isinstance(fault, LineDown) else None
                return self._failed(readings, clock(), now_s, down)
            else:
                answered = True
                readings += [Reading(frame.ts_ms, self.tables[i], frame.content) for i in question.tables]
        return self._answered(readings, answered)

    def _everything(self, ts_ms: int, reason: Reason) -> list[Reading]:
        return [Reading(ts_ms, tags, None, reason) for tags in self.tables]

    async def _query(self, driver: Driver) -> Frame:
        if not isinstance(driver, FrameDriver):
            raise TypeError(f"{type(driver).__name__} cannot ask for frames")
        return await driver.query(f"device {self.device.id}", self.device.request, lambda c: bool(self.fitting(c)))

    async def _fetch(self, data_id: int, driver: Driver) -> Frame:
        if not isinstance(driver, MeterDriver):
            raise TypeError(f"{type(driver).__name__} cannot ask for items")
        return await driver.fetch(self.device.meter, data_id)

    def said(self, ts_ms: int, content: str | bytes, tables: Sequence[int]) -> Poll:
        """A frame of it came by itself."""
        self.status.polls += 1
        self._line.polls += 1
        return self._answered([Reading(ts_ms, self.tables[i], content) for i in tables], True)

    def lacks(self, clock: Clock, tables: Sequence[int]) -> Poll:
        """It speaks, but some of its frames have not come for longer than usual."""
        self._count(DeviceSilent(f"device {self.device.id}: no {_named(self.frame_tables, tables)} for too long"))
        ts_ms = clock()
        readings = tuple(Reading(ts_ms, self.tables[i], None, Reason.TIMEOUT) for i in tables)
        return Poll(self.device.id, ts_ms, readings)

    def babbled(self, ts_ms: int) -> Poll:
        """Something came that fits no description. It proves neither life nor death."""
        if self.breaker.open or self.device.events:
            return Poll(self.device.id, ts_ms, ())
        return Poll(self.device.id, ts_ms, tuple(Reading(ts_ms, t, None, Reason.UNPARSED) for t in self.tables))


def _named(tables: Sequence[FrameTable], wanted: Sequence[int]) -> str:
    return ", ".join(tables[i].points[0].tag.name for i in wanted)
