"""A store with its roller, as a host has them, and what the roll-ups of some samples must be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from cloud.duty import Duty
from cloud.rollups.marks import WindowMarks
from cloud.rollups.roller import Roller
from cloud.rollups.sources import RowSource
from cloud.state.db import StateDb
from cloud.stats import Stats
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Aggregate, Batch
from cloud.store.whole_rows import TagId
from cloud.store.windows import HOUR_MS
from tests.servers import InfluxDB
from wire.block import Quality, Reason, Sample
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
T0 = 1_700_000_000_000 // HOUR_MS * HOUR_MS
FLOW = TagId(NODE, "pump-1", "flow")


@dataclass
class Clock:
    ms: int = T0

    def __call__(self) -> int:
        return self.ms


@dataclass
class Rolling:
    """One process: what a new one on the same state and database finds is `again`."""

    where: Path | tuple[InfluxDB, str]
    state: Path
    clock: Clock = field(default_factory=Clock)
    duty: Duty = field(default_factory=Duty)
    since: dict[TagId, int] = field(default_factory=dict)
    more: RowSource | None = None

    def __post_init__(self) -> None:
        self.db = StateDb(self.state)
        self.marks = WindowMarks(self.db, self.clock, lambda *tag: self.since.get(TagId(*tag), 0))
        self.writing = asyncio.Lock()
        self.stats = Stats(0.0)
        self.store: EmbeddedStore | InfluxStore
        if isinstance(self.where, Path):
            self.store = EmbeddedStore(self.where, self.marks)
        else:
            server, name = self.where
            self.store = InfluxStore(InfluxHttp(server.url, name), rolled=self.marks)
        self.roller = Roller(self.store, self.marks, self.writing, self.stats, self.clock, self.duty, self.more)

    def elsewhere(self, folder: Path) -> Path | tuple[InfluxDB, str]:
        """Another, empty database of the same kind."""
        return folder / "other.duckdb" if isinstance(self.where, Path) else (self.where[0], f"db {uuid4().hex}")

    async def open(self) -> Rolling:
        await self.db.open()
        await self.store.open()
        return self

    async def close(self) -> None:
        await self.store.close()
        await self.db.close()

    async def again(self, duty: Duty | None = None) -> Rolling:
        await self.close()
        new = Rolling(self.where, self.state, self.clock, duty or self.duty, self.since, self.more)
        return await new.open()

    async def keep(self, *samples: Sample, device: str = "pump-1", node: NodeId = NODE) -> None:
        """As the collector does: marked, then written."""
        batch = Batch(node, device, samples)
        async with self.writing:
            await self.marks.touch([batch])
            await self.write(batch)

    async def write(self, *batches: Batch) -> None:
        async with self.store.transaction():
            assert await self.store.write(batches) == []

    async def kept(self, level: str, tag: TagId = FLOW) -> list[Aggregate]:
        """What lies in the database."""
        w = await self.store.windows.rolled_of(tag, 0, 4_000_000_000_000, level)
        columns = (w.start_ms, w.count, w.num, w.good, w.mean, w.min, w.max, w.last)
        rows = zip(*(c.tolist() for c in columns), strict=True)
        return [Aggregate(*row[:4], *(None if math.isnan(n) else n for n in row[4:])) for row in rows]


def new_place(where: str, folder: Path, server: InfluxDB | None) -> Path | tuple[InfluxDB, str]:
    if where == "duckdb":
        return folder / "samples.duckdb"
    assert server is not None
    return server, f"db {uuid4().hex}"


def flow(ts_ms: int, value: float | None, quality: Quality = Quality.GOOD, name: str = "flow") -> Sample:
    if value is None:
        return Sample(name, Datatype.DOUBLE, ts_ms, Quality.BAD, None, Reason.TIMEOUT)
    return Sample(name, Datatype.DOUBLE, ts_ms, quality, value)


def number(s: Sample) -> float | None:
    return None if s.value is None or isinstance(s.value, str) else float(s.value)


def brute(samples: Iterable[Sample], step_ms: int, from_ms: int = 0, to_ms: int = 2**60) -> list[Aggregate]:
    """Sample by sample; the last one of a stamp counts."""
    newest = {s.ts_ms: s for s in samples if from_ms <= s.ts_ms < to_ms}
    windows: dict[int, list[Sample]] = {}
    for ts_ms in sorted(newest):
        windows.setdefault(ts_ms // step_ms * step_ms, []).append(newest[ts_ms])
    found = []
    for start_ms, rows in windows.items():
        numbers = [n for s in rows if (n := number(s)) is not None]
        good = sum(s.quality is Quality.GOOD for s in rows)
        mean = math.fsum(n / len(numbers) for n in numbers) if numbers else None
        ends = (min(numbers), max(numbers), numbers[-1]) if numbers else (None, None, None)
        found.append(Aggregate(start_ms, len(rows), len(numbers), good, mean, *ends))
    return found


def same(found: Sequence[Aggregate], wanted: Sequence[Aggregate]) -> bool:
    """Equal but for the last digits of a mean."""
    assert [exact(one) for one in found] == [exact(one) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        if one.mean is not None and other.mean is not None:
            assert other.min is not None
            assert other.max is not None
            widest = max(abs(other.min), abs(other.max))
            assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=widest * 1e-9)
    return True


def exact(one: Aggregate) -> tuple[float | None, ...]:
    return one.start_ms, one.count, one.num, one.good, one.min, one.max, one.last, one.mean is None
