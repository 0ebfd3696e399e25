"""GET /api/export: whole rows of tags between two times as CSV, Parquet or an Arrow stream, exactly as stored."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from cloud.api.paging import Name, Only, wrong_order
from cloud.api.series import Stamp
from cloud.store.columns import joined
from cloud.store.port import TelemetryStore
from cloud.store.whole_rows import ROWS, Of
from wire.block import Quality, Reason
from wire.tag import Datatype

KINDS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
         "arrow": "application/vnd.apache.arrow.stream"}  # fmt: skip
EXAMPLES = {
    "csv": "group,node,device,tag,time,ts_ms,value,quality,reason,datatype\n"
    "plant-1,gw-1,pump-1,flow,2023-11-14 22:13:20.000Z,1700000000000,41.5,GOOD,none,FLOAT\n",
    "parquet": "PAR1...",
    "arrow": "(an Arrow IPC stream)",
}
CONTENT: dict[str, Any] = {
    kind: {"schema": {"type": "string", **({} if name == "csv" else {"format": "binary"})}, "example": EXAMPLES[name]}
    for name, kind in KINDS.items()
}
STEP = 20_000  # rows of CSV that are made at once


def router(store: TelemetryStore) -> APIRouter:
    api = APIRouter(tags=["export"])

    @api.get(
        "/export",
        summary="Every row of a tag, a device or a site as CSV, Parquet or an Arrow stream",
        response_class=StreamingResponse,
        responses={200: {"description": "the rows", "content": CONTENT}},
    )
    async def export(
        group: Annotated[Name, Query(description="the site")],
        from_ms: Stamp,
        to_ms: Stamp,
        node: Annotated[Only, Query(description="only this gateway")] = None,
        device: Annotated[Only, Query(description="only this device; empty: the gateway's own tags")] = None,
        tag: Annotated[Only, Query(description="only this tag")] = None,
        format: Literal["csv", "parquet", "arrow"] = "csv",
    ) -> StreamingResponse:
        """From from_ms (included) to to_ms (not included), sorted by node, device, tag and time, exactly as stored.

        CSV: time in UTC, the value as its datatype says, quality, reason. Parquet and Arrow: as the archive.
        It comes in pieces, however much it is; one that breaks off has no proper end.
        """
        wrong_order(from_ms, to_ms)
        rows = store.samples(Of(group, node, device, tag), from_ms, to_ms)
        first = await anext(rows, None)  # a store that is down is told with a status, not in the middle
        found = {"csv": _csv, "parquet": _parquet, "arrow": _arrow}[format](_with(first, rows))
        name = f'attachment; filename="samples.{format}"'
        return StreamingResponse(found, media_type=KINDS[format], headers={"Content-Disposition": name})

    return api


async def _with(first: Any, rows: AsyncIterator[Any]) -> AsyncIterator[Any]:
    if first is not None:
        yield first
        async for batch in rows:
            yield batch


async def _csv(rows: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    yield b"group,node,device,tag,time,ts_ms,value,quality,reason,datatype\n"
    async for batch in rows:
        for start in range(0, batch.num_rows, STEP):
            # In a thread: the collector has the loop.
            yield await asyncio.to_thread(_lines, batch.slice(start, STEP))


def _lines(batch: Any) -> bytes:
    c = {name: batch.column(name).to_pylist() for name in ROWS.names}
    facts = zip(c["datatype"], c["value"], c["value_int"], c["value_text"], strict=True)
    values = [_text(joined(Datatype(kind), *more)) for kind, *more in facts]
    columns = {
        **{name: pa.array(c[name]) for name in ("group", "node", "device", "tag")},
        "time": batch.column("ts_ms").cast(pa.timestamp("ms", "UTC")),
        "ts_ms": batch.column("ts_ms"),
        "value": pa.array(values, pa.string()),
        "quality": pa.array([Quality(q).name for q in c["quality"]]),
        "reason": pa.array([Reason(r).name.lower() for r in c["reason"]]),
        "datatype": pa.array([Datatype(d).name for d in c["datatype"]]),
    }
    out = io.BytesIO()
    pv.write_csv(pa.table(columns), out, pv.WriteOptions(include_header=False, quoting_style="needed"))
    return out.getvalue()


def _text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


async def _parquet(rows: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    out = _Growing()
    with pq.ParquetWriter(out, ROWS, compression="zstd") as writer:
        async for batch in rows:
            await asyncio.to_thread(writer.write_batch, batch)
            yield out.taken()
    yield out.taken()


async def _arrow(rows: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    out = _Growing()
    plain = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in ROWS])
    with pa.ipc.new_stream(out, plain) as writer:
        async for batch in rows:
            await asyncio.to_thread(writer.write_batch, batch.cast(plain))
            yield out.taken()
    yield out.taken()


class _Growing(io.RawIOBase):
    """What was written since it was taken last."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self._at += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
