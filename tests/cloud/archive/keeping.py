"""A store, its marks and an archivist, as the host puts them together, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.archive.archiver import Archiver, Job
from cloud.archive.folder import Folder, open_folder
from cloud.archive.manifest import Manifest, day_number, manifest_of
from cloud.archive.marks import DayMarks
from cloud.archive.tags import Births
from cloud.ledger import Ledger
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.state.ledger import SqlLedger
from cloud.stats import Stats
from cloud.store.columns import sample_of
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch, TelemetryStore
from cloud.store.whole_rows import DayId, Of
from wire.block import Quality, Reason, Sample
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
DAY = DayId("plant", day_number("2026-05-01"))
NEXT = DayId("plant", DAY.day + 1)
NOON = DAY.from_ms + 43_200_000

EVERY_KIND = [
    Sample("f32", Datatype.FLOAT, NOON, Quality.GOOD, 0.5),
    Sample("f64", Datatype.DOUBLE, NOON, Quality.UNCERTAIN, -1e300, Reason.CLOCK_UNKNOWN),
    Sample("i64", Datatype.INT64, NOON, Quality.GOOD, -(2**63)),
    Sample("u64", Datatype.UINT64, NOON, Quality.GOOD, 2**64 - 1),
    Sample("u64-2", Datatype.UINT64, NOON, Quality.GOOD, 2**53 + 1),
    Sample("on", Datatype.BOOLEAN, NOON, Quality.GOOD, True),
    Sample("say", Datatype.STRING, NOON, Quality.GOOD, 'a "b", c=\\d\nü 汉'),
    Sample("dead", Datatype.FLOAT, NOON, Quality.BAD, None, Reason.TIMEOUT),
]


def flow(ts_ms: int, value: float | None, name: str = "flow") -> Sample:
    return Sample(name, Datatype.DOUBLE, ts_ms, Quality.BAD if value is None else Quality.GOOD, value)


@dataclass
class Keeping:
    store: TelemetryStore
    archiver: Archiver
    db: StateDb
    now_ms: int

    @property
    def folder(self) -> Folder:
        return self.archiver.folder

    @property
    def marks(self) -> DayMarks:
        return self.archiver.marks

    async def write(self, *samples: Sample, device: str = "pump-1", node: NodeId = NODE) -> None:
        batch = Batch(node, device, samples, "e1", 1, "d", first_ms=samples[0].ts_ms, last_ms=samples[-1].ts_ms)
        async with self.archiver.writing:
            await self.marks.touch([batch])
            async with self.store.transaction():
                assert await self.store.write([batch]) == []

    async def run(self, *days: DayId) -> Job:
        job = self.archiver.ask("run", list(days))
        await self.archiver.work(job)
        return job

    async def restore(self, day: DayId) -> Job:
        job = self.archiver.ask("restore", [day])
        await self.archiver.work(job)
        return job

    async def lose(self, day: DayId) -> None:
        """As retention does."""
        assert isinstance(self.store, EmbeddedStore)
        sql = "DELETE FROM samples WHERE ts_ms >= ? AND ts_ms < ?"
        async with self.store.transaction():
            await self.store.file.execute(sql, [day.from_ms, day.to_ms])

    def manifest(self, day: DayId = DAY) -> Manifest:
        found = manifest_of(self.folder, day)
        assert found is not None
        return found

    async def stored(self, day: DayId = DAY) -> list[tuple[str, Sample]]:
        return [
            pair async for batch in self.store.samples(Of(day.group), day.from_ms, day.to_ms) for pair in pairs(batch)
        ]


def pairs(batch: Any) -> list[tuple[str, Sample]]:
    names = ("tag", "datatype", "ts_ms", "quality", "reason", "value", "value_int", "value_text")
    return [(row["device"], sample_of(*(row[n] for n in names))) for row in batch.to_pylist()]


@asynccontextmanager
async def keeping(
    folder: Path, place: str | None = None, influx: InfluxHttp | None = None, births: Births | None = None
) -> AsyncIterator[Keeping]:
    db = StateDb(folder / "state.db")
    await db.open()
    store: TelemetryStore = EmbeddedStore(folder / "samples.duckdb") if influx is None else InfluxStore(influx)
    await store.open()
    ledger: Ledger = EmbeddedLedger(store.file) if isinstance(store, EmbeddedStore) else SqlLedger(db)

    async def born() -> Births:
        return births or {}

    archive = open_folder(place or str(folder / "archive"))
    marks, stats = DayMarks(db), Stats(started_s=0)
    found = Keeping(store, None, db, NEXT.to_ms + 5)  # type: ignore[arg-type]  # made in the next line
    found.archiver = Archiver(
        archive, 1, store, marks, asyncio.Lock(), stats, lambda: found.now_ms, born, ledger, HostState(db).restored
    )
    try:
        yield found
    finally:
        await store.close()
        await db.close()
