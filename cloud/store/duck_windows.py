"""Windows in a DuckDB file: computed from samples, kept in one table a level."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cloud.store.duck_file import DuckFile
from cloud.store.port import DeviceId
from cloud.store.whole_rows import TagId
from cloud.store.window_port import Rows
from cloud.store.windows import COUNTS, HOUR_MS, NUMBERS, Windows, no_windows
from wire.block import Quality
from wire.ids import NodeId
from wire.tag import Datatype

MOST_WINDOWS = 500_000  # of one query; about 100 bytes each in DuckDB and as much again here
MOST_PUT = 50_000  # of one transaction, for which whoever writes samples has to wait
_SMALL = 2.0**-40  # a sum of numbers that are so much smaller does not leave the range of a float

Ids = Mapping[tuple[NodeId, str], Mapping[tuple[str, Datatype], int]]
"""Device -> (tag, datatype) -> series. A retyped tag has several series: its roll-ups bear the lowest number."""

# arg_max leaves rows without a value out.
_FACTS = f"""count(*), count(value), count(*) FILTER (WHERE quality = {Quality.GOOD:d}),
 CASE WHEN isfinite(avg(value)) THEN avg(value) ELSE avg(value * {_SMALL!r}) / {_SMALL!r} END,
 min(value), max(value), arg_max(value, ts_ms)"""
_KEPT = ", ".join(f'"{name}"' for name in ("start_ms", *COUNTS, *NUMBERS))


class DuckWindows:
    """ids: of the store; raises StoreDown before its `open` has filled them."""

    def __init__(self, file: DuckFile, ids: Callable[[], Ids]) -> None:
        self._file, self._ids = file, ids

    async def devices(self, group: str) -> list[DeviceId]:
        return sorted(DeviceId(node, device) for node, device in self._ids() if node.group == group)

    def _tags(self, of: Sequence[DeviceId]) -> dict[TagId, list[int]]:
        """Each tag's series, the lowest first."""
        ids, found = self._ids(), dict[TagId, list[int]]()
        for node, device in of:
            for (tag, _), i in list(ids.get((node, device), {}).items()):
                found.setdefault(TagId(node, device, tag), []).append(i)
        return {tag: sorted(found[tag]) for tag in sorted(found)}

    async def computed(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int) -> AsyncIterator[Windows]:
        for tags, begin_ms, end_ms in _pieces(self._tags(of), from_ms, to_ms, step_ms):
            pairs = [(i, rank) for rank, ids in enumerate(tags.values()) for i in ids]
            yield await self._computed(list(tags), pairs, begin_ms, end_ms, step_ms)

    async def _computed(
        self, tags: list[TagId], pairs: list[tuple[int, int]], from_ms: int, to_ms: int, step_ms: int
    ) -> Windows:
        return await self._windows(
            tags,
            f"SELECT rank, ts_ms // ? * ? AS start_ms, {_FACTS} FROM samples"  # noqa: S608 - texts of ours
            " JOIN (SELECT unnest(?::INTEGER[]) AS id, unnest(?::INTEGER[]) AS rank) ON series = id"
            " WHERE ts_ms >= ? AND ts_ms < ? GROUP BY 1, 2 ORDER BY 1, 2",
            [step_ms, step_ms, [i for i, _ in pairs], [rank for _, rank in pairs], from_ms, to_ms],
        )

    async def rolled(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, level: str) -> AsyncIterator[Windows]:
        for tags, begin_ms, end_ms in _pieces(self._tags(of), from_ms, to_ms, HOUR_MS // 60):
            ids = [several[0] for several in tags.values()]
            yield await self._windows(
                list(tags),
                f"SELECT rank, {_KEPT} FROM rollup_{level}"  # noqa: S608
                " JOIN (SELECT unnest(?::INTEGER[]) AS id, unnest(?::INTEGER[]) AS rank) ON series = id"
                " WHERE start_ms >= ? AND start_ms < ? ORDER BY 1, 2",
                [ids, list(range(len(ids))), begin_ms, end_ms],
            )

    async def put(self, level: str, found: Windows, token: int) -> None:
        """A file has one owner: its token says nothing."""
        ids = {tag: several[0] for tag, several in self._tags(sorted({DeviceId(*t[:2]) for t in found.tags})).items()}
        series = np.array([ids.get(tag, 0) for tag in found.tags], np.int32)
        found = found.where(series[found.rank] > 0)
        for first in range(0, len(found), MOST_PUT):
            part = found.where(slice(first, first + MOST_PUT))
            columns: dict[str, Any] = {"series": series[part.rank], "start_ms": part.start_ms}
            columns |= {name: getattr(part, name).astype(np.int32) for name in COUNTS}
            columns |= {name: np.ma.array(getattr(part, name), mask=part.num == 0) for name in NUMBERS}
            bounds = (int(part.start_ms.min()), int(part.start_ms.max()))
            async with self._file.transaction():
                await self._file.replace(f"rollup_{level}", columns, ("series", "start_ms"), bounds)

    async def rows_of(self, tag: TagId, from_ms: int, to_ms: int, most: int) -> Rows:
        ids = self._of(tag)
        if not ids:
            return Rows(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
        rows = await self._file.arrays(
            f"SELECT ts_ms, value, quality FROM samples WHERE series IN ({ids})"  # noqa: S608 - numbers
            " AND ts_ms >= ? AND ts_ms < ? ORDER BY ts_ms LIMIT ?",
            [from_ms, to_ms, most],
        )
        t, q = (np.asarray(rows[name]).astype(np.int64) for name in ("ts_ms", "quality"))
        return Rows(t, _numbers(rows["value"]), q)

    async def computed_of(self, tag: TagId, from_ms: int, to_ms: int, step_ms: int) -> Windows:
        ids = self._of(tag)
        if not ids:
            return no_windows([tag])
        return await self._windows(
            [tag],
            f"SELECT 0 AS rank, ts_ms // ? * ? AS start_ms, {_FACTS} FROM samples WHERE series IN ({ids})"  # noqa: S608
            " AND ts_ms >= ? AND ts_ms < ? GROUP BY 2 ORDER BY 2",
            [step_ms, step_ms, from_ms, to_ms],
        )

    async def forget(self, level: str, before_ms: int) -> None:
        async with self._file.transaction():
            await self._file.execute(f"DELETE FROM rollup_{level} WHERE start_ms < ?", [before_ms])  # noqa: S608

    async def rolled_of(self, tag: TagId, from_ms: int, to_ms: int, level: str) -> Windows:
        ids = self._of(tag)
        if not ids:
            return no_windows([tag])
        return await self._windows(
            [tag],
            f"SELECT 0 AS rank, {_KEPT} FROM rollup_{level} WHERE series = {ids.split(',')[0]}"  # noqa: S608
            " AND start_ms >= ? AND start_ms < ? ORDER BY start_ms",
            [from_ms, to_ms],
        )

    def _of(self, tag: TagId) -> str:
        of_device = self._ids().get((tag.node, tag.device), {})
        return ",".join(map(str, sorted(i for (name, _), i in list(of_device.items()) if name == tag.tag)))

    async def _windows(self, tags: list[TagId], sql: str, values: Sequence[object]) -> Windows:
        columns = list((await self._file.arrays(sql, values)).values())
        rank, start_ms, count, num, good = (np.asarray(column).astype(np.int64) for column in columns[:5])
        mean, low, high, last = map(_numbers, columns[5:])
        return Windows(tags, rank, start_ms, count, num, good, mean, low, high, last)


def _numbers(column: Any) -> Any:
    """NaN where NULL."""
    return np.ma.filled(column.astype(np.float64), np.nan)


def _pieces(
    tags: Mapping[TagId, list[int]], from_ms: int, to_ms: int, step_ms: int
) -> Iterator[tuple[dict[TagId, list[int]], int, int]]:
    """Parts of the time, whole hours, and of an hour parts of the tags: rows lie in the file in the order of time."""
    an_hour = max(1, HOUR_MS // step_ms)
    hours = max(1, MOST_WINDOWS // (an_hour * max(1, len(tags))))
    at_once = max(1, MOST_WINDOWS // (an_hour * hours))
    names = list(tags)
    begin_ms = from_ms
    while begin_ms < to_ms:
        end_ms = min(to_ms, (begin_ms // HOUR_MS + hours) * HOUR_MS)
        for first in range(0, len(names), at_once):
            yield {name: tags[name] for name in names[first : first + at_once]}, begin_ms, end_ms
        begin_ms = end_ms
