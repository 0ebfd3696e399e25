"""Samples of a time from store and archive together: what was removed from the store is still in the archive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from cloud.archive.folder import ArchiveDown, Folder
from cloud.archive.manifest import Damaged, folder_of, manifest_of
from cloud.retention.port import Removal
from cloud.store.port import DeviceId, TelemetryStore
from cloud.store.whole_rows import DAY_MS, ROWS, DayId, Of
from wire.ids import NodeId

_PLAIN = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in ROWS])
_READ = 65_536
Place = tuple[str, str]  # node, device


@dataclass(slots=True)
class WholeDay:
    """folder None: there is no archive, and what was removed is nowhere."""

    store: TelemetryStore
    folder: Folder | None

    async def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        """Rows from from_ms (included) to to_ms (not included) as batches of whole_rows.ROWS, each sample once.

        One UTC day after the other, within it sorted by edge node, device, tag and time. Where store and archive both
        have a sample it is the store's. In memory there is one device's share of one day. Raises StoreDown.
        """
        for day in range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1):
            one = DayId(of.group, day)
            begin_ms, end_ms = max(from_ms, one.from_ms), min(to_ms, one.to_ms)
            old = await asyncio.to_thread(self._archived, one, of, begin_ms, end_ms)
            devices = set() if old is None else await asyncio.to_thread(_devices, old)
            async for place, rows in _by_device(self.store.samples(of, begin_ms, end_ms)):
                for other in sorted(p for p in devices if p < place):
                    devices.discard(other)
                    for batch in await asyncio.to_thread(_united, None, old, other):
                        yield batch
                known = old if place in devices else None
                devices.discard(place)
                for batch in await asyncio.to_thread(_united, rows, known, place):
                    yield batch
            for other in sorted(devices):
                for batch in await asyncio.to_thread(_united, None, old, other):
                    yield batch

    def _archived(self, day: DayId, of: Of, from_ms: int, to_ms: int) -> Any | None:
        """The archive's rows as something that can be read; None where there are none."""
        return None if self.folder is None else archived(self.folder, day, of, from_ms, to_ms)


def archived(folder: Folder, day: DayId, of: Of, from_ms: int, to_ms: int) -> Any | None:
    """Rows of one archived day as a filtered dataset; None where the day is not archived. Raises ArchiveDown."""
    try:
        manifest = manifest_of(folder, day)
    except Damaged as fault:
        raise ArchiveDown(f"archive of {day}: {fault}; `gaugeline cloud archive verify` says what to do") from fault
    if manifest is None:
        return None
    wanted = (ds.field("ts_ms") >= from_ms) & (ds.field("ts_ms") < to_ms)
    for name, value in (("node", of.node), ("device", of.device), ("tag", of.tag)):
        if value is not None:
            wanted &= ds.field(name) == value
    return folder.dataset([f"{folder_of(day)}/{part.name}" for part in manifest.parts], _PLAIN).filter(wanted)


@dataclass(slots=True)
class Removed:
    """What a batch that comes late may meet: samples that were stored, and have been removed since."""

    removal: Removal
    folder: Folder | None

    async def known(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> set[tuple[str, int]]:
        """(tag, ts_ms) of the device's archived samples of days with removed ones, both ends included.

        Costs nothing where nothing was removed. Raises StoreDown.
        """
        await self.removal.settle()
        if self.folder is None:
            return set()
        found: set[tuple[str, int]] = set()
        gone = self.removal.gone(DeviceId(node, device))
        for day in gone.within(from_ms, to_ms) if gone is not None else ():
            one, of = DayId(node.group, day), Of(node.group, node.node, device)
            rows = await asyncio.to_thread(archived, self.folder, one, of, from_ms, to_ms + 1)
            if rows is not None:
                found |= await asyncio.to_thread(_identities, rows)
        return found


def _read(rows: Any, columns: list[str] | None = None, place: Place | None = None) -> Iterator[Any]:
    wanted = None if place is None else (ds.field("node") == place[0]) & (ds.field("device") == place[1])
    try:
        yield from rows.scanner(columns=columns, filter=wanted, batch_size=_READ, use_threads=False).to_batches()
    except (OSError, pa.ArrowException) as fault:
        raise ArchiveDown(f"the archive cannot be read: {str(fault)[:200]}; see `archive verify`") from fault


def _identities(rows: Any) -> set[tuple[str, int]]:
    return {
        pair
        for batch in _read(rows, ["tag", "ts_ms"])
        for pair in zip(batch["tag"].to_pylist(), batch["ts_ms"].to_pylist(), strict=True)
    }


def _devices(rows: Any) -> set[Place]:
    found: set[Place] = set()
    for batch in _read(rows, ["node", "device"]):
        pairs = pa.Table.from_batches([batch]).group_by(["node", "device"]).aggregate([])
        found |= set(zip(pairs["node"].to_pylist(), pairs["device"].to_pylist(), strict=True))
    return found


async def _by_device(batches: AsyncIterator[Any]) -> AsyncIterator[tuple[Place, list[Any]]]:
    """Sorted batches, put together device by device."""
    held: list[Any] = []
    at: Place | None = None
    async for batch in batches:
        for place, part in _parts(batch):
            if at is not None and place != at:
                yield at, held
                held = []
            at = place
            held.append(part)
    if at is not None:
        yield at, held


def _parts(batch: Any) -> Iterator[tuple[Place, Any]]:
    if not batch.num_rows:
        return
    codes = [np.asarray(batch.column(name).indices) for name in ("node", "device")]
    starts = np.flatnonzero(np.any([np.diff(c, prepend=c[0] - 1) != 0 for c in codes], axis=0)).tolist()
    for first, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
        place = (batch.column("node")[first].as_py(), batch.column("device")[first].as_py())
        yield place, batch.slice(first, end - first)


def _united(new: list[Any] | None, old: Any | None, place: Place) -> list[Any]:
    """One device's rows of both, sorted, each identity once."""
    plain = [] if new is None else [pa.Table.from_batches(new).cast(_PLAIN)]
    mine = sum(table.num_rows for table in plain)
    if old is not None:
        plain.append(pa.Table.from_batches(list(_read(old, None, place)), _PLAIN))
    table = pa.concat_tables(plain)
    table = table.append_column("_place", pa.array(np.arange(table.num_rows) >= mine, pa.uint8()))
    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in ("tag", "ts_ms", "_place")]))
    table = table.drop_columns(["_place"]).combine_chunks()
    if not table.num_rows:
        return []
    tags = np.asarray(pc.index_in(table["tag"], pc.unique(table["tag"])))
    first = np.flatnonzero((np.diff(tags, prepend=-1) != 0) | (np.diff(np.asarray(table["ts_ms"]), prepend=-1) != 0))
    found = table.take(pa.array(first))
    columns = [
        found[f.name].combine_chunks().dictionary_encode() if pa.types.is_dictionary(f.type) else found[f.name]
        for f in ROWS
    ]
    batches: list[Any] = pa.Table.from_arrays(columns, schema=ROWS).to_batches(_READ)
    return batches
