"""DuckDB in one file: samples and ledger, committed together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from cloud.ledger import COLLIDED_SQL, REACH_SQL, RUNS_SQL, Held, Index, LedgerEntry, Reach, Run, Sums, held, window_sql
from cloud.store import chart
from cloud.store.columns import TEXTS, WIDE, sample_of, split
from cloud.store.duck_file import DuckFile
from cloud.store.duck_windows import DuckWindows
from cloud.store.port import Aggregate, Batch, BatchKey, DeviceId, LastValue, Refused, Series, StoredTag
from cloud.store.whole_rows import DayId, Of, TagId, duck_days, duck_rows
from cloud.store.window_port import NothingRolled, Rolled
from wire.columns import Fields, fields_of, joined_fields
from wire.errors import StoreDown
from wire.ids import NodeId
from wire.tag import Datatype

DeviceKey = tuple[NodeId, str]
SeriesKey = tuple[NodeId, str, str, Datatype]
MOST_FORMS = 4  # sequences of tags of one device whose ids are kept together
_SPLIT = TEXTS | WIDE  # datatypes whose value is not just a float


class EmbeddedStore:
    def __init__(self, path: Path, rolled: Rolled | None = None) -> None:
        self.file = DuckFile(path)
        self._rolled = rolled or NothingRolled()
        self._ids: dict[DeviceKey, dict[tuple[str, Datatype], int]] = {}
        self._forms: dict[DeviceKey, dict[Sequence[str], tuple[Sequence[Datatype], list[int]]]] = {}
        self._highest = 0
        self._opened = False
        self.windows = DuckWindows(self.file, self._known_series)

    @property
    def about(self) -> str:
        return f"DuckDB {duckdb.__version__}, {self.file.path}"

    async def open(self) -> None:
        await self.file.open()
        rows = await self.file.read('SELECT id, "group", node, device, tag, datatype FROM series')
        self._ids.clear()
        self._forms.clear()
        for i, group, node, device, tag, kind in rows:
            self._ids.setdefault((NodeId(group, node), device), {})[tag, Datatype(kind)] = i
        self._highest = max((row[0] for row in rows), default=0)
        self._opened = True

    def _known_series(self) -> Mapping[DeviceKey, Mapping[tuple[str, Datatype], int]]:
        if not self._opened:  # who asks of no series gets no rows, and would believe that there are none
            raise StoreDown(f"{self.file.path}: is being opened, ask again in a moment")
        return self._ids

    async def close(self) -> None:
        await self.file.close()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self.file.transaction()

    async def write(self, batches: Sequence[Batch]) -> list[Refused]:
        """Within `transaction`. DuckDB refuses nothing that wire can carry."""
        if any(b.samples for b in batches):
            ids = await self._series_ids(batches)
            await self.file.insert("samples", _columns(joined_fields([b.samples for b in batches]), ids))
        return []

    async def _series_ids(self, batches: Sequence[Batch]) -> list[int]:
        """The series id of each sample; unknown series are added within the transaction."""
        new: dict[SeriesKey, int] = {}
        found: list[int] = []
        for b in batches:
            names, datatypes, *_ = fields_of(b.samples)
            forms = self._forms.setdefault((b.node, b.device), {})
            kinds, ids = forms.get(names, ((), []))
            if kinds != datatypes:
                tags = list(zip(names, datatypes, strict=True))
                of_device = self._ids.setdefault((b.node, b.device), {})
                for tag in tags:
                    if tag not in of_device:
                        self._highest += 1
                        of_device[tag] = new[b.node, b.device, *tag] = self._highest
                ids = [of_device[tag] for tag in tags]
                if len(forms) >= MOST_FORMS:
                    forms.clear()
                forms[names] = (datatypes, ids)
            found += ids
        if new:
            self.file.on_rollback(lambda: self._forget(new))  # a rolled-back transaction takes its series along
            await self.file.insert("series", _series(new))
        return found

    def _forget(self, keys: Iterable[SeriesKey]) -> None:
        for node, device, tag, datatype in keys:
            del self._ids[node, device][tag, datatype]
        self._forms.clear()

    async def known(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> set[tuple[str, int]]:
        rows = await self.file.read(
            "SELECT tag, ts_ms FROM samples JOIN series ON series = id"
            ' WHERE "group" = ? AND node = ? AND device = ? AND ts_ms BETWEEN ? AND ?',
            [*node, device, from_ms, to_ms],
        )
        return {(tag, ts_ms) for tag, ts_ms in rows}

    async def count(self) -> Mapping[DeviceId, int]:
        rows = await self.file.read(
            'SELECT "group", node, device, sum(n) FROM'
            " (SELECT series, count(quality) AS n FROM samples GROUP BY series) JOIN series ON series = id"
            ' GROUP BY "group", node, device'
        )
        return {DeviceId(NodeId(g, n), d): int(rows) for g, n, d, rows in rows}

    async def rows(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> int:
        ((rows,),) = await self.file.read(
            "SELECT count(quality) FROM samples JOIN series ON series = id"
            ' WHERE "group" = ? AND node = ? AND device = ? AND ts_ms BETWEEN ? AND ?',
            [*node, device, from_ms, to_ms],
        )
        return int(rows)

    async def last_values(self) -> list[LastValue]:
        rows = await self.file.read(
            'SELECT "group", node, device, tag, datatype, ts_ms, quality, reason, value, value_int, value_text FROM'
            " (SELECT series, max(ts_ms) AS ts_ms, unnest(max_by({q: quality, r: reason, v: value, i: value_int,"
            " s: value_text}, ts_ms)) FROM samples GROUP BY series) AS x(series, ts_ms, quality, reason, value,"
            " value_int, value_text) JOIN series ON series = id"
        )
        newest: dict[tuple[NodeId, str, str], LastValue] = {}
        for group, node, device, *row in rows:
            value = LastValue(NodeId(group, node), device, sample_of(*row))
            key = (value.node, device, value.sample.name)
            if key not in newest or newest[key].sample.ts_ms < value.sample.ts_ms:  # a retyped tag has two series
                newest[key] = value
        return list(newest.values())

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int = 1000) -> Series:
        return await chart.series(self.windows, self._rolled, TagId(node, device, tag), from_ms, to_ms, points)

    async def aggregates(
        self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, step_ms: int
    ) -> list[Aggregate]:
        return await chart.aggregates(self.windows, self._rolled, TagId(node, device, tag), from_ms, to_ms, step_ms)

    async def tags(self) -> list[StoredTag]:
        rows = await self.file.read(
            'SELECT "group", node, device, tag, arg_max(datatype, b), min(a), max(b) FROM'
            " (SELECT series, min(ts_ms) AS a, max(ts_ms) AS b FROM samples GROUP BY series) JOIN series ON series = id"
            " GROUP BY ALL ORDER BY ALL"
        )
        return [StoredTag(NodeId(group, node), *row) for group, node, *row in rows]

    def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        return duck_rows(self.file, of, from_ms, to_ms)

    async def days(self) -> Mapping[DayId, int]:
        return await duck_days(self.file)


def _series(new: Mapping[SeriesKey, int]) -> dict[str, Any]:
    """The columns of the table `series`: at a plant's first minute there are ten thousand rows of it."""
    nodes, devices, tags, datatypes = zip(*new, strict=True)
    texts = {"group": [n.group for n in nodes], "node": [n.node for n in nodes], "device": devices, "tag": tags}
    columns: dict[str, Any] = {name: np.array(column, dtype=object) for name, column in texts.items()}
    columns["id"] = np.array(list(new.values()), np.int32)
    columns["datatype"] = np.array(datatypes, np.uint8)
    return columns


