"""Which days are to be archived: every day that something was written to since it was archived last.

A day is marked before the first sample of it is written, so that a crash between the two marks too much and never too
little. The mark goes when the day was archived and nothing was written to it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select

from cloud.archive.manifest import day_of
from cloud.state.db import StateDb
from cloud.state.schema import archive_days, insert
from cloud.store.port import Batch
from cloud.store.whole_rows import DayId
from wire.columns import fields_of

LOOKED_THROUGH = DayId("", -1)
"""Stands in the table once the days of a database from before there was an archive are marked."""


class DayMarks:
    """All writes are durable when they return. All raise StoreDown; those that write, LeaseLost.

    It remembers what it marked: of hosts that take turns, the active one makes one anew.
    """

    def __init__(self, db: StateDb) -> None:
        self._db = db
        self._times: Counter[DayId] | None = None  # marked days, and how often they were marked in this process

    async def touch(self, batches: Sequence[Batch]) -> None:
        """Before these are written, and by nobody else than who writes."""
        days: set[DayId] = set()
        for b in batches:
            if b.samples:
                stamps = fields_of(b.samples).stamps
                first, last = day_of(min(stamps)), day_of(max(stamps))
                found = {first} if first == last else set(map(day_of, stamps))
                days |= {DayId(b.node.group, day) for day in found}
        await self.add(days)

    async def add(self, days: Iterable[DayId]) -> None:
        days = set(days)
        times = await self._known()
        new = sorted(day for day in days if day not in times)
        if new:
            rows = [{"group": day.group, "day": day.day} for day in new]

            def work(con: Connection) -> None:
                # One that is there already: its answer was lost on the way.
                con.execute(insert(archive_days, con.dialect.name).on_conflict_do_nothing(), rows)

            await self._db.write(work)
        times.update(days)

    async def marked(self) -> dict[DayId, int]:
        """Day -> how often it was marked: what `clean` wants to hear again."""
        return {day: n for day, n in sorted((await self._known()).items()) if day != LOOKED_THROUGH}

    async def looked_through(self) -> bool:
        return LOOKED_THROUGH in await self._known()

    async def clean(self, day: DayId, times: int) -> None:
        """The day is archived as it was when it had been marked so often."""
        known = await self._known()
        if known[day] != times:
            return
        t = archive_days.c

        def work(con: Connection) -> None:
            con.execute(delete(archive_days).where(t.group == day.group, t.day == day.day))

        await self._db.write(work)
        del known[day]

    async def _known(self) -> Counter[DayId]:
        if self._times is None:
            rows = await self._db.run(lambda con: con.execute(select(archive_days)).all())
            if self._times is None:  # somebody else may have asked meanwhile, and marked more
                self._times = Counter({DayId(r.group, r.day): 1 for r in rows})
        return self._times
