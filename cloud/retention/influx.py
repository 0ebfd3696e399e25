"""Old samples of an InfluxDB, which has no transactions: what is to go is counted and written down first.

One removal: count, write down what is to go and how many rows, delete, look that none is left, enter the count. Nobody
writes meanwhile. Whoever comes after a crash deletes the same again, which does no harm, and enters the same count: so
that nothing is counted twice, or not at all.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from cloud.retention.port import Book, Cut, DeviceDay, Gone, Taken, shares
from cloud.state.db import StateDb
from cloud.state.schema import insert, removals, removed_days
from cloud.store.influx_client import InfluxServer, Unacceptable
from cloud.store.line_protocol import NODE_ITSELF
from cloud.store.port import Batch, DeviceId
from cloud.store.whole_rows import DAY_MS, MOST_TAGS, TagId
from wire.errors import StoreDown
from wire.ids import NodeId

log = logging.getLogger(__name__)

_MS = 1_000_000  # ns; bound times are nanoseconds
LOOKS, LOOK_S = 20, 0.25
"""InfluxDB Cloud deletes a while after it said so: it is looked at so often."""


class InfluxRemoval:
    """still: raises LeaseLost when another host may be the active one; called right before something is deleted."""

    def __init__(self, db: StateDb, server: InfluxServer, still: Callable[[], None] = lambda: None) -> None:
        self._db, self._server, self._still = db, server, still
        self._book = Book()
        self._settled = False

    async def settle(self) -> None:
        if self._settled:
            return
        for row in await self._db.run(lambda con: con.execute(select(removals)).all()):
            of = DeviceDay(NodeId(row.group, row.node), row.device, row.day)
            if row.kind == "remove":
                told = json.loads(row.content)
                cut = Cut(of, told["name"], tuple(told["tags"]), told["from_ms"], told["to_ms"])
                log.info("a removal that was interrupted is finished", extra={"device": str(of), "rows": row.before})
                if await self._server.deleting():
                    raise StoreDown(f"{self._server.about}: is still deleting what it was told before")
                await self._gone(cut, row.before)
            else:
                await self._back(of, row.before)
        days = await self._db.run(lambda con: con.execute(select(*_of_columns(removed_days)).distinct()).all())
        self._book.load(DeviceDay(NodeId(g, n), d, day) for g, n, d, day in days)
        self._settled = True

    def gone(self, of: DeviceId) -> Gone | None:
        return self._book.gone(of)

    async def remove(self, cut: Cut) -> int:
        await self.settle()
        before = await self._rows(cut.of, cut.tags, cut.from_ms, cut.to_ms)
        if not before:
            return 0
        content = {"name": cut.name, "tags": cut.tags, "from_ms": cut.from_ms, "to_ms": cut.to_ms}
        self._settled = False
        await self._intend(cut.of, "remove", content, before)
        self._book.add(cut.of)  # first: whoever reads meanwhile may find a part of them
        await self._gone(cut, before)
        self._settled = True
        return before

    async def _gone(self, cut: Cut, before: int) -> None:
        """Deletes; the count of before counts once none is left."""
        self._still()
        try:
            await self._server.delete(_tags(cut.of), cut.tags, cut.from_ms, cut.to_ms)
        except (
            Unacceptable
        ) as fault:  # what it has deleted before it refused counts; nothing of it is under way any more
            await self._enter(cut, before - await self._rows(cut.of, cut.tags, cut.from_ms, cut.to_ms))
            raise StoreDown(f"{self._server.about}: does not delete: {fault}") from fault
        for _ in range(LOOKS):
            left = await self._rows(cut.of, cut.tags, cut.from_ms, cut.to_ms)
            if not left:
                break
            await asyncio.sleep(LOOK_S)
        else:
            raise StoreDown(f"{self._server.about}: was told to delete {before:,} samples, {left:,} are still there")
        await self._enter(cut, before)

    async def _enter(self, cut: Cut, removed: int) -> None:
        def work(con: Connection) -> None:
            row = {**_key(cut.of), "name": cut.name, "rows": removed}
            put = insert(removed_days, con.dialect.name).values(row)
            grown = {"rows": removed_days.c.rows + put.excluded.rows}
            if removed:
                con.execute(put.on_conflict_do_update(index_elements=list(removed_days.primary_key), set_=grown))
            con.execute(delete(removals).where(*_is(removals, cut.of)))

        await self._db.write(work)

    @asynccontextmanager
    async def returning(self, batches: Sequence[Batch]) -> AsyncIterator[None]:
        await self.settle()
        days = {DeviceDay(b.node, b.device, b.first_ms // DAY_MS) for b in batches}
        counted = {day: 0 for day in days if self._book.has(day)}
        for day in counted:
            counted[day] = await self._rows(day, (), day.from_ms, day.to_ms)
        if counted:
            self._settled = False
        for day, before in counted.items():
            await self._intend(day, "return", {}, before)
        yield  # what is raised here leaves the intention: `settle` counts what became of it
        for day, before in counted.items():
            await self._back(day, before)
        self._settled = True

    async def _back(self, of: DeviceDay, before: int) -> None:
        back = await self._rows(of, (), of.from_ms, of.to_ms) - before
        t = removed_days.c

        def work(con: Connection) -> None:
            found = con.execute(select(t.name, t.rows).where(*_is(removed_days, of))).all()
            for name, left in shares({str(name): int(rows) for name, rows in found}, max(0, back)).items():
                con.execute(update(removed_days).where(*_is(removed_days, of), t.name == name).values(rows=left))
            con.execute(delete(removals).where(*_is(removals, of)))

        await self._db.write(work)

    async def _intend(self, of: DeviceDay, kind: str, content: Mapping[str, Any], before: int) -> None:
        row = {**_key(of), "kind": kind, "content": json.dumps(content), "before": before}
        await self._db.write(lambda con: con.execute(insert(removals, con.dialect.name), row))

    async def totals(self) -> Mapping[DeviceId, int]:
        t = removed_days.c
        query = select(t.group, t.node, t.device, func.sum(t.rows)).group_by(t.group, t.node, t.device)
        found = await self._db.run(lambda con: con.execute(query).all())
        return {DeviceId(NodeId(g, n), d): int(rows) for g, n, d, rows in found}

    async def days(self, of: DeviceId) -> Mapping[int, int]:
        t = removed_days.c
        where = (t.group == of.node.group, t.node == of.node.node, t.device == of.device)
        query = select(t.day, func.sum(t.rows)).where(*where).group_by(t.day)
        return {day: int(rows) for day, rows in await self._db.run(lambda con: con.execute(query).all())}

    async def taken(self) -> list[Taken]:
        t = removed_days.c
        key = (t.group, t.node, t.device, t.name)
        query = select(*key, func.sum(t.rows), func.min(t.day), func.max(t.day)).where(t.rows > 0).group_by(*key)
        found = await self._db.run(lambda con: con.execute(query.order_by(*key)).all())
        return [Taken(DeviceId(NodeId(g, n), d), name, int(rows), a, b) for g, n, d, name, rows, a, b in found]

    async def oldest(self, before_ms: int) -> Mapping[TagId, int]:
        found = await self._server.query(
            'SELECT first("quality") FROM "sample" WHERE time < $to GROUP BY "group", "node", "device", "tag"',
            {"to": before_ms * _MS},
        )
        return {_tag(s.tags): int(s.rows[0][0]) for s in found}

    async def per_day(self, tags: Sequence[TagId], before_ms: int) -> Mapping[DeviceDay, int]:
        by_device: dict[DeviceId, list[str]] = {}
        for tag in tags:
            by_device.setdefault(DeviceId(tag.node, tag.device), []).append(tag.tag)
        found: dict[DeviceDay, int] = {}
        for of, names in by_device.items():
            for i in range(0, len(names), MOST_TAGS):
                where, bound = _where(of, names[i : i + MOST_TAGS], 0, before_ms)
                text = f'SELECT count("quality") FROM "sample" WHERE {where} GROUP BY time(1d) fill(none)'  # noqa: S608
                for series in await self._server.query(text, bound):
                    for ts_ms, n in series.rows:
                        day = DeviceDay(*of, int(ts_ms) // DAY_MS)
                        found[day] = found.get(day, 0) + int(n or 0)
        return {day: n for day, n in found.items() if n}

    async def counts(self, of: DeviceDay, tags: Sequence[str]) -> Mapping[TagId, int]:
        found: dict[TagId, int] = {}
        for i in range(0, len(tags), MOST_TAGS):
            where, bound = _where(DeviceId(of.node, of.device), tags[i : i + MOST_TAGS], of.from_ms, of.to_ms)
            text = f'SELECT count("quality") FROM "sample" WHERE {where} GROUP BY "tag"'  # noqa: S608
            answer = await self._server.query(text, bound)
            found |= {TagId(of.node, of.device, s.tags["tag"]): int(s.rows[0][1]) for s in answer}
        return found

    async def count(self, tag: TagId, from_ms: int, to_ms: int) -> int:
        return await self._rows(DeviceId(tag.node, tag.device), (tag.tag,), from_ms, to_ms)

    async def bytes_a_row(self) -> float | None:
        return None

    async def _rows(self, of: DeviceId | DeviceDay, tags: Sequence[str], from_ms: int, to_ms: int) -> int:
        """Of all tags when none is named."""
        rows = 0
        for i in range(0, max(1, len(tags)), MOST_TAGS):
            where, bound = _where(of, tags[i : i + MOST_TAGS], from_ms, to_ms)
            found = await self._server.query(f'SELECT count("quality") FROM "sample" WHERE {where}', bound)  # noqa: S608
            rows += int(found[0].rows[0][1]) if found else 0
        return rows


def _where(of: DeviceId | DeviceDay, tags: Sequence[str], from_ms: int, to_ms: int) -> tuple[str, dict[str, Any]]:
    bound: dict[str, Any] = {**_tags(of), "from": from_ms * _MS, "to": to_ms * _MS}
    text = '"group" = $group AND "node" = $node AND "device" = $device AND time >= $from AND time < $to'
    if tags:
        text += " AND (" + " OR ".join(f'"tag" = $t{i}' for i in range(len(tags))) + ")"
        bound |= {f"t{i}": tag for i, tag in enumerate(tags)}
    return text, bound


def _tags(of: DeviceId | DeviceDay) -> dict[str, str]:
    return {"group": of.node.group, "node": of.node.node, "device": of.device or NODE_ITSELF}


def _tag(tags: Mapping[str, str]) -> TagId:
    device = tags["device"]
    return TagId(NodeId(tags["group"], tags["node"]), "" if device == NODE_ITSELF else device, tags["tag"])


def _key(of: DeviceDay) -> dict[str, Any]:
    return {"group": of.node.group, "node": of.node.node, "device": of.device, "day": of.day}


def _of_columns(table: Table) -> list[Any]:
    return [table.c[name] for name in ("group", "node", "device", "day")]


def _is(table: Table, of: DeviceDay) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in _key(of).items()]
