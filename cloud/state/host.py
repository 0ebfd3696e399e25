"""What the host remembers of its gateways: births, counters, records, figures, decided collisions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.state.db import StateDb
from cloud.state.restored import RestoredDay, RestoredDays, account
from cloud.state.schema import births, collisions, counters, figures, insert, nodes, records
from cloud.store.port import BatchKey
from cloud.store.whole_rows import DAY_MS
from wire.ids import NodeId
from wire.tag import Datatype

BornTags = list[tuple[str, Datatype, dict[str, object]]]
Known = Callable[[NodeId, str, int, int], Awaitable[set[tuple[str, int]]]]
"""As TelemetryStore.known."""


async def nothing(_node: NodeId, _device: str, _from_ms: int, _to_ms: int) -> set[tuple[str, int]]:
    return set()


class Record(NamedTuple):
    """One node record as delivered; position: its place in the batch. kind: 'gap', 'drop' or 'epoch_closed'."""

    key: BatchKey
    position: int
    kind: str
    content: Mapping[str, Any]


class Met(NamedTuple):
    """Samples (tag, ts_ms) of a batch that the store had before. restored: so many of them had no batch until now."""

    samples: set[tuple[str, int]]
    restored: int = 0


class EpochCounters(NamedTuple):
    """What a gateway counted in one epoch; content as in its Delivery/Counters."""

    node: NodeId
    epoch: str
    content: Mapping[str, Any]
    closed: bool


def _key_of(key: BatchKey) -> dict[str, object]:
    return {"group": key.node.group, "node": key.node.node, "epoch": key.epoch, "number": key.number}


def _upsert(con: Connection, table: Table, *columns: str) -> postgresql.Insert | sqlite.Insert:
    """Of a row that is there these columns are changed."""
    put = insert(table, con.dialect.name)
    return put.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: put.excluded[name] for name in columns}
    )


def _put_counters(con: Connection, found: EpochCounters, now_ms: int) -> None:
    row = {
        "group": found.node.group,
        "node": found.node.node,
        "epoch": found.epoch,
        "content": json.dumps(found.content),
        "closed": int(found.closed),
        "at_ms": now_ms,
    }
    put = insert(counters, con.dialect.name).values(row)
    changed = {name: put.excluded[name] for name in ("content", "closed", "at_ms")}
    # What an epoch_closed record said is final: counters that come late do not open the epoch again.
    not_older = counters.c.closed <= put.excluded.closed
    keys = list(counters.primary_key)
    con.execute(put.on_conflict_do_update(index_elements=keys, set_=changed, where=not_older))


def add_figure(con: Connection, node: NodeId, name: str, more: int) -> None:
    """Adds to a count of events."""
    row = {"group": node.group, "node": node.node, "name": name, "value": more}
    put = insert(figures, con.dialect.name).values(row)
    keys = list(figures.primary_key)
    con.execute(put.on_conflict_do_update(index_elements=keys, set_={"value": figures.c.value + more}))


class HostState:
    """Reads and writes; every write is durable when it returns. All raise StoreDown."""

    def __init__(self, db: StateDb) -> None:
        self._db = db
        self.restored = RestoredDays(db)
        self.removed: Known = nothing  # what a late batch may meet that has left the store

    async def keep_births(self, born: Mapping[tuple[NodeId, str], BornTags], now_ms: int) -> None:
        rows = [
            {"group": n.group, "node": n.node, "device": d, "content": json.dumps(tags), "at_ms": now_ms}
            for (n, d), tags in born.items()
        ]
        await self._db.write(lambda con: con.execute(_upsert(con, births, "content", "at_ms"), rows))

    async def births(self) -> dict[tuple[NodeId, str], BornTags]:
        rows = await self._db.run(lambda con: con.execute(select(births)).all())
        return {
            (NodeId(r.group, r.node), r.device): [(n, Datatype(t), p) for n, t, p in json.loads(r.content)]
            for r in rows
        }

    async def keep_nodes(self, found: Mapping[NodeId, Mapping[str, Any]], now_ms: int) -> None:
        def work(con: Connection) -> None:  # JSON of many births is made in the thread too
            texts = ((n, json.dumps(content)) for n, content in found.items())
            rows = [{"group": n.group, "node": n.node, "content": t, "at_ms": now_ms} for n, t in texts]
            con.execute(_upsert(con, nodes, "content", "at_ms"), rows)

        await self._db.write(work)

    async def nodes(self) -> dict[NodeId, dict[str, Any]]:
        """Every edge node that is known; one that was only born before there was this table was heard at its birth."""
        old = select(births.c.group, births.c.node, func.max(births.c.at_ms)).group_by(births.c.group, births.c.node)
        rows, born = await self._db.run(lambda con: (con.execute(select(nodes)).all(), con.execute(old).all()))
        found: dict[NodeId, dict[str, Any]] = {NodeId(g, n): {"heard_ms": at_ms} for g, n, at_ms in born}
        return found | {NodeId(r.group, r.node): json.loads(r.content) for r in rows}

    async def forget(self, found: Iterable[NodeId]) -> None:
        """Their births and what is known of them; what they delivered and counted stays."""

        def work(con: Connection) -> None:
            for node in found:
                for table in (births, nodes):
                    con.execute(delete(table).where(table.c.group == node.group, table.c.node == node.node))

        await self._db.write(work)

    async def keep_records(self, found: Sequence[Record], now_ms: int) -> None:
        """Records once each, however often they come; an epoch_closed record also ends its epoch's counters."""

        def work(con: Connection) -> None:
            for record in found:
                row = {**_key_of(record.key), "position": record.position, "kind": record.kind}
                put = insert(records, con.dialect.name).on_conflict_do_nothing()
                con.execute(put, {**row, "content": json.dumps(record.content), "at_ms": now_ms})
                if record.kind == "epoch_closed":
                    closed = EpochCounters(record.key.node, str(record.content["epoch"]), record.content, True)
                    _put_counters(con, closed, now_ms)

        await self._db.write(work)

    async def records(self, kind: str) -> list[Record]:
        query = select(records).where(records.c.kind == kind).order_by(records.c.at_ms)
        rows = await self._db.run(lambda con: con.execute(query).all())
        return [
            Record(BatchKey(NodeId(r.group, r.node), r.epoch, r.number), r.position, r.kind, json.loads(r.content))
            for r in rows
        ]

    async def keep_counters(self, found: Iterable[EpochCounters], now_ms: int) -> None:
        def work(con: Connection) -> None:
            for one in found:
                _put_counters(con, one, now_ms)

        await self._db.write(work)

    async def counters(self) -> list[EpochCounters]:
        rows = await self._db.run(lambda con: con.execute(select(counters)).all())
        return [EpochCounters(NodeId(r.group, r.node), r.epoch, json.loads(r.content), bool(r.closed)) for r in rows]

    async def add_figures(self, grown: Mapping[tuple[NodeId, str], int]) -> None:
        """Adds to counts of events: (edge node, name) -> how many more."""

        def work(con: Connection) -> None:
            for (node, name), more in grown.items():
                add_figure(con, node, name, more)

        await self._db.write(work)

    async def figures(self) -> dict[tuple[NodeId, str], int]:
        rows = await self._db.run(lambda con: con.execute(select(figures)).all())
        return {(NodeId(r.group, r.node), r.name): r.value for r in rows}

    async def decided(self, key: BatchKey, device: str, found: set[tuple[str, int]], sure: bool = False) -> Met:
        """What was decided at the batch's first write attempt; `found` becomes the decision when it is the first.

        sure: no other batch can have stored them. See restored.account.
        """
        wanted = _key_of(key)

        def work(con: Connection) -> Met:
            t = collisions.c
            query = select(t.content, t.restored).where(*(t[k] == v for k, v in wanted.items()))
            row = con.execute(query).one_or_none()
            if row is not None:
                return Met({(str(tag), int(ts)) for tag, ts in json.loads(row.content)}, row.restored)
            days = Counter(RestoredDay(key.node, device, ts_ms // DAY_MS) for _, ts_ms in found)
            restored = account(con, days, sure)
            content = json.dumps(sorted(found))
            con.execute(insert(collisions, con.dialect.name), {**wanted, "content": content, "restored": restored})
            return Met(found, restored)

        return await self._db.write(work)
