"""The ledger in the SQL state, for a database of samples without transactions (InfluxDB)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, insert, or_, select, text, tuple_

from cloud.ledger import COLLIDED_SQL, REACH_SQL, RUNS_SQL, Held, Index, LedgerEntry, Reach, Run, Sums, held, window_sql
from cloud.state.db import StateDb
from cloud.state.schema import ledger
from cloud.store.port import BatchKey, DeviceId
from wire.ids import NodeId

_CHUNK = 200  # keys or ranges in one statement: SQLite's limit is 32,766 bound values


class SqlLedger:
    def __init__(self, db: StateDb) -> None:
        self._db = db
        self._index = Index()

    async def open(self) -> None:
        runs = await self._db.run(lambda con: con.execute(text(RUNS_SQL)).all())
        reaches = await self._db.run(lambda con: con.execute(text(REACH_SQL)).all())
        self._index.load(
            (Run(NodeId(g, n), e, first, last) for g, n, e, first, last in runs),
            (Reach(NodeId(g, n), d, e, first, last) for g, n, d, e, first, last in reaches),
        )

    async def known(self, keys: Sequence[BatchKey]) -> dict[BatchKey, str]:
        held = [k for k in keys if self._index.holds(k)]
        t = ledger.c
        found: dict[BatchKey, str] = {}
        for i in range(0, len(held), _CHUNK):
            wanted = [(k.node.group, k.node.node, k.epoch, k.number) for k in held[i : i + _CHUNK]]
            query = select(ledger).where(tuple_(t.group, t.node, t.epoch, t.number).in_(wanted))
            for r in await self._db.run(lambda con, q=query: con.execute(q).all()):  # type: ignore[misc]
                found[BatchKey(NodeId(r.group, r.node), r.epoch, r.number)] = r.digest
        return found

    def overlaps(self, node: NodeId, device: str, epoch: str, first_ms: int, last_ms: int) -> bool:
        return self._index.overlaps(node, device, epoch, first_ms, last_ms)

    def holes(self, node: NodeId, epoch: str, first: int, last: int) -> list[tuple[int, int]]:
        return self._index.holes(node, epoch, first, last)

    def epochs(self) -> dict[tuple[NodeId, str], int]:
        return self._index.highest()

    async def collided(self) -> dict[tuple[NodeId, str], int]:
        rows = await self._db.run(lambda con: con.execute(text(COLLIDED_SQL)).all())
        return {(NodeId(group, node), device): int(n) for group, node, device, n in rows}

    async def add(self, entries: Sequence[LedgerEntry]) -> None:
        rows = [
            {
                "group": e.key.node.group,
                "node": e.key.node.node,
                "epoch": e.key.epoch,
                "number": e.key.number,
                **{name: getattr(e, name) for name in e._fields if name != "key"},
            }
            for e in entries
        ]
        if rows:
            await self._db.write(lambda con: con.execute(insert(ledger), rows))
            self._index.add(entries)

    async def window(self, from_ms: int, to_ms: int, of: DeviceId | None = None) -> list[Held]:
        sql, values = window_sql(from_ms, to_ms, of)

        def work(con: Connection) -> list[Held]:
            asked = sql.replace("?", "%s") if con.dialect.paramstyle in ("format", "pyformat") else sql
            return [held(*row) for row in con.exec_driver_sql(asked, tuple(values.values())).all()]

        return await self._db.run(work)

    async def sums(self, node: NodeId, epoch: str, ranges: Sequence[tuple[int, int]]) -> dict[str, Sums]:
        t = ledger.c
        found: dict[str, Sums] = {}
        for i in range(0, len(ranges), _CHUNK):
            within = or_(*(and_(t.number >= a, t.number <= b) for a, b in ranges[i : i + _CHUNK]))
            query = (
                select(t.device, func.sum(t.samples), func.sum(t.dead), func.sum(t.collided))
                .where(t.group == node.group, t.node == node.node, t.epoch == epoch, within)
                .group_by(t.device)
            )
            for device, *sums in await self._db.run(lambda con, q=query: con.execute(q).all()):  # type: ignore[misc]
                old = found.get(device, Sums(0, 0, 0))
                found[device] = Sums(*(int(a) + b for a, b in zip(sums, old, strict=True)))
        return found
