"""InfluxDB as the store of samples. Its writes are idempotent: the same sample twice is one row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

from cloud.store import chart
from cloud.store.columns import sample_of
from cloud.store.influx_client import InfluxServer, Unacceptable
from cloud.store.influx_retention import kept_for
from cloud.store.influx_windows import InfluxWindows, tag_of
from cloud.store.line_protocol import NODE_ITSELF, USUAL, Prefixes, body
from cloud.store.port import Aggregate, Batch, DeviceId, LastValue, Refused, Series, StoredTag
from cloud.store.whole_rows import DayId, Of, TagId, influx_days, influx_rows
from cloud.store.window_port import NothingRolled, Rolled
from wire.columns import fields_of
from wire.ids import NodeId

MOST_BYTES = 4_000_000
"""Of one body before packing; InfluxDB Cloud and 3.x refuse more than 5 MB and 10 MB."""
MOST_LINES = 10_000
CONNECTIONS = 2
"""The server takes one body in while the next one is built, packed and sent."""

_MS = 1_000_000  # ns; bound times are nanoseconds


class _Piece(NamedTuple):
    """Some of a batch's samples, ready to be sent. first: the place of the first one in the batch."""

    batch: Batch
    first: int
    n: int
    text: bytes


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class InfluxStore:
    def __init__(
        self, server: InfluxServer, now_ms: Callable[[], int] = _wall_ms, rolled: Rolled | None = None
    ) -> None:
        self._http, self._now_ms = server, now_ms
        self._rolled = rolled or NothingRolled()
        self.windows = InfluxWindows(server, now_ms)
        self._prefixes = Prefixes()

    @property
    def about(self) -> str:
        return self._http.about

    @property
    def server(self) -> InfluxServer:
        return self._http

    async def open(self) -> None:
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """InfluxDB has none: ledger entries are written after the samples."""
        return nullcontext()

    async def write(self, batches: Sequence[Batch]) -> list[Refused]:
        refused: list[Refused] = []
        whole: dict[int, Batch] = {}  # what is left of a batch -> the batch
        if self._http.retention_ms is not None:
            batches = [self._young(b, self._http.retention_ms, whole, refused) for b in batches]
        busy = asyncio.Semaphore(CONNECTIONS)

        async def one(pieces: list[_Piece]) -> list[Refused]:
            async with busy:
                return await self._write(pieces)

        sent: list[asyncio.Task[list[Refused]]] = []
        try:
            for pieces in self._bodies(batches):
                sent.append(asyncio.create_task(one(pieces), name="influxdb[body]"))
                await asyncio.sleep(0)  # it goes out before the next one is built
            results = await asyncio.gather(*sent, return_exceptions=True)
        finally:
            for task in sent:
                task.cancel()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            refused += (r._replace(batch=whole.get(id(r.batch), r.batch)) for r in result)
        return refused

    def _bodies(self, batches: Sequence[Batch]) -> Iterator[list[_Piece]]:
        found: list[_Piece] = []
        size = lines = 0
        for piece in (piece for b in batches for piece in self._pieces(b, 0, len(b.samples))):
            if found and (size + len(piece.text) > MOST_BYTES or lines + piece.n > MOST_LINES):
                yield found
                found, size, lines = [], 0, 0
            found.append(piece)
            size += len(piece.text)
            lines += piece.n
        if found:
            yield found

    def _young(self, b: Batch, retention_ms: int, whole: dict[int, Batch], refused: list[Refused]) -> Batch:
        """A batch without what the database would delete at once; some versions drop that without a word."""
        oldest_ms = self._now_ms() - retention_ms
        if not b.samples or min(fields_of(b.samples).stamps) >= oldest_ms:
            return b
        why = f"older than the database keeps: it {kept_for(retention_ms)}"
        refused += (Refused(b, s, why) for s in b.samples if s.ts_ms < oldest_ms)
        left = replace(b, samples=tuple(s for s in b.samples if s.ts_ms >= oldest_ms))
        whole[id(left)] = b
        return left

    def _piece(self, b: Batch, first: int, n: int) -> _Piece:
        samples = b.samples if n == len(b.samples) else b.samples[first : first + n]
        return _Piece(b, first, n, body(b.node, b.device, samples, self._prefixes))

    def _pieces(self, b: Batch, first: int, n: int) -> Iterator[_Piece]:
        """A batch as one piece, or as several that each fit into a body."""
        piece = self._piece(b, first, n)
        if n > 1 and (n > MOST_LINES or len(piece.text) > MOST_BYTES):
            yield from self._pieces(b, first, n // 2)
            yield from self._pieces(b, first + n // 2, n - n // 2)
        elif n:
            yield piece

    async def _write(self, pieces: Sequence[_Piece]) -> list[Refused]:
        """Writes the lines; halves what the server does not accept, until the culprits stand alone."""
        if not pieces:
            return []
        try:
            await self._http.write(b"\n".join([piece.text for piece in pieces]))
        except Unacceptable as fault:
            if len(pieces) > 1:
                middle = len(pieces) // 2
                return await self._write(pieces[:middle]) + await self._write(pieces[middle:])
            batch, first, n, _ = pieces[0]
            if n == 1:
                return [Refused(batch, batch.samples[first], str(fault))]
            half = n // 2
            halves = self._piece(batch, first, half), self._piece(batch, first + half, n - half)
            return await self._write(halves[:1]) + await self._write(halves[1:])
        return []

    async def known(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> set[tuple[str, int]]:
        found = await self._http.query(
            'SELECT "quality" FROM "sample" WHERE "group" = $group AND "node" = $node'
            ' AND "device" = $device AND time >= $from AND time <= $to GROUP BY "tag"',
            {**_where(node, device), "from": from_ms * _MS, "to": to_ms * _MS},
        )
        return {(series.tags["tag"], int(row[0])) for series in found for row in series.rows}

    async def count(self) -> Mapping[DeviceId, int]:
        found = await self._http.query('SELECT count("quality") FROM "sample" GROUP BY "group", "node", "device"')
        return {_device(series.tags): int(series.rows[0][1]) for series in found}

    async def rows(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> int:
        found = await self._http.query(
            'SELECT count("quality") FROM "sample" WHERE "group" = $group AND "node" = $node'
            ' AND "device" = $device AND time >= $from AND time <= $to',
            {**_where(node, device), "from": from_ms * _MS, "to": to_ms * _MS},
        )
        return int(found[0].rows[0][1]) if found else 0

    async def last_values(self) -> list[LastValue]:
        found = await self._http.query(
            'SELECT last("quality") AS "quality", "datatype", "reason", "value", "value_int", "value_text"'
            ' FROM "sample" GROUP BY "group", "node", "device", "tag"'
        )
        values = []
        for series in found:
            node, device = _device(series.tags)
            ts_ms, quality, datatype, reason, value, value_int, value_text = series.rows[0]
            kind = USUAL if datatype is None else datatype
            sample = sample_of(series.tags["tag"], kind, ts_ms, quality, reason or 0, value, value_int, value_text)
            values.append(LastValue(node, device, sample))
        return values

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int = 1000) -> Series:
        return await chart.series(self.windows, self._rolled, TagId(node, device, tag), from_ms, to_ms, points)

    async def aggregates(
        self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, step_ms: int
    ) -> list[Aggregate]:
        return await chart.aggregates(self.windows, self._rolled, TagId(node, device, tag), from_ms, to_ms, step_ms)

    async def tags(self) -> list[StoredTag]:
        ends = []
        for end in ("first", "last"):  # a selector that stands alone gives the stamp of what it found
            ends.append(
                await self._http.query(
                    f'SELECT {end}("quality"), "datatype" FROM "sample" GROUP BY "group", "node", "device", "tag"'  # noqa: S608
                )
            )
        firsts = {tag_of(found.tags): int(found.rows[0][0]) for found in ends[0]}
        tags = []
        for found in ends[1]:
            tag = tag_of(found.tags)
            last_ms, _, datatype = found.rows[0]
            tags.append(StoredTag(*tag, int(datatype or USUAL), firsts.get(tag, last_ms), last_ms))
        return sorted(tags)

    def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        return influx_rows(self._http, of, from_ms, to_ms)

    async def days(self) -> Mapping[DayId, int]:
        return await influx_days(self._http, time.time_ns() // 1_000_000)


def _where(node: NodeId, device: str) -> dict[str, object]:
    return {"group": node.group, "node": node.node, "device": device or NODE_ITSELF}


def _device(tags: Mapping[str, str]) -> DeviceId:
    device = tags["device"]
    return DeviceId(NodeId(tags["group"], tags["node"]), "" if device == NODE_ITSELF else device)
