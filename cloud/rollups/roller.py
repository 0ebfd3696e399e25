"""The host's roller: computes in the background what is marked, newest first, and never holds up who writes samples."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cloud.duty import Duty
from cloud.rollups.marks import LOOKED_THROUGH, Due, WindowMarks, day_range
from cloud.rollups.sources import RowSource, of_both
from cloud.stats import Stats
from cloud.store.chart import fewer
from cloud.store.port import DeviceId, TelemetryStore
from cloud.store.whole_rows import DayId
from cloud.store.window_port import Range
from cloud.store.windows import HOUR_MS, LEVELS, Windows, joined
from wire.errors import ConfigError, StoreDown

log = logging.getLogger(__name__)

FIRST_S = 5.0  # after the start: the collector opens the store
EVERY_S = 30.0
AGAIN_S = 5.0  # after a fault
REST, LONGEST_S = 10, 600.0
"""After a pass it rests ten times as long as that took: ten minutes of many tags cost InfluxDB little more than one."""
TOLD_S = 60.0
MOST_PARTS = 4
"""Questions for one level of a run; windows between them are computed again, which changes nothing."""
LONGEST_RUN = 24  # hours
_REST_S = 1.0
"""A backlog gets half of the time at most: after each piece the roller rests for as long, or for this."""
_FROM = {"15m": "1m", "1h": "15m"}


@dataclass(slots=True)
class Roller:
    """`run` until cancelled. writing: held while samples are written. more: where rows are that the store has no more.

    duty: whether this host is the active one; `run` raises LeaseLost when it is not any more. ready: awaited before
    `marks` are asked what the store has no more.
    """

    store: TelemetryStore
    marks: WindowMarks
    writing: asyncio.Lock
    stats: Stats
    now_ms: Callable[[], int]
    duty: Duty = field(default_factory=Duty)
    more: RowSource | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by a pass
    _live_s: float = 0.0
    _told_s: float = 0.0

    async def run(self) -> None:
        pause_s = FIRST_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.work()
                pause_s = max(AGAIN_S, self._live_s - time.monotonic())
                if self.stats.problems.pop("rollups", None) is not None:
                    log.info("roll-ups are made again")
            except (StoreDown, ConfigError) as fault:
                self._ill(str(fault))
                pause_s = AGAIN_S

    async def rebuild(self, from_ms: int, to_ms: int) -> int:
        """Days of the store that are going to be computed anew. Raises StoreDown, LeaseLost."""
        days = set(day_range(from_ms, to_ms))
        found = [day for day in await self.store.days() if day.day in days]
        async with self.writing:
            await self.marks.add(found)
        self._wanted.set()
        return len(found)

    async def work(self) -> None:
        """All that is due now. Raises StoreDown, LeaseLost, and ConfigError: the token is too great."""
        async with self._one:
            await self._work()

    def lacking(self, of: DeviceId, from_ms: int, to_ms: int) -> bool:
        """Whether a window of the device is still to be made from its rows, or being made."""
        return any(self.marks.pending(of, step_ms, from_ms, to_ms) for step_ms in LEVELS.values())

    async def forget(self, level: str, before_ms: int) -> bool:
        """Roll-ups of windows before it, the beginning of a UTC day, go; not (False) while some are still to be made.
        Raises StoreDown, LeaseLost."""
        if not await self.marks.forget(level, before_ms):
            return False
        await self.duty.check()
        await self.store.windows.forget(level, before_ms)
        return True

    async def _work(self) -> None:
        await self.marks.open()
        if self.ready is not None:
            async with self.writing:
                await self.ready()
        if not self.marks.looked_through:  # a database from before there were roll-ups
            found = await self.store.days()
            async with self.writing:
                await self.marks.add([*found, LOOKED_THROUGH])
        await self._hours()
        first = self.marks.days()
        self._told_s = time.monotonic()
        if first:
            log.info("days are to be rolled up", extra={"days": len(first)})
        while days := self.marks.days():  # anew each time: newer ones may have come
            day, times = next(iter(days.items()))
            await self._day(day)
            await self.marks.clean_day(day, times)
            self._figures()
            if time.monotonic() > self._told_s + TOLD_S:
                log.info("days are being rolled up", extra={"left": len(days) - 1, "at": str(day)})
                self._told_s = time.monotonic()
        if first:
            log.info("days are rolled up", extra={"days": len(first)})
        self._figures()

    async def _hours(self) -> None:
        """What was written lately, or late."""
        began_s = time.monotonic()
        self._live_s = began_s + LONGEST_S  # not again from within itself
        for run in _runs(self.marks.due()):
            async with self.writing:  # what is written at this moment is either committed, or marked anew
                for due in run:
                    self.marks.take(due)
            well = False
            try:
                times = {
                    name: sorted(part for due in run for part in due.ranges(step)) for name, step in LEVELS.items()
                }
                await self._roll(run[0].devices, times)
                well = True
            finally:
                for due in run:
                    self.marks.done(due, well)
            self._figures()
        await self.marks.clean()
        now_s = time.monotonic()
        self._live_s = now_s + min(LONGEST_S, max(EVERY_S, REST * (now_s - began_s)))

    async def _day(self, day: DayId) -> None:
        async with self.writing:  # see _hours
            times = [(day.from_ms, day.to_ms)]
        devices = await self.store.windows.devices(day.group)
        if devices:
            await self._roll(devices, dict.fromkeys(LEVELS, times), rests=True)

    async def _roll(self, of: Sequence[DeviceId], times: dict[str, list[Range]], rests: bool = False) -> None:
        await self.duty.check()
        windows = self.store.windows
        began_s = time.monotonic()
        for level, step_ms in LEVELS.items():
            for first_ms, end_ms in fewer(times[level], MOST_PARTS):
                begin_ms = max(first_ms, self.marks.kept_since_ms(level))  # what is forgotten is not made again
                if begin_ms >= end_ms:
                    continue
                # Finer ones that are forgotten say nothing of the coarser ones.
                from_rows = level == "1m" or begin_ms < self.marks.kept_since_ms(_FROM[level])
                if from_rows:
                    found = windows.computed(of, begin_ms, end_ms, step_ms)
                else:
                    found = windows.rolled(of, begin_ms, end_ms, _FROM[level])
                async for w in found:
                    w = await self._whole(w, step_ms) if from_rows else w.coarser(step_ms)
                    self.duty.still()
                    await windows.put(level, w, self.duty.token)
                    self.stats.counters["rollup_rows"] += len(w)
                    if rests:
                        await asyncio.sleep(min(_REST_S, time.monotonic() - began_s))
                        if time.monotonic() > self._live_s:
                            await self._hours()
                        began_s = time.monotonic()

    async def _whole(self, w: Windows, step_ms: int) -> Windows:
        """Without the windows that lack rows in the store, or with those rows from elsewhere."""
        since_ms = np.array([self.marks.raw_since(*tag) for tag in w.tags] or [0], np.int64)
        lacking = w.start_ms < since_ms[w.rank]
        if not lacking.any():
            return w
        parts = [w.where(~lacking)]
        if self.more is None:
            self.stats.counters["rollup_windows_left"] += int(lacking.sum())
            return parts[0]
        for rank in np.unique(w.rank[lacking]).tolist():
            starts = w.start_ms[lacking & (w.rank == rank)]
            begin_ms, end_ms = int(starts[0]), int(starts[-1]) + step_ms
            tag = w.tags[rank]
            found = await of_both(self.store, self.more, tag, begin_ms, end_ms, step_ms)
            chosen = found.where(np.isin(found.start_ms, starts))
            parts.append(chosen.ranked(w.tags, rank))
        return joined(parts)

    def _figures(self) -> None:
        """How much there is to do; oldest: of the windows that could have been computed."""
        due, days = self.marks.due(), self.marks.days()
        counters = self.stats.counters
        counters["rollup_hours_due"] = sum(len(one.devices) for one in due)
        counters["rollup_days_due"] = len(days)
        oldest_ms = min([one.hour * HOUR_MS for one in due] + [day.from_ms for day in days], default=self.now_ms())
        counters["rollup_oldest_due_s"] = max(0, self.now_ms() - oldest_ms) // 1000

    def status(self) -> dict[str, Any]:
        self._figures()
        names = ("rollup_hours_due", "rollup_days_due", "rollup_oldest_due_s", "rollup_rows", "rollup_windows_left")
        found: dict[str, Any] = {name.removeprefix("rollup_"): self.stats.counters[name] for name in names}
        return found | {"problem": self.stats.problems.get("rollups", "")}

    def _ill(self, why: str) -> None:
        level = logging.DEBUG if "rollups" in self.stats.problems else logging.WARNING
        self.stats.problems["rollups"] = f"roll-ups are not made, long charts take longer: {why}"
        log.log(level, "roll-ups are not made", extra={"error": why[:500]})


def _runs(found: Sequence[Due]) -> list[list[Due]]:
    """Hours of the same devices that follow each other are computed together. found: newest first."""
    runs: list[list[Due]] = []
    for due in found:
        last = runs[-1] if runs else []
        if last and last[-1].hour == due.hour + 1 and last[-1].devices == due.devices and len(last) < LONGEST_RUN:
            last.append(due)
        else:
            runs.append([due])
    return runs
