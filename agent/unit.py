"""One device on a line: asks it, counts, and says when it is lost and when it is back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from agent.breaker import Breaker
from agent.driver import Clock, Driver, WordArray
from agent.plan import PlannedSpan, plan_device
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from wire.block import Reason
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, FieldError, LineDown
from wire.tag import TagTable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came for one TagTable: words of a Span, the content of a frame, or None with the reason."""

    ts_ms: int
    tags: TagTable
    content: WordArray | str | bytes | None
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll of a device, or one frame. back: it had been lost. lost: it is lost from now on.

    fault: the line itself went down during the poll.
    """

    device: str
    ts_ms: int
    readings: tuple[Reading, ...]
    answered: bool = False
    back: bool = False
    lost: bool = False
    fault: LineDown | None = None


class Unit:
    """One device with its plan, its breaker and its counters."""

    def __init__(self, device: DeviceSpec, line: LineSpec, status: LineStatus) -> None:
        """Raises ConfigError when the device cannot be planned."""
        self.device = device
        self._line = status
        self.line_timeout_s = line.timeout_s
        self.status = status.unit(device.id)
        self.breaker = Breaker(line.silent_polls, line.probe_s)
        self.streams = False
        self.spans: tuple[PlannedSpan, ...] = ()
        self.tables: tuple[TagTable, ...] = ()
        if line.driver.startswith("modbus"):
            self.spans = plan_device(device)
            self.tables = tuple(s.tags for s in self.spans)

    async def ask(self, driver: Driver, clock: Clock, now_s: float) -> Poll:
        """One poll. After a silence the rest of the poll is not asked: it would only cost the neighbours time."""
        self.status.polls += 1
        self._line.polls += 1
        readings: list[Reading] = []
        answered = False
        for planned in self.spans:
            try:
                answer = await driver.read(self.device.unit_id, planned.span)
            except DeviceRefused as fault:
                answered = True
                self._count(fault)
                readings.append(Reading(clock(), planned.tags, None, Reason.REFUSED))
            except (DeviceSilent, DeviceGarbled, LineDown) as fault:
                reason = self._count(fault)
                rest = self._without(readings)
                readings += [Reading(clock(), tags, None, reason) for tags in rest]
                down = fault if isinstance(fault, LineDown) else None
                return self._failed(readings, clock(), now_s, down)
            else:
                answered = True
                readings.append(Reading(answer.ts_ms, planned.tags, answer.words))
        return self._answered(readings, answered)

    def missed(self, clock: Clock, now_s: float, fault: FieldError) -> Poll:
        """Nothing was heard from it, and why."""
        reason = self._count(fault)
        readings = [Reading(clock(), tags, None, reason) for tags in self.tables]
        return self._failed(readings, clock(), now_s, None)

    def _without(self, readings: Iterable[Reading]) -> list[TagTable]:
        had = {id(r.tags) for r in readings}
        return [tags for tags in self.tables if id(tags) not in had]

    def _answered(self, readings: list[Reading], answered: bool) -> Poll:
        back = self.breaker.answered()
        self.status.answers += 1
        self._line.answers += 1
        ts_ms = readings[-1].ts_ms
        self.status.last_answer_ms = ts_ms
        self.status.state = "answering"
        if back:
            log.warning("device is back", extra={"line": self._line.name, "device": self.device.id})
        return Poll(self.device.id, ts_ms, tuple(readings), answered, back=back)

    def _failed(self, readings: list[Reading], ts_ms: int, now_s: float, fault: LineDown | None) -> Poll:
        was_open = self.breaker.open
        lost = self.breaker.failed(now_s)
        self.status.state = "dead" if self.breaker.open else "silent"
        if was_open:
            return Poll(self.device.id, ts_ms, (), fault=fault)
        if lost:
            last_word = [Reading(ts_ms, tags, None, Reason.DEVICE_DEAD) for tags in self.tables]
            # What was answered in this poll stays; the last word comes after it.
            readings = [*(r for r in readings if r.content is not None), *last_word]
            extra = {"line": self._line.name, "device": self.device.id, "error": self.status.last_error}
            log.warning("device is lost", extra=extra)
        return Poll(self.device.id, ts_ms, tuple(readings), lost=lost, fault=fault)

    def _count(self, fault: FieldError) -> Reason:
        self.status.last_error = self._line.last_error = str(fault)
        match fault:
            case DeviceSilent():
                self.status.timeouts += 1
                self._line.timeouts += 1
                return Reason.TIMEOUT
            case DeviceRefused():
                self.status.refused += 1
                self._line.refused += 1
                return Reason.REFUSED
            case DeviceGarbled():
                self.status.garbled += 1
                self._line.garbled += 1
                return Reason.GARBLED
            case _:
                return Reason.LINE_DOWN
