"""Old samples of the DuckDB file: gone and counted in one commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from cloud.retention.port import Book, Cut, DeviceDay, Gone, Taken, shares
from cloud.store.duck_file import DuckFile
from cloud.store.port import Batch, DeviceId
from cloud.store.whole_rows import DAY_MS, TagId
from wire.ids import NodeId

_OF = '"group" = ? AND node = ? AND device = ?'
_COUNT = """
    INSERT INTO removed ("group", node, device, day, name, rows) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET rows = rows + excluded.rows"""


class EmbeddedRemoval:
    def __init__(self, file: DuckFile) -> None:
        self._file = file
        self._book = Book()

    async def settle(self) -> None:
        """There is nothing half done: a transaction is whole."""
        if not self._book.loaded:
            await self._file.open()
            rows = await self._file.read('SELECT DISTINCT "group", node, device, day FROM removed')
            self._book.load(DeviceDay(NodeId(g, n), d, day) for g, n, d, day in rows)

    def gone(self, of: DeviceId) -> Gone | None:
        return self._book.gone(of)

    async def remove(self, cut: Cut) -> int:
        await self.settle()
        ids = await self._ids(DeviceId(cut.of.node, cut.of.device), cut.tags)
        async with self._file.transaction():
            rows = await self._file.changed(
                "DELETE FROM samples WHERE ts_ms >= ? AND ts_ms < ? AND series IN (SELECT unnest(?::INTEGER[]))",
                [cut.from_ms, cut.to_ms, list(ids)],
            )
            if rows:
                await self._file.execute(_COUNT, [*cut.of.node, cut.of.device, cut.of.day, cut.name, rows])
                self._book.add(cut.of)  # first: whoever reads from now on may not find them
        return rows

    @asynccontextmanager
    async def returning(self, batches: Sequence[Batch]) -> AsyncIterator[None]:
        yield
        for b in batches:
            day = b.first_ms // DAY_MS
            sql = f"SELECT name, rows FROM removed WHERE {_OF} AND day = ?"  # noqa: S608
            found = await self._file.read(sql, [*b.node, b.device, day])
            before: dict[str, int] = dict(found)
            for name, left in shares(before, len(b.samples)).items():
                if left != before[name]:
                    await self._file.execute(
                        f"UPDATE removed SET rows = ? WHERE {_OF} AND day = ? AND name = ?",  # noqa: S608
                        [left, *b.node, b.device, day, name],
                    )

    async def totals(self) -> Mapping[DeviceId, int]:
        rows = await self._file.read('SELECT "group", node, device, sum(rows) FROM removed GROUP BY ALL')
        return {DeviceId(NodeId(g, n), d): int(total) for g, n, d, total in rows}

    async def days(self, of: DeviceId) -> Mapping[int, int]:
        sql = f"SELECT day, sum(rows) FROM removed WHERE {_OF} GROUP BY day"  # noqa: S608
        rows = await self._file.read(sql, [*of.node, of.device])
        return {day: int(n) for day, n in rows}

    async def taken(self) -> list[Taken]:
        rows = await self._file.read(
            'SELECT "group", node, device, name, sum(rows), min(day), max(day) FROM removed WHERE rows > 0'
            ' GROUP BY ALL ORDER BY "group", node, device, name'
        )
        return [Taken(DeviceId(NodeId(g, n), d), name, int(sum_), a, b) for g, n, d, name, sum_, a, b in rows]

    async def oldest(self, before_ms: int) -> Mapping[TagId, int]:
        rows = await self._file.read(
            'SELECT "group", node, device, tag, min(first_ms) FROM'
            " (SELECT series, min(ts_ms) AS first_ms FROM samples WHERE ts_ms < ? GROUP BY series)"
            ' JOIN series ON series = id GROUP BY "group", node, device, tag',
            [before_ms],
        )
        return {TagId(NodeId(g, n), d, tag): int(first) for g, n, d, tag, first in rows}

    async def per_day(self, tags: Sequence[TagId], before_ms: int) -> Mapping[DeviceDay, int]:
        by_device: dict[DeviceId, list[str]] = {}
        for tag in tags:
            by_device.setdefault(DeviceId(tag.node, tag.device), []).append(tag.tag)
        found: dict[DeviceDay, int] = {}
        for of, names in by_device.items():
            rows = await self._file.read(
                "SELECT ts_ms // 86400000 AS day, count(*) FROM samples WHERE ts_ms < ?"
                " AND series IN (SELECT unnest(?::INTEGER[])) GROUP BY day",
                [before_ms, list(await self._ids(of, names))],
            )
            found |= {DeviceDay(*of, int(day)): int(n) for day, n in rows}
        return found

    async def counts(self, of: DeviceDay, tags: Sequence[str]) -> Mapping[TagId, int]:
        ids = await self._ids(DeviceId(of.node, of.device), tags)
        rows = await self._file.read(
            "SELECT series, count(*) FROM samples WHERE ts_ms >= ? AND ts_ms < ?"
            " AND series IN (SELECT unnest(?::INTEGER[])) GROUP BY series",
            [of.from_ms, of.to_ms, list(ids)],
        )
        found: dict[TagId, int] = {}
        for i, n in rows:  # a retyped tag has two series
            tag = TagId(of.node, of.device, ids[i])
            found[tag] = found.get(tag, 0) + int(n)
        return found

    async def count(self, tag: TagId, from_ms: int, to_ms: int) -> int:
        ids = await self._ids(DeviceId(tag.node, tag.device), [tag.tag])
        ((n,),) = await self._file.read(
            "SELECT count(*) FROM samples WHERE ts_ms >= ? AND ts_ms < ? AND series IN (SELECT unnest(?::INTEGER[]))",
            [from_ms, to_ms, list(ids)],
        )
        return int(n)

    async def bytes_a_row(self) -> float | None:
        ((rows,),) = await self._file.read("SELECT count(*) FROM samples")
        return self._file.path.stat().st_size / rows if rows else None

    async def _ids(self, of: DeviceId, tags: Sequence[str]) -> dict[int, str]:
        """Series id -> tag."""
        rows = await self._file.read(
            f"SELECT id, tag FROM series WHERE {_OF} AND tag IN (SELECT unnest(?::VARCHAR[]))",  # noqa: S608
            [*of.node, of.device, list(tags)],
        )
        return {int(i): str(tag) for i, tag in rows}
