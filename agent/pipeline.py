"""The whole edge flow on one screen: poll > decode > score > report."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from random import random
from typing import Protocol

from agent.decode import SpanDecoder
from agent.decode_text import FrameDecoder
from agent.derive import Deriver
from agent.driver import Clock, Memory, NoMemory
from agent.drivers import DRIVERS
from agent.line import polls
from agent.plan import PlannedSpan, check_line
from agent.report import Reporter
from agent.score import Scorers
from agent.spec import LineSpec
from agent.stamps import Stamps
from agent.status import LineStatus
from agent.unit import Reading, Unit
from wire.block import Block
from wire.tag import TagTable


@dataclass(frozen=True, slots=True)
class Taken:
    """What one poll (or one frame) gave. suppressed: device -> samples held back by report by exception."""

    line: str
    polled_ms: int
    blocks: tuple[Block, ...]
    suppressed: Mapping[str, int]


class Sink(Protocol):
    """Where Taken go. append never blocks long; it is also called when everything was suppressed."""

    async def append(self, taken: Taken) -> None: ...

    async def device_state(self, device: str, alive: bool) -> None:
        """A device was lost, or came back. Not called while nothing changes: a device counts as alive at start."""
        ...


async def run_line(
    line: LineSpec,
    sink: Sink,
    clock: Clock,
    high_water: Mapping[tuple[str, str], int],
    scorers: Scorers,
    status: LineStatus,
    memory: Memory | None = None,
    deriver: Deriver | None = None,
) -> None:
    """Runs until cancelled. high_water: (device, tag name) -> the newest stamp told before this start.

    deriver: of the whole site; None: derived tags of this line only.

    Raises ConfigError when the line cannot be planned; an error of the sink passes through.
    """
    field = _Field(line, Stamps(high_water), status, memory or NoMemory())
    deriver = deriver or Deriver([line], high_water)
    async with aclosing(polls(field.units, DRIVERS[line.driver](line, clock), clock, status, random)) as happenings:
        async for poll in happenings:
            if poll.back:
                await sink.device_state(poll.device, True)
            told: list[Block] = []
            held: Counter[str] = Counter()
            polled_ms = poll.ts_ms
            for reading in poll.readings:
                block = field.decode(reading)
                polled_ms = max(polled_ms, block.ts_ms)
                kept, suppressed = field.reporter(reading).worth_telling(block)
                told += [] if kept is None else [kept]
                derived = deriver.derive(block)
                told += derived.told
                for each in (block, *derived.blocks):
                    told += [field.stamps.risen(score) for score in scorers.score(each)]
                held.update({poll.device: suppressed} if suppressed else {})
                held.update(derived.suppressed)
            await sink.append(Taken(line.name, polled_ms, tuple(told), held))
            if poll.lost:
                await sink.device_state(poll.device, False)


async def read_cycles(
    lines: Sequence[LineSpec], cycles: int, clock: Clock, memory: Memory | None = None
) -> AsyncGenerator[tuple[LineSpec, Block], None]:
    """Every device's Blocks of so many polls, unfiltered and unscored; ends by itself. For `gateway read`."""
    deriver = Deriver(lines, {})
    for line in lines:
        status = LineStatus()
        field = _Field(replace(line, silent_polls=cycles + 1), Stamps({}), status, memory or NoMemory())
        # Nobody is given up meanwhile. Everything is due at the start; what is read rarely is shown that once.
        left = {
            (unit.device.id, period_s): 1 if i else cycles
            for unit in field.units
            for i, period_s in enumerate(unit.periods_s or [0.0])
        }
        async with aclosing(polls(field.units, DRIVERS[line.driver](line, clock), clock, status, random)) as happenings:
            async for poll in happenings:
                due = [key for key in left if key[0] == poll.device and poll.period_s in (None, key[1]) and left[key]]
                if poll.readings and due:
                    for key in due:
                        left[key] -= 1
                    for reading in poll.readings:
                        block = field.decode(reading)
                        for each in (block, *deriver.derive(block).blocks):
                            yield line, each
                if not any(left.values()):
                    break


class _Field:
    """What a line needs at every poll, made once."""

    def __init__(self, line: LineSpec, stamps: Stamps, status: LineStatus, memory: Memory) -> None:
        check_line(line)
        status.name = line.name
        self.stamps = stamps
        self.units = [Unit(device, line, status, memory) for device in line.devices]
        self._reporters: dict[TagTable, Reporter] = {}
        self._decoders: dict[TagTable, SpanDecoder | FrameDecoder] = {}
        for unit in self.units:
            for planned in unit.spans:
                self._adopt(planned)
            if not unit.spans:
                self._decoders[unit.tables[0]] = FrameDecoder(unit.device, unit.tables[0])
                self._reporters[unit.tables[0]] = Reporter(unit.device.points, unit.tables[0])

    def _adopt(self, planned: PlannedSpan) -> None:
        self._decoders[planned.tags] = SpanDecoder(planned)
        self._reporters[planned.tags] = Reporter(planned.points, planned.tags)

    def reporter(self, reading: Reading) -> Reporter:
        return self._reporters[reading.tags]

    def decode(self, reading: Reading) -> Block:
        """A Block whose stamp is above all earlier ones of its tags."""
        ts_ms = self.stamps.rising(reading.tags, reading.ts_ms)
        if reading.planned is not None and reading.tags not in self._decoders:  # a refusal has changed the plan
            self._adopt(reading.planned)
        decoder, content = self._decoders[reading.tags], reading.content
        if isinstance(decoder, SpanDecoder) and content is not None and not isinstance(content, str):
            return decoder.block(ts_ms, content)
        if isinstance(decoder, FrameDecoder) and isinstance(content, str):
            return decoder.block(ts_ms, content)
        return Block.bad(ts_ms, reading.tags, reading.reason)