def _columns(fields: Fields, ids: Sequence[int]) -> dict[str, Any]:
    """The columns of the table `samples`; NULLs are masked."""
    n = len(ids)
    columns: dict[str, Any] = {
        "series": np.array(ids, np.int32),
        "ts_ms": np.array(fields.stamps, np.int64),
        "quality": np.array(fields.qualities, np.uint8),
        "reason": np.array(fields.reasons, np.uint8),
    }
    if _SPLIT.isdisjoint(fields.datatypes):
        numbers = np.array(fields.values, np.float64)  # None becomes NaN, and no other NaN comes this far
        columns["value"] = np.ma.array(numbers, mask=np.isnan(numbers) | (columns["quality"] == 0))
        return columns
    parts = list(map(split, fields.datatypes, fields.qualities, fields.values))
    numbers = np.array([p[0] for p in parts], np.float64)
    columns["value"] = np.ma.array(numbers, mask=np.isnan(numbers))
    wide = np.array([p[1] or 0 for p in parts], np.int64)
    columns["value_int"] = np.ma.array(wide, mask=np.array([p[1] is None for p in parts]))
    texts = np.empty(n, dtype=object)
    texts[:] = [p[2] for p in parts]
    columns["value_text"] = texts
    return columns


class EmbeddedLedger:
    """The ledger in the same file, so that entry and samples are one commit."""

    def __init__(self, file: DuckFile) -> None:
        self._file = file
        self._index = Index()

    async def open(self) -> None:
        runs = await self._file.read(RUNS_SQL)
        reaches = await self._file.read(REACH_SQL)
        self._index.load(
            (Run(NodeId(g, n), e, first, last) for g, n, e, first, last in runs),
            (Reach(NodeId(g, n), d, e, first, last) for g, n, d, e, first, last in reaches),
        )

    async def known(self, keys: Sequence[BatchKey]) -> dict[BatchKey, str]:
        held: dict[tuple[NodeId, str], list[int]] = {}
        for key in keys:
            if self._index.holds(key):
                held.setdefault((key.node, key.epoch), []).append(key.number)
        found: dict[BatchKey, str] = {}
        for (node, epoch), numbers in held.items():
            rows = await self._file.read(
                'SELECT number, digest FROM ledger WHERE "group" = ? AND node = ? AND epoch = ?'
                " AND number BETWEEN ? AND ? AND number IN (SELECT unnest(?))",
                [*node, epoch, min(numbers), max(numbers), numbers],
            )
            found |= {BatchKey(node, epoch, number): digest for number, digest in rows}
        return found

    def overlaps(self, node: NodeId, device: str, epoch: str, first_ms: int, last_ms: int) -> bool:
        return self._index.overlaps(node, device, epoch, first_ms, last_ms)

    def holes(self, node: NodeId, epoch: str, first: int, last: int) -> list[tuple[int, int]]:
        return self._index.holes(node, epoch, first, last)

    def epochs(self) -> dict[tuple[NodeId, str], int]:
        return self._index.highest()

    async def collided(self) -> dict[tuple[NodeId, str], int]:
        rows = await self._file.read(COLLIDED_SQL)
        return {(NodeId(group, node), device): int(n) for group, node, device, n in rows}

    async def add(self, entries: Sequence[LedgerEntry]) -> None:
        """Within the store's `transaction`."""
        if not entries:
            return
        keys, devices, digests, *counts = zip(*entries, strict=True)
        texts = {
            "group": [k.node.group for k in keys],
            "node": [k.node.node for k in keys],
            "epoch": [k.epoch for k in keys],
            "device": devices,
            "digest": digests,
        }
        columns: dict[str, Any] = {name: np.array(column, dtype=object) for name, column in texts.items()}
        columns["number"] = np.array([k.number for k in keys], np.int64)
        for name, column in zip(("samples", "dead", "collided", "first_ms", "last_ms"), counts, strict=True):
            columns[name] = np.array(column, np.int64)
        await self._file.insert("ledger", columns)
        self._file.on_commit(lambda: self._index.add(entries))

    async def window(self, from_ms: int, to_ms: int, of: DeviceId | None = None) -> list[Held]:
        sql, values = window_sql(from_ms, to_ms, of)
        return [held(*row) for row in await self._file.read(sql, list(values.values()))]

    async def sums(self, node: NodeId, epoch: str, ranges: Sequence[tuple[int, int]]) -> dict[str, Sums]:
        if not ranges:
            return {}
        rows = await self._file.read(
            "SELECT device, sum(samples), sum(dead), sum(collided) FROM ledger"
            ' WHERE "group" = ? AND node = ? AND epoch = ? AND EXISTS (SELECT 1 FROM'
            " (SELECT unnest(?::BIGINT[]) AS a, unnest(?::BIGINT[]) AS b) WHERE number BETWEEN a AND b)"
            " GROUP BY device",
            [*node, epoch, [a for a, _ in ranges], [b for _, b in ranges]],
        )
        return {device: Sums(int(samples), int(dead), int(collided)) for device, samples, dead, collided in rows}
