"""Which windows are to be rolled up: all that something was written to since they were computed last.

An hour of a device is marked in the state before the first sample of it is written, so that a crash marks too much
and never too little; which of its windows are meant is kept in memory, and after a start they are all. Live data costs
one row a device and hour. Where hours come by the ten thousand (a clock that runs wild, a first start over an old
database), whole days of a site are marked instead, so that neither memory nor state grows with the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, bindparam, delete, select

from cloud.rollups.hours import ALL, merged, over, ranges, touched
from cloud.state.db import StateDb
from cloud.state.schema import insert, rollup_days, rollup_hours
from cloud.store.port import Batch, DeviceId
from cloud.store.whole_rows import DAY_MS, DayId
from cloud.store.window_port import Range
from cloud.store.windows import HOUR_MS, LEVELS, MINUTE_MS
from wire.columns import fields_of
from wire.ids import NodeId

LOOKED_THROUGH = DayId("", -1)
"""Stands in the table once the days of a database from before there were roll-ups are marked."""
_FORGOTTEN = {f"/{level}": level for level in LEVELS}
"""No site has such a name: stands there with the first day whose roll-ups of the level are kept."""
MOST_HOURS = 50_000
"""Marked hours of devices, beside those of now; about 300 bytes each."""
_AT_ONCE = 1_000


class Due(NamedTuple):
    """Windows of one hour that the same devices need. bits: see cloud.rollups.hours."""

    hour: int
    bits: int
    devices: list[DeviceId]

    def ranges(self, step_ms: int) -> list[Range]:
        return ranges(self.hour, self.bits, step_ms)


def never(_node: NodeId, _device: str, _tag: str) -> int:
    """Of a store that keeps its rows: they are all there."""
    return 0


class WindowMarks:
    """All writes are durable when they return; those that write raise StoreDown, LeaseLost.

    It remembers what it marked: of hosts that take turns, the active one makes one anew. raw_since: from when on the
    store has all rows of a tag.
    """

    def __init__(
        self, db: StateDb, now_ms: Callable[[], int], raw_since: Callable[[NodeId, str, str], int] = never
    ) -> None:
        self._db, self._now_ms, self.raw_since = db, now_ms, raw_since
        self._hours: dict[DeviceId, dict[int, int]] = {}  # marked windows
        self._busy: dict[DeviceId, dict[int, int]] = {}  # windows that are being computed
        self._n = 0
        self._days: Counter[DayId] | None = None  # and how often each was marked in this process
        self._kept: dict[str, int] = {}  # level -> the first day that is not forgotten

    async def open(self) -> None:
        """Raises StoreDown."""
        if self._days is None:
            hours, days = await self._db.run(
                lambda con: (con.execute(select(rollup_hours)).all(), con.execute(select(rollup_days)).all())
            )
            if self._days is None:  # somebody else may have asked meanwhile
                for r in hours:
                    self._mark(DeviceId(NodeId(r.group, r.node), r.device), r.hour, ALL)
                self._days = Counter({DayId(r.group, r.day): 1 for r in days if r.group not in _FORGOTTEN})
                self._kept = {_FORGOTTEN[r.group]: r.day for r in days if r.group in _FORGOTTEN}

    def _mark(self, of: DeviceId, hour: int, bits: int) -> None:
        hours = self._hours.setdefault(of, {})
        self._n += hour not in hours
        hours[hour] = hours.get(hour, 0) | bits

    async def touch(self, batches: Sequence[Batch]) -> None:
        """Before these are written, and by nobody else than who writes."""
        await self.open()
        found: dict[tuple[DeviceId, int], int] = {}
        for b in batches:
            if not b.samples:
                continue
            of = DeviceId(b.node, b.device)
            for minute in _minutes(fields_of(b.samples).stamps):
                hour, bits = minute // 60, touched(minute % 60)
                found[of, hour] = found.get((of, hour), 0) | bits
        new = [one for one in found if one[1] not in self._hours.get(one[0], ())]
        days: set[DayId] = set()
        if self._n + len(new) > MOST_HOURS:
            now = self._now_ms() // HOUR_MS
            far = {one for one in new if not now - 2 <= one[1] <= now + 1}
            days = {DayId(of.node.group, hour // 24) for of, hour in far}
            new = [one for one in new if one not in far]
            found = {one: bits for one, bits in found.items() if one not in far}
        await self.add(days)
        if new:
            rows = [
                {"group": of.node.group, "node": of.node.node, "device": of.device, "hour": hour} for of, hour in new
            ]

            def work(con: Connection) -> None:
                # One that is there already: its answer was lost on the way.
                con.execute(insert(rollup_hours, con.dialect.name).on_conflict_do_nothing(), rows)

            await self._db.write(work)
        for (of, hour), bits in found.items():
            self._mark(of, hour, bits)

    async def add(self, days: Iterable[DayId]) -> None:
        """Whole days of sites, while nobody else writes."""
        await self.open()
        assert self._days is not None
        days = set(days)
        new = sorted(day for day in days if day not in self._days)
        if new:
            rows = [{"group": day.group, "day": day.day} for day in new]

            def work(con: Connection) -> None:
                con.execute(insert(rollup_days, con.dialect.name).on_conflict_do_nothing(), rows)

            await self._db.write(work)
        self._days.update(days)

    @property
    def looked_through(self) -> bool:
        return self._days is not None and LOOKED_THROUGH in self._days

    def days(self) -> dict[DayId, int]:
        """Marked days, newest first -> how often: what `clean_day` wants to hear again."""
        found = ((day, n) for day, n in (self._days or {}).items() if day != LOOKED_THROUGH)
        return dict(sorted(found, key=lambda one: (-one[0].day, one[0].group)))

    async def clean_day(self, day: DayId, times: int) -> None:
        """The day was computed as it was when it had been marked so often."""
        assert self._days is not None
        if self._days.get(day) != times:
            return
        t = rollup_days.c

        def work(con: Connection) -> None:
            con.execute(delete(rollup_days).where(t.group == day.group, t.day == day.day))

        # Forgotten first: whoever touches it from now on marks it in the state again, behind this.
        del self._days[day]
        await self._db.write(work)

    def due(self) -> list[Due]:
        """Newest first."""
        now_ms = self._now_ms()
        now_over: dict[int, int] = {}
        found: dict[tuple[int, int], list[DeviceId]] = {}
        for of, hours in self._hours.items():
            for hour, marked in hours.items():
                if marked and (bits := marked & now_over.setdefault(hour, over(hour, now_ms))):
                    found.setdefault((hour, bits), []).append(of)
        return [Due(hour, bits, sorted(found[hour, bits])) for hour, bits in sorted(found, reverse=True)]

    def take(self, due: Due) -> None:
        """They are about to be computed from what is committed now; while nobody writes."""
        for of in due.devices:
            self._hours[of][due.hour] &= ~due.bits
            busy = self._busy.setdefault(of, {})
            busy[due.hour] = busy.get(due.hour, 0) | due.bits

    def done(self, due: Due, well: bool) -> None:
        """well: the roll-ups are written; otherwise they stay due."""
        for of in due.devices:
            if not well:
                self._mark(of, due.hour, due.bits)
            busy = self._busy[of]
            busy[due.hour] &= ~due.bits
            if not busy[due.hour]:
                del busy[due.hour]
            if not busy:
                del self._busy[of]

    async def clean(self) -> int:
        """Hours that are over and have no mark left need no row in the state; how many those were."""
        now_ms = self._now_ms()
        gone = [
            (of, hour)
            for of, hours in self._hours.items()
            for hour, bits in hours.items()
            if not bits and hour not in self._busy.get(of, ()) and over(hour, now_ms) == ALL
        ]
        t = rollup_hours.c
        of_device = (t.group == bindparam("g"), t.node == bindparam("n"), t.device == bindparam("d"))
        statement = delete(rollup_hours).where(*of_device, t.hour == bindparam("h"))
        for i in range(0, len(gone), _AT_ONCE):
            some = [(of, hour) for of, hour in gone[i : i + _AT_ONCE] if self._hours[of][hour] == 0]
            rows = [{"g": of.node.group, "n": of.node.node, "d": of.device, "h": hour} for of, hour in some]
            for of, hour in some:  # forgotten first: see clean_day
                del self._hours[of][hour]
                self._n -= 1
                if not self._hours[of]:
                    del self._hours[of]
            if rows:
                await self._db.write(partial(Connection.execute, statement=statement, parameters=rows))
        return len(gone)

    def pending(self, of: DeviceId, step_ms: int, from_ms: int, to_ms: int) -> list[Range]:
        if not self.looked_through:
            return [(from_ms, to_ms)]
        assert self._days is not None
        found = [(d.from_ms, d.to_ms) for d in self._days if d.group == of.node.group and d != LOOKED_THROUGH]
        for marks in (self._hours, self._busy):
            for hour, bits in marks.get(of, {}).items():
                if bits and from_ms - HOUR_MS < hour * HOUR_MS < to_ms:
                    found += ranges(hour, bits, step_ms)
        return merged(found, from_ms, to_ms)

    def raw_since_ms(self, node: NodeId, device: str, tag: str) -> int:
        return self.raw_since(node, device, tag)

    def kept_since_ms(self, level: str) -> int:
        return self._kept.get(level, 0) * DAY_MS

    async def forget(self, level: str, before_ms: int) -> bool:
        """Roll-ups of windows before it, the beginning of a UTC day, are about to be deleted; while one of them is
        still being made nothing happens. Told before, for ever, and whatever the settings say later: nobody computes
        coarser ones from what is not there any more."""
        await self.open()
        day = before_ms // DAY_MS
        if self._any_before(day):
            return False
        if day > self._kept.get(level, 0):
            self._kept[level] = day
            t, name = rollup_days.c, next(name for name, one in _FORGOTTEN.items() if one == level)

            def work(con: Connection) -> None:
                con.execute(delete(rollup_days).where(t.group == name))
                con.execute(insert(rollup_days, con.dialect.name), [{"group": name, "day": day}])

            await self._db.write(work)
        return True

    def _any_before(self, day: int) -> bool:
        if not self.looked_through or any(one.day < day for one in self.days()):
            return True
        marks = (hours for found in (self._hours, self._busy) for hours in found.values())
        return any(bits and hour < day * 24 for hours in marks for hour, bits in hours.items())


def _minutes(stamps: Sequence[int]) -> Iterable[int]:
    first, last = min(stamps) // MINUTE_MS, max(stamps) // MINUTE_MS
    if first == last:
        return (first,)
    return [int(minute) for minute in np.unique(np.array(stamps, np.int64) // MINUTE_MS)]


def day_range(from_ms: int, to_ms: int) -> range:
    """Numbers of the UTC days that the time touches."""
    return range(from_ms // DAY_MS, -(-to_ms // DAY_MS))
