"""The whole edge flow on one screen: poll > decode > score > report."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from random import random
from typing import Protocol

from agent.check import check_line
from agent.command import Desk
from agent.decode import SpanDecoder
from agent.derive import Deriver
from agent.driver import Clock, Memory, NoMemory
from agent.drivers import DRIVERS
from agent.framed_unit import Decoder, FramedUnit
from agent.line import polls
from agent.plan import PlannedSpan
from agent.register_unit import RegisterUnit
from agent.report import Reporter
from agent.score import Scorers
from agent.spec import DeviceSpec, LineSpec
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
    desk: Desk | None = None,
) -> None:
    """Runs until cancelled.

    high_water: (device, tag name) -> the newest stamp told before this start. deriver: of the whole site; None:
    derived tags of this line only. desk: where writes for this line wait.

    Raises ConfigError when the line cannot be planned; an error of the sink passes through.
    """
    field = _Field(line, Stamps(high_water), status, memory or NoMemory())
    deriver = deriver or Deriver([line], high_water)
    driver = DRIVERS[line.driver](line, clock)
    async with aclosing(polls(field.units, driver, clock, status, random, desk)) as happenings:
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
        # Nobody is given up meanwhile, and nobody waited for without end.
        patient = replace(line, silent_polls=cycles + 1, devices=tuple(replace(d, events=False) for d in line.devices))
        field = _Field(patient, Stamps({}), status, memory or NoMemory())
        # Everything is due at the start; what is read rarely is shown that once.
        left = {
            (unit.device.id, period_s): 1 if i else cycles
            for unit in field.units
            for i, period_s in enumerate(unit.periods_s)
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
        self._reporters: dict[TagTable, Reporter] = {}
        self._decoders: dict[TagTable, SpanDecoder | Decoder] = {}
        self.units = [self._unit(device, line, status, memory) for device in line.devices]

    def _unit(self, device: DeviceSpec, line: LineSpec, status: LineStatus, memory: Memory) -> Unit:
        if line.driver.startswith("modbus"):
            unit = RegisterUnit(device, line, status, memory)
            for planned in unit.spans:
                self._adopt(planned)
            return unit
        framed = FramedUnit(device, line, status)
        for table, decoder in zip(framed.frame_tables, framed.decoders, strict=True):
            self._decoders[table.tags] = decoder
            self._reporters[table.tags] = Reporter(table.points, table.tags)
        return framed

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
        if isinstance(decoder, SpanDecoder):
            if content is not None and not isinstance(content, (str, bytes)):
                return decoder.block(ts_ms, content)
        elif isinstance(content, (str, bytes)):
            return decoder.block(ts_ms, content)
        return Block.bad(ts_ms, reading.tags, reading.reason)
