"""Windows in InfluxDB: computed from the samples by the server, kept in one measurement a level.

A roll-up has the tags of its samples, and the fields count, num, good (integers), mean, min, max, last (floats, left
out where no row has a number). Its stamp is the window's start plus the lease's token in nanoseconds: what a host
writes late that is not the active one any more stands beside what the new one wrote, and the highest stamp of a window
counts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cloud.store.influx_client import Found, InfluxServer, Unacceptable
from cloud.store.line_protocol import NODE_ITSELF, series_prefix
from cloud.store.port import DeviceId
from cloud.store.whole_rows import Of, TagId, influx_rows
from cloud.store.window_port import Rows
from cloud.store.windows import COUNTS, HOUR_MS, LEVELS, NUMBERS, Windows, fenced, joined, no_windows, windows_of
from wire.block import Quality
from wire.errors import StoreDown
from wire.ids import NodeId

MOST_LINES = 10_000
MOST_ANSWERED = 20_000
"""Windows of one answer, whose JSON keeps the event loop busy for about 0.1 s."""
MOST_DEVICES = 50  # in one question: its text names each of them
_MS = 1_000_000  # ns
_FACTS = 'count("quality"), count("value"), min("quality"), mean("value"), min("value"), max("value"), last("value")'
_TAGS = '"node", "device", "tag"'
_NOT_FINITE = "unsupported value"
"""What the server says instead of an answer when a mean is beyond a float's range."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class InfluxWindows:
    def __init__(self, server: InfluxServer, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._http, self._now_ms = server, now_ms
        self._tags: dict[DeviceId, int] = {}  # how many tags a device has: how long an answer will be

    async def devices(self, group: str) -> list[DeviceId]:
        found = await self._http.query(
            f'SELECT last("quality") FROM "sample" WHERE "group" = $group GROUP BY {_TAGS}',  # noqa: S608
            {"group": group},
        )
        self._learn([tag_of({"group": group, **series.tags}) for series in found])
        return sorted(of for of in self._tags if of.node.group == group)

    def _learn(self, tags: Sequence[TagId]) -> None:
        n: dict[DeviceId, int] = {}
        for tag in tags:
            of = DeviceId(tag.node, tag.device)
            n[of] = n.get(of, 0) + 1
        for of, found in n.items():
            self._tags[of] = max(found, self._tags.get(of, 0))

    async def computed(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int) -> AsyncIterator[Windows]:
        async for devices, begin_ms, end_ms in self._pieces(of, from_ms, to_ms, step_ms):
            where, bound = _where(devices, begin_ms, end_ms)
            yield await self._computed(where, bound, devices, begin_ms, end_ms, step_ms)

    async def _computed(
        self, where: str, bound: dict[str, Any], of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int
    ) -> Windows:
        by = f"GROUP BY {_TAGS}, time({step_ms}ms) fill(none)"
        try:
            found = await self._http.query(f'SELECT {_FACTS} FROM "sample" WHERE {where} {by}', bound)  # noqa: S608
        except StoreDown as fault:
            if _NOT_FINITE not in str(fault):
                raise
            return await self._from_rows(of, from_ms, to_ms, step_ms)
        tags, rank, columns = _columns(bound["group"], found)
        if not len(rank):
            return no_windows(tags)
        self._learn(tags)
        start_ms, count, num, worst = (_whole(column) for column in columns[:4])
        good = count.copy()
        if (worst < Quality.GOOD).any():
            answer = await self._http.query(
                f'SELECT count("quality") FROM "sample" WHERE {where} AND "quality" = {Quality.GOOD:d} {by}',  # noqa: S608
                bound,
            )
            good[worst < Quality.GOOD] = 0
            place = {(int(r), int(ts)): i for i, (r, ts) in enumerate(zip(rank, start_ms, strict=True))}
            ranks = {tag: i for i, tag in enumerate(tags)}
            for series in answer:
                r = ranks.get(tag_of({"group": bound["group"], **series.tags}))
                for ts, n in series.rows:
                    if r is not None and (i := place.get((r, ts))) is not None:
                        good[i] = min(n, int(count[i]))  # rows may have come between the two questions
        numbers = [np.where(num > 0, _numbers(column), np.nan) for column in columns[4:]]
        return Windows(tags, rank, start_ms, count, num, good, *numbers)

    async def _from_rows(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int) -> Windows:
        """What the server cannot compute."""
        parts: dict[TagId, list[Windows]] = {}
        for node, device in of:
            async for batch in influx_rows(self._http, Of(node.group, node.node, device), from_ms, to_ms):
                names = batch.column("tag").to_pylist()
                value = batch.column("value").to_numpy(zero_copy_only=False).astype(np.float64)
                ts_ms, quality = (np.asarray(batch.column(name)).astype(np.int64) for name in ("ts_ms", "quality"))
                places = np.array(names)
                for name in sorted(set(names)):
                    mine, tag = places == name, TagId(node, device, name)
                    rank = np.zeros(int(mine.sum()), np.int64)
                    one = windows_of([tag], rank, ts_ms[mine], quality[mine], value[mine], step_ms)
                    parts.setdefault(tag, []).append(one)
        tags = sorted(parts)
        ranked = [joined(parts[tag]).coarser(step_ms).ranked(tags, i) for i, tag in enumerate(tags)]
        return joined(ranked) if ranked else no_windows()

    async def rolled(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, level: str) -> AsyncIterator[Windows]:
        async for devices, begin_ms, end_ms in self._pieces(of, from_ms, to_ms, LEVELS[level]):
            where, bound = _where(devices, begin_ms, end_ms)
            yield await self._rolled(where, bound, level)

    async def _rolled(self, where: str, bound: dict[str, Any], level: str) -> Windows:
        names = ", ".join(f'"{name}"' for name in (*COUNTS, *NUMBERS))
        found = await self._http.query(
            f'SELECT {names} FROM "rollup_{level}" WHERE {where} GROUP BY {_TAGS}',  # noqa: S608
            bound,
        )
        tags, rank, columns = _columns(bound["group"], found)
        if not len(rank):
            return no_windows(tags)
        # Rows come in the order of time, and nanoseconds are cut off: of rows with one stamp the last one counts.
        start_ms = _whole(columns[0])
        newest = (np.diff(start_ms, append=-1) != 0) | (np.diff(rank, append=-1) != 0)
        count, num, good = (_whole(column) for column in columns[1:4])
        # A field that a row had before it was written anew stays in the database.
        numbers = [np.where(num > 0, _numbers(column), np.nan) for column in columns[4:]]
        return Windows(tags, rank, start_ms, count, num, good, *numbers).where(newest)

    async def put(self, level: str, found: Windows, token: int) -> None:
        fenced(token)
        if self._http.retention_ms is not None:  # the server refuses what it would delete
            found = found.where(found.start_ms >= self._now_ms() - self._http.retention_ms)
        heads = [series_prefix(tag.node, tag.device, tag.tag, f"rollup_{level}") for tag in found.tags]
        for first in range(0, len(found), MOST_LINES):
            part = found.where(slice(first, first + MOST_LINES))
            try:
                await self._http.write("\n".join(_lines(heads, part, token)).encode(), "ns")
            except Unacceptable as fault:
                raise StoreDown(
                    f"InfluxDB refuses roll-ups: {fault}; does another program write rollup_{level}?"
                ) from fault

    async def rows_of(self, tag: TagId, from_ms: int, to_ms: int, most: int) -> Rows:
        where, bound = _where_tag(tag, from_ms, to_ms)
        found = await self._http.query(f'SELECT "value", "quality" FROM "sample" WHERE {where} LIMIT {most}', bound)  # noqa: S608
        columns = list(zip(*found[0].rows, strict=True)) if found else [(), (), ()]
        return Rows(_whole(columns[0]), _numbers(columns[1]), _whole(columns[2]))

    async def computed_of(self, tag: TagId, from_ms: int, to_ms: int, step_ms: int) -> Windows:
        where, bound = _where_tag(tag, from_ms, to_ms)
        w = await self._computed(where, bound, [DeviceId(tag.node, tag.device)], from_ms, to_ms, step_ms)
        return _only(w, tag)

    async def forget(self, level: str, before_ms: int) -> None:
        try:
            await self._http.forget(f"rollup_{level}", before_ms)
        except Unacceptable as fault:
            raise StoreDown(f"{self._http.about}: does not delete: {fault}") from fault

    async def rolled_of(self, tag: TagId, from_ms: int, to_ms: int, level: str) -> Windows:
        where, bound = _where_tag(tag, from_ms, to_ms)
        return _only(await self._rolled(where, bound, level), tag)

    async def _pieces(
        self, of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int
    ) -> AsyncIterator[tuple[list[DeviceId], int, int]]:
        """Parts of the time, whole hours, and within an hour some devices of one group."""
        for group in sorted({one.node.group for one in of if one not in self._tags}):
            await self.devices(group)
        for one in of:
            self._tags.setdefault(one, 1)  # its first samples are just being written, or were refused
        an_hour = max(1, HOUR_MS // step_ms)
        tags = sum(self._tags.get(one, 1) for one in of)
        hours = max(1, MOST_ANSWERED // (an_hour * max(1, tags)))
        begin_ms = from_ms
        while begin_ms < to_ms:
            end_ms = min(to_ms, (begin_ms // HOUR_MS + hours) * HOUR_MS)
            windows = min(an_hour * hours, -(-(end_ms - begin_ms) // step_ms))
            for devices in self._together(of, windows):
                yield devices, begin_ms, end_ms
            begin_ms = end_ms

    def _together(self, of: Sequence[DeviceId], windows: int) -> Iterator[list[DeviceId]]:
        some: list[DeviceId] = []
        rows = 0
        for one in sorted(of):
            n = self._tags.get(one, 1) * windows
            other = some and some[0].node.group != one.node.group
            if some and (other or rows + n > MOST_ANSWERED or len(some) >= MOST_DEVICES):
                yield some
                some, rows = [], 0
            some.append(one)
            rows += n
        if some:
            yield some


def tag_of(tags: Mapping[str, str]) -> TagId:
    device = tags["device"]
    return TagId(NodeId(tags["group"], tags["node"]), "" if device == NODE_ITSELF else device, tags["tag"])


def _only(w: Windows, tag: TagId) -> Windows:
    """Of one tag."""
    rank = next((i for i, one in enumerate(w.tags) if one == tag), -1)
    return w.where(w.rank == rank).ranked([tag], 0)


def _where(of: Sequence[DeviceId], from_ms: int, to_ms: int) -> tuple[str, dict[str, Any]]:
    """of: devices of one group."""
    bound: dict[str, Any] = {"group": of[0].node.group, "from": from_ms * _MS, "to": to_ms * _MS}
    anyone = []
    for i, one in enumerate(of):
        anyone.append(f'("node" = $n{i} AND "device" = $d{i})')
        bound |= {f"n{i}": one.node.node, f"d{i}": one.device or NODE_ITSELF}
    return f'"group" = $group AND ({" OR ".join(anyone)}) AND time >= $from AND time < $to', bound


def _where_tag(tag: TagId, from_ms: int, to_ms: int) -> tuple[str, dict[str, Any]]:
    where, bound = _where([DeviceId(tag.node, tag.device)], from_ms, to_ms)
    return f'{where} AND "tag" = $tag', bound | {"tag": tag.tag}


def _columns(group: str, found: Sequence[Found]) -> tuple[list[TagId], Any, list[Any]]:
    """Tags, the rank of each row, its columns."""
    tags = [tag_of({"group": group, **series.tags}) for series in found]
    rank = np.repeat(np.arange(len(tags)), [len(series.rows) for series in found])
    return tags, rank, list(zip(*(row for series in found for row in series.rows), strict=True))


def _whole(column: Sequence[Any]) -> Any:
    return np.array([0 if n is None else n for n in column], np.int64)


def _numbers(column: Sequence[Any]) -> Any:
    return np.array(column, np.float64)  # None becomes NaN


def _lines(heads: Sequence[str], w: Windows, token: int) -> Iterator[str]:
    columns = (w.rank, w.start_ms, w.count, w.num, w.good, w.mean, w.min, w.max, w.last)
    for rank, start_ms, count, num, good, mean, low, high, last in zip(*(c.tolist() for c in columns), strict=True):
        numbers = f",mean={mean!r},min={low!r},max={high!r},last={last!r}" if num else ""
        yield f"{heads[rank]}count={count}i,num={num}i,good={good}i{numbers} {start_ms * _MS + token}"
