"""Before a day's samples leave the store: proof that the archive has every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloud.archive.day import copied
from cloud.archive.folder import Folder
from cloud.archive.manifest import Damaged, Manifest, manifest_of
from cloud.archive.marks import DayMarks
from cloud.archive.merge import count_not_in
from cloud.archive.verify import faults
from cloud.retention.port import DeviceDay
from cloud.store.port import TelemetryStore
from cloud.store.whole_rows import ROWS, DayId, Of

_IDENTITY = ["tag", "ts_ms"]  # of one device
_SCHEMA = pa.schema([ROWS.field(name) for name in _IDENTITY])


class NotProven(Exception):
    """The day stays where it is. The text says why, and what to do where somebody must."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A day that `verify` has nothing against. file: a copy of it."""

    day: DayId
    manifest: Manifest
    file: Path


@dataclass(slots=True)
class Proof:
    """All raise NotProven, StoreDown."""

    folder: Folder
    marks: DayMarks
    store: TelemetryStore

    @asynccontextmanager
    async def of(self, day: DayId) -> AsyncIterator[Proven]:
        await self._unmarked(day)
        with ExitStack() as stack:
            try:
                manifest = await asyncio.to_thread(self._manifest, day)
                wrong = await asyncio.to_thread(lambda: list(faults(self.folder, manifest)))
                if wrong:
                    raise NotProven(f"{wrong[0]}; `gaugeline cloud archive verify` says what to do")
                file = await asyncio.to_thread(stack.enter_context, copied(self.folder, manifest))
            except (Damaged, FileNotFoundError) as fault:
                raise NotProven(f"{fault}; `gaugeline cloud archive verify` says what to do") from fault
            yield Proven(day, manifest, file)

    async def covers(self, proven: Proven, of: DeviceDay, tags: Sequence[str]) -> None:
        """Every sample of these tags that the store has of this device and day stands in the file."""
        wanted = pa.array(sorted(tags), pa.string())
        with self.folder.temporary() as present:
            with pq.ParquetWriter(present, _SCHEMA) as out:
                rows = self.store.samples(Of(of.node.group, of.node.node, of.device), of.from_ms, of.to_ms)
                async for batch in rows:
                    of_class = batch.filter(pc.is_in(batch.column("tag").cast(pa.string()), wanted))
                    await asyncio.to_thread(out.write_batch, of_class.select(_IDENTITY))
            place = (of.node.node, of.device, self.folder.scratch)
            missing = await asyncio.to_thread(count_not_in, present, proven.file, *place)
        if missing:
            await self.marks.add([proven.day])
            raise NotProven(f"{missing:,} samples of {of.node}/{of.device} are not in the archive yet")

    async def still(self, proven: Proven) -> None:
        """While nobody writes: nothing was written to the day since."""
        await self._unmarked(proven.day)
        if await asyncio.to_thread(self._manifest, proven.day) != proven.manifest:
            raise NotProven("it was archived anew meanwhile")

    async def _unmarked(self, day: DayId) -> None:
        if not await self.marks.looked_through() or day in await self.marks.marked():
            raise NotProven("it is not archived as it is now")

    def _manifest(self, day: DayId) -> Manifest:
        found = manifest_of(self.folder, day)
        if found is None:
            raise NotProven("it is not archived")
        return found
