"""InfluxDB 1.x as the store of samples. Its writes are idempotent: the same sample twice is one row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import repeat
from typing import Any

import numpy as np

from cloud.store.columns import sample_of
from cloud.store.influx_http import InfluxHttp, Unacceptable
from cloud.store.line_protocol import NODE_ITSELF, Prefixes, lines
from cloud.store.port import Batch, DeviceId, LastValue, Refused, Series
from cloud.store.reduce import reduced
from cloud.store.whole_rows import DayId, Of, influx_days, influx_rows
from wire.ids import NodeId

MOST_BYTES = 4_000_000
"""Of one body before packing; InfluxDB Cloud and 3.x refuse more than 5 MB and 10 MB."""
MOST_LINES = 10_000
_PIECE = 50  # lines that stay together: with the longest texts still below MOST_BYTES

_MS = 1_000_000  # ns; bound times are nanoseconds

Line = tuple[str, Batch, int]  # the text, and which sample of which batch it is


class InfluxStore:
    def __init__(self, http: InfluxHttp) -> None:
        self._http = http
        self._prefixes = Prefixes()

    @property
    def about(self) -> str:
        return f"InfluxDB {self._http.version}, {self._http.url}/{self._http.database}"

    async def open(self) -> None:
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """InfluxDB has none: ledger entries are written after the samples."""
        return nullcontext()

    async def write(self, batches: Sequence[Batch]) -> list[Refused]:
        bodies: list[list[Line]] = [[]]
        size = 0
        for b in batches:
            texts = lines(b.node, b.device, b.samples, self._prefixes)
            for first in range(0, len(texts), _PIECE):
                piece = texts[first : first + _PIECE]
                length = sum(map(len, piece))
                if size + length > MOST_BYTES or len(bodies[-1]) + len(piece) > MOST_LINES:
                    bodies.append([])
                    size = 0
                bodies[-1] += zip(piece, repeat(b), range(first, first + len(piece)), strict=False)
                size += length
        # Two at a time: one is packed while the server takes the other one in.
        busy = asyncio.Semaphore(2)

        async def one(body: list[Line]) -> list[Refused]:
            async with busy:
                return await self._write(body)

        refused: list[Refused] = []
        for result in await asyncio.gather(*(one(body) for body in bodies), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            refused += result
        return refused

    async def _write(self, body: list[Line]) -> list[Refused]:
        """Writes the lines; halves what the server does not accept, until the culprits stand alone."""
        if not body:
            return []
        try:
            await self._http.write("\n".join(text for text, _, _ in body))
        except Unacceptable as fault:
            if len(body) == 1:
                _, batch, i = body[0]
                return [Refused(batch, batch.samples[i], str(fault))]
            middle = len(body) // 2
            return await self._write(body[:middle]) + await self._write(body[middle:])
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
            sample = sample_of(series.tags["tag"], datatype, ts_ms, quality, reason, value, value_int, value_text)
            values.append(LastValue(node, device, sample))
        return values

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int = 1000) -> Series:
        found = await self._http.query(
            'SELECT "value", "quality" FROM "sample" WHERE "group" = $group AND "node" = $node'
            ' AND "device" = $device AND "tag" = $tag AND time >= $from AND time < $to',
            {**_where(node, device), "tag": tag, "from": from_ms * _MS, "to": to_ms * _MS},
        )
        if not found:
            return Series()
        t, v, q = zip(*found[0].rows, strict=True)
        return reduced(np.array(t, np.int64), np.array(v, np.float64), np.array(q, np.int64), points)

    def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        return influx_rows(self._http, of, from_ms, to_ms)

    async def days(self) -> Mapping[DayId, int]:
        return await influx_days(self._http, time.time_ns() // 1_000_000)


def _where(node: NodeId, device: str) -> dict[str, object]:
    return {"group": node.group, "node": node.node, "device": device or NODE_ITSELF}


def _device(tags: Mapping[str, str]) -> DeviceId:
    device = tags["device"]
    return DeviceId(NodeId(tags["group"], tags["node"]), "" if device == NODE_ITSELF else device)
