"""A day of the archive back into the store: only what the store does not have, through the store's own write path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cloud.archive.day import check_bytes, copied
from cloud.archive.folder import ArchiveDown, Folder
from cloud.archive.manifest import Damaged, manifest_of
from cloud.archive.merge import count_by_device, only_in
from cloud.duty import Duty
from cloud.ledger import Ledger
from cloud.retention.port import Removal
from cloud.state.restored import RestoredDay, RestoredDays
from cloud.store.columns import sample_of
from cloud.store.port import Batch, DeviceId, TelemetryStore
from cloud.store.whole_rows import DAY_MS, ROWS, DayId, Of
from cloud.window import closed
from wire.block import Sample
from wire.ids import NodeId

if TYPE_CHECKING:
    from cloud.archive.archiver import Job

_IDENTITY = ["node", "device", "tag", "ts_ms"]


class Into(NamedTuple):
    """What a day goes back into. duty: whether this host is the active one. about_to_write: called with the batches."""

    store: TelemetryStore
    ledger: Ledger
    restored: RestoredDays
    duty: Duty
    about_to_write: Callable[[Sequence[Batch]], Awaitable[None]] | None = None
    removal: Removal | None = None
    now_ms: int = 0


async def restore_day(folder: Folder, into: Into, day: DayId, job: Job) -> Mapping[str, Any]:
    """rows: of the archived day; restored, there (in the store already), refused by the database.

    Nobody else may write meanwhile. Raises StoreDown, LeaseLost.
    """
    try:
        if into.removal is not None:
            await into.removal.settle()
        manifest = await asyncio.to_thread(manifest_of, folder, day)
        if manifest is None:
            raise ArchiveDown(f"{day} is not archived; `gaugeline cloud archive list` shows what is")
        for part in manifest.parts:
            await asyncio.to_thread(check_bytes, folder, day, part)
        with ExitStack() as stack:
            present = stack.enter_context(folder.temporary())
            archived = await asyncio.to_thread(stack.enter_context, copied(folder, manifest))
            await _identities(into.store, day, present)
            missing = only_in(archived, present, folder.scratch)
            restored = refused = 0
            while (batch := await asyncio.to_thread(next, missing, None)) is not None:
                lost = await _write(into, day, list(_batches(batch)))
                refused += lost
                restored += batch.num_rows - lost
                job.rows += batch.num_rows
            rows = await asyncio.to_thread(count_by_device, archived, folder.scratch)
        await _account(into, day, rows)
    except (Damaged, OSError, pa.ArrowException) as fault:
        raise ArchiveDown(
            f"archive of {day}: {fault}; `gaugeline cloud archive verify` looks through all of it"
        ) from fault
    there = manifest.rows - restored - refused
    return {"rows": manifest.rows, "restored": restored, "there": there, "refused": refused}


async def _identities(store: TelemetryStore, day: DayId, target: Path) -> None:
    """What the store has of the day, as a Parquet file."""
    schema = pa.schema([ROWS.field(name) for name in _IDENTITY])
    with pq.ParquetWriter(target, schema) as out:
        async for batch in store.samples(Of(day.group), day.from_ms, day.to_ms):
            await asyncio.to_thread(out.write_batch, batch.select(_IDENTITY))


async def _write(into: Into, day: DayId, batches: Sequence[Batch]) -> int:
    """How many the database refused."""
    await into.restored.mark([RestoredDay(b.node, b.device, day.day) for b in batches], into.now_ms)
    if into.about_to_write is not None:
        await into.about_to_write(batches)
    into.duty.still()
    back = into.removal.returning(batches) if into.removal is not None else nullcontext()
    async with into.store.transaction(), back:
        return len(await into.store.write(batches))


async def _account(into: Into, day: DayId, archived: Mapping[tuple[str, str], int]) -> None:
    """Writes down how many restored rows no batch of the ledger accounts for: what there is (with what retention took
    of it), less what the ledger says, for a time that no batch reaches out of. So it is right also after a restore that
    was interrupted, and where only the rows were lost and the ledger still knows them.

    archived: the day's rows of each (node, device).
    """
    restored: dict[DeviceId, dict[int, int]] = {}  # day -> rows
    for one, n in (await into.restored.rows()).items():
        restored.setdefault(DeviceId(one.node, one.device), {})[one.day] = n
    bounds = (day.from_ms, day.to_ms - 1)
    for of, others in restored.items():
        most = archived.get((of.node.node, of.device), 0)
        if of.node.group != day.group or day.day not in others or not most:
            continue
        others[day.day] = 0
        removed = await into.removal.days(of) if into.removal is not None else {}
        entries, first, last = await closed(into.ledger, of, day.from_ms, day.to_ms, {*others, *removed}, bounds)
        known = sum(h.sums.stored for h in entries)
        known += sum(n for d, n in others.items() if first <= d * DAY_MS <= last)
        rows = await into.store.rows(*of, first, last)
        rows += sum(n for d, n in removed.items() if first <= d * DAY_MS <= last)
        await into.restored.put(RestoredDay(*of, day.day), min(most, max(0, rows - known)))


def _batches(rows: Any) -> Iterator[Batch]:
    """Sorted rows as one batch a device. No gateway sent them like this: they have no key."""
    names = ("tag", "datatype", "ts_ms", "quality", "reason", "value", "value_int", "value_text")
    columns = [rows.column(name).to_pylist() for name in ("group", "node", "device", *names)]
    for (group, node, device), found in groupby(zip(*columns, strict=True), key=lambda row: row[:3]):
        samples: list[Sample] = sorted((sample_of(*row[3:]) for row in found), key=lambda s: s.ts_ms)
        first, last = samples[0].ts_ms, samples[-1].ts_ms
        yield Batch(NodeId(group, node), device, tuple(samples), historical=True, first_ms=first, last_ms=last)
