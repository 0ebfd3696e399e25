"""One device on a line: counts, and says when it is lost and when it is back. What it is asked stands in its kind."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass

from agent.breaker import Breaker
from agent.driver import Clock, Driver, WordArray
from agent.load import fault_s
from agent.plan import PlannedSpan
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from wire.block import Reason
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, FieldError, LineDown
from wire.tag import TagTable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came for one TagTable: words of a Span, the content of a frame, or None with the reason.

    planned: the request of that table, where it was one.
    """

    ts_ms: int
    tags: TagTable
    content: WordArray | str | bytes | None
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


class Unit(ABC):
    """One device with its breaker and its counters.

    periods_s: what it is asked at. streams: it speaks by itself. fault_s: how long its silence holds up the line.
    """

    def __init__(self, device: DeviceSpec, line: LineSpec, status: LineStatus) -> None:
        self.device = device
        self._line = status
        self.line_timeout_s = line.timeout_s
        self.fault_s = fault_s(line)
        self.status = status.unit(device.id)
        self.breaker = Breaker(line.silent_polls, line.probe_s)
        self.periods_s: list[float] = [device.period_s]
        self.streams = False

    @property
    def lost(self) -> bool:
        return self.breaker.open

    @property
    def probe_s(self) -> float:
        return self.breaker.probe_s

    @abstractmethod
    def wire_s(self, period_s: float) -> float:
        """About how long one poll of what is due every period_s takes, in seconds."""

    @abstractmethod
    async def ask(self, driver: Driver, clock: Clock, now_s: float, period_s: float) -> Poll:
        """One poll of what is due every period_s."""

    @abstractmethod
    def _everything(self, ts_ms: int, reason: Reason) -> list[Reading]:
        """No value of any tag."""

    def missed(self, clock: Clock, now_s: float, fault: FieldError) -> Poll:
        """Nothing was heard from it, and why."""
        reason = self._count(fault)
        return self._failed(self._everything(clock(), reason), clock(), now_s, None)

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
