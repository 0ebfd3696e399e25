"""Days of the archive that were put back into the store: rows that no batch of the ledger accounts for.

A gateway may still send the batches that these rows came from. So a batch that reaches into such a day looks for its
samples in the store first, and accounts for those rows instead of writing them a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, select, update

from cloud.state.db import StateDb
from cloud.state.schema import insert, restored_days
from cloud.store.whole_rows import DAY_MS
from wire.ids import NodeId


class RestoredDay(NamedTuple):
    """One device's share of a UTC day. day: days since 1970-01-01."""

    node: NodeId
    device: str
    day: int


class RestoredDays:
    """All writes are durable when they return. All raise StoreDown; those that write, LeaseLost.

    It remembers which days there are: a host has one of them.
    """

    def __init__(self, db: StateDb) -> None:
        self._db = db
        self._days: dict[tuple[NodeId, str], set[int]] | None = None
        self._marked: dict[RestoredDay, int] = {}  # in this process, and when

    async def open(self) -> None:
        if self._days is None:
            found = await self.rows()
            self._days = {}
            self._remember(found)

    def reaches(self, node: NodeId, device: str, first_ms: int, last_ms: int) -> bool:
        """True when a day of the device that was restored has a part in this time. After `open`."""
        if not self._days:
            return False
        first, last = first_ms // DAY_MS, last_ms // DAY_MS
        return any(first <= day <= last for day in self._days.get((node, device), ()))

    async def mark(self, days: Iterable[RestoredDay], now_ms: int = 0) -> None:
        """Before the first of its rows is written. How many there are `put` says in the end."""
        await self.open()
        new = [d for d in days if self._marked.get(d) != now_ms]
        if new:
            rows = [{**_key_of(d), "rows": 0, "at_ms": now_ms} for d in new]

            def work(con: Connection) -> None:
                put = insert(restored_days, con.dialect.name)
                again = {"at_ms": put.excluded.at_ms}
                con.execute(put.on_conflict_do_update(index_elements=list(restored_days.primary_key), set_=again), rows)

            await self._db.write(work)
            self._remember(new)
            self._marked |= dict.fromkeys(new, now_ms)

    async def since(self, at_ms: int) -> set[RestoredDay]:
        """Days that were restored at this time or later."""
        query = select(restored_days).where(restored_days.c.at_ms >= at_ms, restored_days.c.at_ms > 0)
        found = await self._db.run(lambda con: con.execute(query).all())
        return {RestoredDay(NodeId(r.group, r.node), r.device, r.day) for r in found}

    async def put(self, day: RestoredDay, rows: int) -> None:
        """So many rows of a marked day no batch accounts for."""
        await self._db.write(lambda con: con.execute(update(restored_days).where(*_is(day)).values(rows=rows)))

    async def rows(self) -> dict[RestoredDay, int]:
        """Of every restored day the rows that no batch accounts for (yet)."""
        found = await self._db.run(lambda con: con.execute(select(restored_days)).all())
        return {RestoredDay(NodeId(r.group, r.node), r.device, r.day): r.rows for r in found}

    def _remember(self, days: Iterable[RestoredDay]) -> None:
        assert self._days is not None
        for d in days:
            self._days.setdefault((d.node, d.device), set()).add(d.day)


def account(con: Connection, of: Mapping[RestoredDay, int], sure: bool) -> int:
    """A batch brought so many samples of these days that are stored already: for how many of them it accounts now.

    sure: no other batch can have stored them, so that all of those in restored days are restored rows.
    """
    accounted = 0
    for day, found in of.items():
        rows = con.execute(select(restored_days.c.rows).where(*_is(day))).scalar()
        if rows is None:
            continue
        accounted += found if sure else min(found, rows)
        con.execute(update(restored_days).where(*_is(day)).values(rows=max(0, rows - found)))
    return accounted


def _key_of(day: RestoredDay) -> dict[str, object]:
    return {"group": day.node.group, "node": day.node.node, "device": day.device, "day": day.day}


def _is(day: RestoredDay) -> list[ColumnElement[bool]]:
    return [restored_days.c[name] == value for name, value in _key_of(day).items()]
