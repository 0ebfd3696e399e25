"""Looks whether everything moves, and only then feeds systemd's watchdog; keeps what a status wants to know of time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from agent.status import LineStatus, UnitStatus
from gateway.box import Box
from gateway.clock import kernel_clock, now_ms
from gateway.config import Site
from gateway.history import History
from gateway.notify import Notifier
from gateway.outbox.store import Outbox
from gateway.pulse import LoopLag, Progress, allowed_s

log = logging.getLogger(__name__)

TICK_S = 0.25
_LOOK_TICKS = 4
_CPU_TICKS = 40
_UNWATCHED_S = 40.0  # of a watchdog that systemd has not asked for: the log and the metrics say what stands still
_COMMIT_S = 30.0  # what was taken is committed, or refused by the disk, within commit_ms; this is far beyond
WORKER, COMMITS = "outbox worker", "outbox commits"


class Watchdog:
    """pulse and run are tasks of the gateway. taken: line -> what it has given so far."""

    def __init__(
        self, notifier: Notifier, outbox: Outbox, taken: Mapping[str, int], restarts: Counter[str],
        lines: Mapping[str, LineStatus], site: Callable[[], Site], uplink: Callable[[], str],
    ) -> None:  # fmt: skip
        """uplink: its state."""
        self._notifier, self._outbox, self._taken, self._restarts = notifier, outbox, taken, restarts
        self._lines, self._site, self._uplink = lines, site, uplink
        self._progress = Progress()
        self._committed = (-1, 0)  # commits and refusals of the disk, and what had been taken when they changed
        self._ping: asyncio.Task[int] | None = None
        self._watched: tuple[Site | None, dict[str, float]] = (None, {})
        self._said = ""
        self.lag = LoopLag()
        self.history = History()
        self.box = Box()
        self.stalled: tuple[str, ...] = ()

    async def pulse(self) -> None:
        """Measures how late the loop is; looks at states now and then."""
        loop = asyncio.get_running_loop()
        tick = 0
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.lag.observe(loop.time() - due_s)
            if tick % _LOOK_TICKS == 0:
                self.history.look(self._uplink(), self._lines, now_ms())
            if tick % _CPU_TICKS == 0:
                self.box.look(loop.time())
            tick += 1

    async def run(self) -> None:
        """Four looks in the time that systemd allows; each feeds only when nothing stands still."""
        interval_s = (self._notifier.watchdog_s or _UNWATCHED_S) / 4
        while True:
            if self._ping is None or self._ping.done():
                if self._ping is not None and (fault := self._ping.exception()) is not None:
                    log.debug("the outbox worker answers with a fault", extra={"error": str(fault)})
                self._ping = asyncio.create_task(self._outbox.last_id(), name="outbox ping")
            await asyncio.sleep(interval_s)
            self._judge(time.monotonic())
            if not self.stalled and self._notifier.watchdog_s is not None:
                self._notifier.feed()
            self._tell(self.summary())

    def _judge(self, now_s: float) -> None:
        stalled = [WORKER] if self._ping is not None and not self._ping.done() else []
        stalled += self._commits(now_s) + self._line_tasks(now_s)
        news = tuple(stalled)
        if news and not self.stalled:
            log.error("something stands still, the watchdog is not fed", extra={"stalled": ", ".join(news)})
        elif self.stalled and not news:
            log.warning("everything moves again", extra={"stood_still": ", ".join(self.stalled)})
        self.stalled = news

    def _commits(self, now_s: float) -> list[str]:
        done, taken = self._outbox.commits + self._outbox.failures, sum(self._taken.values())
        if done != self._committed[0] or taken == self._committed[1]:
            self._committed = (done, taken)
            self._progress.seen(COMMITS, now_s, now_s)
        return self._progress.stalled({COMMITS: _COMMIT_S}, now_s)

    def _line_tasks(self, now_s: float) -> list[str]:
        """A line that fails and is started again is its supervisor's business: it moves."""
        site = self._site()
        if self._watched[0] is not site:
            allowed = {f"line {line.name}": allowed_s(line) for line in site.lines}
            self._watched = (site, {name: value for name, value in allowed.items() if value is not None})
            self._progress.keep([COMMITS, *self._watched[1]])
        for name, line in self._lines.items():
            part = f"line {name}"
            if part in self._watched[1]:
                asked = (line.polls, line.answers, line.timeouts, line.refused, line.garbled, line.reconnects)
                self._progress.seen(part, (self._taken.get(name, 0), self._restarts[part], asked), now_s)
        return self._progress.stalled(self._watched[1], now_s)

    def summary(self) -> str:
        """One line for `systemctl status`."""
        states = Counter(line.state for line in self._lines.values())
        lost = sum(unit.state in ("silent", "dead") for line in self._lines.values() for unit in line.units.values())
        words = [f"uplink {self._uplink()}", *(f"{count} lines {state}" for state, count in sorted(states.items()))]
        words += [f"{lost} devices silent"] if lost else []
        words += [f"stands still: {', '.join(self.stalled)}"] if self.stalled else []
        return "; ".join(words)

    def lines_status(self) -> dict[str, Any]:
        """The lines' part of the status, with the times that were seen."""
        found = {}
        for name, line in self._lines.items():
            units = {device: _plain(unit) | self.history.of(name, device) for device, unit in line.units.items()}
            found[name] = _plain(line) | self.history.of(name) | {"units": units}
        return found

    def status(self) -> dict[str, Any]:
        """What the status says of this process."""
        return {
            "stalled": list(self.stalled),
            "loop": {
                "worst_s": round(self.lag.worst_s, 4), "lag_sum_s": round(self.lag.sum_s, 6),
                "lag_buckets": self.lag.buckets(),
            },
            "box": self.box.figures(),
            "kernel_clock": kernel_clock()._asdict(),
        }  # fmt: skip

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._notifier.status(text)
            self._said = text


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (LineStatus, UnitStatus)}


def _plain(status: LineStatus | UnitStatus) -> dict[str, Any]:
    """As asdict but for what lies deeper, in a fraction of its time: with hundreds of devices the loop would wait."""
    values = ((name, getattr(status, name)) for name in _NAMES[type(status)])
    return {name: list(value) if isinstance(value, list) else value for name, value in values}
