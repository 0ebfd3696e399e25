"""One device on a line: asks it, counts, and says when it is lost and when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace

from agent.breaker import Breaker
from agent.driver import Clock, Driver, Memory, WordArray
from agent.learn import TEACHING, Learner
from agent.plan import PlannedSpan, plan_frame
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from agent.wire_time import wire_time
from wire.block import Reason
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, FieldError, LineDown
from wire.tag import TagTable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came for one TagTable: words of a Span, the text of a frame, or None with the reason.

    planned: the request of that table, where it was one.
    """

    ts_ms: int
    tags: TagTable
    content: WordArray | str | None
    reason: Reason = Reason.NONE
    planned: PlannedSpan | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll of a device, or one frame. back: it had been lost. lost: it is lost from now on.

    fault: the line itself went down during the poll. period_s: what it was due for; None where a device only talks.
    """

    device: str
    ts_ms: int
    readings: tuple[Reading, ...]
    answered: bool = False
    back: bool = False
    lost: bool = False
    fault: LineDown | None = None
    period_s: float | None = None


class Unit:
    """One device with its plan, its breaker and its counters."""

    def __init__(self, device: DeviceSpec, line: LineSpec, status: LineStatus, memory: Memory) -> None:
        """Raises ConfigError when the device cannot be planned."""
        self.device = device
        self._line = status
        self.line_timeout_s = line.timeout_s
        self.status = status.unit(device.id)
        self.breaker = Breaker(line.silent_polls, line.probe_s)
        self._learner: Learner | None = None
        self._memory, self._place = memory, place_of(line, device)
        if line.driver == "serial-text":
            self._frame: tuple[TagTable, ...] = (plan_frame(device),)
        else:
            self._learner = Learner(device, wire_time(line), memory.illegal(device.id, self._place))
            self.status.illegal = [str(i) for i in self._learner.learned]
        self.periods_s = sorted({s.period_s for s in self.spans})

    @property
    def spans(self) -> tuple[PlannedSpan, ...]:
        """The requests as planned now; refusals may change them."""
        return () if self._learner is None else self._learner.spans

    @property
    def tables(self) -> tuple[TagTable, ...]:
        return self._frame if self._learner is None else tuple(s.tags for s in self.spans)

    async def ask(self, driver: Driver, clock: Clock, now_s: float, period_s: float) -> Poll:
        """One poll of what is due every period_s.

        After a silence the rest of the poll is not asked: it would only cost the neighbours time. A refused request
        is halved and asked at once, as long as that takes no longer than one time-out would.
        """
        self.status.polls += 1
        self._line.polls += 1
        readings: list[Reading] = []
        answered = in_vain = False
        left = self._due(period_s)
        while left:
            planned = left.popleft()
            known = self._learner is not None and self._learner.knows(planned)
            if known and in_vain:  # one a poll is enough to see whether the device has changed
                readings.append(Reading(clock(), planned.tags, None, Reason.REFUSED, planned))
                continue
            try:
                answer = await driver.read(self.device.unit_id, planned.span)
            except DeviceRefused as fault:
                answered = True
                in_vain = in_vain or known
                self._count(fault)
                halves = self._learner.refused(planned) if self._learner and fault.code in TEACHING else None
                if halves is not None and asyncio.get_running_loop().time() - now_s < self.line_timeout_s:
                    left.extendleft(reversed(halves))
                else:
                    readings.append(Reading(clock(), planned.tags, None, Reason.REFUSED, planned))
            except (DeviceSilent, DeviceGarbled, LineDown) as fault:
                reason = self._count(fault)
                readings += [Reading(clock(), p.tags, None, reason, p) for p in (planned, *left)]
                down = fault if isinstance(fault, LineDown) else None
                self._remember()
                return replace(self._failed(readings, clock(), now_s, down), period_s=period_s)
            else:
                answered = True
                if self._learner is not None:
                    self._learner.answered(planned)
                readings.append(Reading(answer.ts_ms, planned.tags, answer.words, planned=planned))
        self._remember()
        return replace(self._answered(readings, answered), period_s=period_s)

    def _due(self, period_s: float) -> deque[PlannedSpan]:
        """What to ask now: last what is known to be refused, each time another one of those first."""
        due = [s for s in self.spans if s.period_s == period_s]
        known = deque(s for s in due if self._learner is not None and self._learner.knows(s))
        known.rotate(-self.status.polls)
        return deque([*(s for s in due if s not in known), *known])

    def _remember(self) -> None:
        """Keeps what refusals taught, if they did."""
        if self._learner is None or not self._learner.news:
            return
        self._learner.news = False
        known = [str(i) for i in self._learner.learned]
        new = [i for i in known if i not in self.status.illegal]
        extra = {"line": self._line.name, "device": self.device.id, "new": ", ".join(new), "known": len(known)}
        log.warning("illegal addresses learned", extra=extra)
        self.status.illegal = known
        self._memory.learned(self.device.id, self._place, self._learner.learned)

    def missed(self, clock: Clock, now_s: float, fault: FieldError) -> Poll:
        """Nothing was heard from it, and why."""
        reason = self._count(fault)
        return self._failed(self._everything(clock(), reason), clock(), now_s, None)

    def spoke(self, ts_ms: int, text: str) -> Poll:
        """A frame of it came."""
        self.status.polls += 1
        self._line.polls += 1
        return self._answered([Reading(ts_ms, self.tables[0], text)], True)

    def babbled(self, ts_ms: int) -> Poll:
        """Something came that fits no description. It proves neither life nor death."""
        readings = () if self.breaker.open else (Reading(ts_ms, self.tables[0], None, Reason.UNPARSED),)
        return Poll(self.device.id, ts_ms, readings)

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

    def _everything(self, ts_ms: int, reason: Reason) -> list[Reading]:
        """No value of any tag."""
        if self._learner is None:
            return [Reading(ts_ms, tags, None, reason) for tags in self._frame]
        return [Reading(ts_ms, p.tags, None, reason, p) for p in self.spans]

    def _failed(self, readings: list[Reading], ts_ms: int, now_s: float, fault: LineDown | None) -> Poll:
        was_open = self.breaker.open
        lost = self.breaker.failed(now_s)
        self.status.state = "dead" if self.breaker.open else "silent"
        if was_open:
            return Poll(self.device.id, ts_ms, (), fault=fault)
        if lost:
            last_word = self._everything(ts_ms, Reason.DEVICE_DEAD)
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


def place_of(line: LineSpec, device: DeviceSpec) -> str:
    """Where a device is asked: what is learned of it holds there."""
    return f"{line.host + ':' if line.by_socket else ''}{line.port}/{device.unit_id}"
