"""A day of the archive back into the store: only what the store does not have, through the store's own write path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cloud.archive.day import check_bytes, copied
from cloud.archive.folder import ArchiveDown, Folder
from cloud.archive.manifest import Damaged, manifest_of
from cloud.archive.merge import only_in
from cloud.store.columns import sample_of
from cloud.store.port import Batch, TelemetryStore
from cloud.store.whole_rows import ROWS, DayId, Of
from wire.block import Sample
from wire.ids import NodeId

if TYPE_CHECKING:
    from cloud.archive.archiver import Job

_IDENTITY = ["node", "device", "tag", "ts_ms"]


async def restore_day(folder: Folder, store: TelemetryStore, day: DayId, job: Job) -> Mapping[str, Any]:
    """rows: of the archived day; restored, there (in the store already), refused by the database. Raises StoreDown.

    Nobody else may write meanwhile.
    """
    try:
        manifest = await asyncio.to_thread(manifest_of, folder, day)
        if manifest is None:
            raise ArchiveDown(f"{day} is not archived; `gaugeline cloud archive list` shows what is")
        for part in manifest.parts:
            await asyncio.to_thread(check_bytes, folder, day, part)
        with ExitStack() as stack:
            present = stack.enter_context(folder.temporary())
            archived = await asyncio.to_thread(stack.enter_context, copied(folder, manifest))
            schema = pa.schema([ROWS.field(name) for name in _IDENTITY])
            with pq.ParquetWriter(present, schema) as out:
                async for batch in store.samples(Of(day.group), day.from_ms, day.to_ms):
                    await asyncio.to_thread(out.write_batch, batch.select(_IDENTITY))
            missing = only_in(archived, present, folder.scratch)
            restored = refused = 0
            while (batch := await asyncio.to_thread(next, missing, None)) is not None:
                batches = list(_batches(batch))
                async with store.transaction():
                    lost = await store.write(batches)
                refused += len(lost)
                restored += batch.num_rows - len(lost)
                job.rows += batch.num_rows
    except (Damaged, OSError, pa.ArrowException) as fault:
        raise ArchiveDown(
            f"archive of {day}: {fault}; `gaugeline cloud archive verify` looks through all of it"
        ) from fault
    there = manifest.rows - restored - refused
    return {"rows": manifest.rows, "restored": restored, "there": there, "refused": refused}


def _batches(rows: Any) -> Iterator[Batch]:
    """Sorted rows as one batch a device. No gateway sent them like this: they have no key."""
    names = ("tag", "datatype", "ts_ms", "quality", "reason", "value", "value_int", "value_text")
    columns = [rows.column(name).to_pylist() for name in ("group", "node", "device", *names)]
    for (group, node, device), found in groupby(zip(*columns, strict=True), key=lambda row: row[:3]):
        samples: list[Sample] = sorted((sample_of(*row[3:]) for row in found), key=lambda s: s.ts_ms)
        first, last = samples[0].ts_ms, samples[-1].ts_ms
        yield Batch(NodeId(group, node), device, tuple(samples), historical=True, first_ms=first, last_ms=last)
