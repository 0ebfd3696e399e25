"""One Modbus device on a line: asked for its Spans, which its refusals may change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import replace

from agent.driver import Clock, Driver, Memory
from agent.learn import TEACHING, Learner
from agent.plan import PlannedSpan
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from agent.unit import Poll, Reading, Unit
from agent.wire_time import wire_time
from wire.block import Reason
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, LineDown
from wire.tag import TagTable

log = logging.getLogger(__name__)


class RegisterUnit(Unit):
    """One device with its plan."""

    def __init__(self, device: DeviceSpec, line: LineSpec, status: LineStatus, memory: Memory) -> None:
        """Raises ConfigError when the device cannot be planned."""
        super().__init__(device, line, status)
        self._memory, self._place = memory, place_of(line, device)
        self._cost = wire_time(line)
        self._learner = Learner(device, self._cost, memory.illegal(device.id, self._place), time.monotonic())
        self._known = self._learner.learned
        # Requests that were not answered: how often in a row while others of the same poll were, and when to ask again.
        self._mute: dict[TagTable, tuple[int, float]] = {}
        self._patience = line.silent_polls
        self._healed = self.status.healed
        self._show()
        self.periods_s = sorted({s.period_s for s in self.spans})

    @property
    def spans(self) -> tuple[PlannedSpan, ...]:
        """The requests as planned now; refusals may change them."""
        return self._learner.spans

    def wire_s(self, period_s: float) -> float:
        return sum(self._cost.of(s.span) for s in self.spans if s.period_s == period_s)

    async def ask(self, driver: Driver, clock: Clock, now_s: float, period_s: float) -> Poll:
        """One poll of what is due every period_s.

        After a silence the rest of the poll is not asked: it would only cost the neighbours time. What was not answered
        comes last the next time, and rarely, once it was not answered silent_polls times although the device was there:
        some devices say nothing where others refuse. A refused request is halved and asked at once, as long as that
        takes no longer than one time-out would.
        """
        self.status.polls += 1
        self._line.polls += 1
        readings: list[Reading] = []
        answered = in_vain = False
        self._learner.look_again(now_s)
        left = self._due(period_s)
        while left:
            planned = left.popleft()
            known = self._learner.knows(planned)
            if answered and self._is_mute(planned, now_s):
                readings.append(Reading(clock(), planned.tags, None, Reason.TIMEOUT, planned))
                continue
            if known and in_vain:  # one a poll is enough to see whether the device has changed
                readings.append(Reading(clock(), planned.tags, None, Reason.REFUSED, planned))
                continue
            try:
                answer = await driver.read(self.device.unit_id, planned.span)
            except DeviceRefused as fault:
                answered = True
                in_vain = in_vain or known
                self._count(fault)
                halves = self._learner.refused(planned, now_s) if fault.code in TEACHING else None
                if halves is not None and asyncio.get_running_loop().time() - now_s < self.line_timeout_s:
                    left.extendleft(reversed(halves))
                else:
                    readings.append(Reading(clock(), planned.tags, None, Reason.REFUSED, planned))
            except (DeviceSilent, DeviceGarbled, LineDown) as fault:
                reason = self._count(fault)
                readings += [Reading(clock(), p.tags, None, reason, p) for p in (planned, *left)]
                times = self._mute.get(planned.tags, (0, 0.0))[0] + answered
                self._mute[planned.tags] = times, now_s + self.probe_s
                if answered and not isinstance(fault, LineDown):
                    break  # it is there, but for this
                down = fault if isinstance(fault, LineDown) else None
                self._remember()
                return replace(self._failed(readings, clock(), now_s, down), period_s=period_s)
            else:
                answered = True
                self._mute.pop(planned.tags, None)
                self._learner.answered(planned, now_s)
                readings.append(Reading(answer.ts_ms, planned.tags, answer.words, planned=planned))
        self._remember()
        return replace(self._answered(readings, answered), period_s=period_s)

    def _due(self, period_s: float) -> deque[PlannedSpan]:
        """What to ask now: last what was not answered, then what is known to be refused, another first each time."""
        due = sorted((s for s in self.spans if s.period_s == period_s), key=lambda s: self._mute.get(s.tags, (-1, 0.0)))
        known = deque(s for s in due if self._learner.knows(s))
        known.rotate(-self.status.polls)
        return deque([*(s for s in due if s not in known), *known])

    def _is_mute(self, planned: PlannedSpan, now_s: float) -> bool:
        times, again_s = self._mute.get(planned.tags, (0, 0.0))
        return times >= self._patience and now_s < again_s

    def _remember(self) -> None:
        """Keeps what refusals taught, if they did."""
        if not self._learner.news:
            return
        self._learner.news = False
        self._show()
        known, before = self._learner.learned, self._known
        if known == before:
            return
        self._known = known
        new, gone = (", ".join(str(i) for i in a if i not in b) for a, b in ((known, before), (before, known)))
        extra = {"line": self._line.name, "device": self.device.id, "known": len(known)}
        if new:
            log.warning("illegal addresses learned", extra=extra | {"new": new})
        if gone and not new:
            log.info("illegal addresses answer again", extra=extra | {"gone": gone})
        self._memory.learned(self.device.id, self._place, known)

    def _show(self) -> None:
        self.status.illegal = [str(i) for i in self._learner.learned]
        self.status.suspected = [str(i) for i in self._learner.suspected]
        self.status.healed = self._healed + self._learner.healed

    def _everything(self, ts_ms: int, reason: Reason) -> list[Reading]:
        return [Reading(ts_ms, p.tags, None, reason, p) for p in self.spans]


def place_of(line: LineSpec, device: DeviceSpec) -> str:
    """Where a device is asked: what is learned of it holds there."""
    return f"{line.host + ':' if line.by_socket else ''}{line.port}/{device.unit_id}"
