"""Store and archive as one: every sample once, sorted, whatever has been removed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cloud.archive.folder import ArchiveDown
from cloud.archive.manifest import MANIFEST, folder_of
from cloud.retention.embedded import EmbeddedRemoval
from cloud.retention.port import UNKNOWN_MS, raw_since_ms
from cloud.retention.whole_day import Removed, WholeDay
from cloud.store.embedded import EmbeddedStore
from cloud.store.whole_rows import ROWS, DayId, Of
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NODE, NOON, Keeping, flow, keeping, pairs
from wire.ids import NodeId

OTHER = NodeId("plant", "gw-0")


async def read(k: Keeping, of: Of, from_ms: int = DAY.from_ms, to_ms: int = NEXT.to_ms) -> list[Any]:
    found = []
    async for batch in WholeDay(k.store, k.folder).samples(of, from_ms, to_ms):
        assert batch.schema == ROWS
        found += batch.to_pylist()
    return found


def place(row: dict[str, Any]) -> tuple[int, str, str, str, int]:
    return row["ts_ms"] // 86_400_000, row["node"], row["device"], row["tag"], row["ts_ms"]


async def test_what_was_removed_is_there_and_nothing_twice(tmp_path: Path) -> None:
    dice = random.Random(4)
    async with keeping(tmp_path) as k:
        for node, device in ((NODE, "pump-1"), (NODE, ""), (OTHER, "fan"), (NODE, "only-old")):
            days = range(1 if device == "only-old" else 2)
            found = [flow(NOON + 86_400_000 * d + i, float(i), t) for d in days for t in ("b", "a") for i in range(40)]
            await k.write(*sorted(found, key=lambda s: s.ts_ms), device=device, node=node)
        await k.write(*EVERY_KIND)
        await k.run()
        before = await read(k, Of("plant"))
        assert len(before) == 3 * 160 + 80 + len(EVERY_KIND)
        assert [place(r) for r in before] == sorted(map(place, before))
        assert isinstance(k.store, EmbeddedStore)
        for _ in range(3):
            ts_ms = NOON + dice.randrange(-5, 45)
            sql = "DELETE FROM samples WHERE ts_ms < ? AND (value IS NULL OR value % 3 > 0)"
            async with k.store.transaction():
                await k.store.file.execute(sql, [ts_ms])
            assert await read(k, Of("plant")) == before
        await k.lose(DAY)
        await k.write(flow(NOON + 5, 99.0, "a"), flow(NOON + 1000, 7.0, "c"))  # corrected, and late
        rows = await read(k, Of("plant", NODE.node, "pump-1"), NOON, NOON + 2000)
        assert [r["value"] for r in rows if r["tag"] == "a" and r["ts_ms"] == NOON + 5] == [99.0]
        assert [r["ts_ms"] for r in rows if r["tag"] == "c"] == [NOON + 1000]
        one = Of("plant", NODE.node, "pump-1", "say")
        (batch,) = [b async for b in WholeDay(k.store, k.folder).samples(one, DAY.from_ms, DAY.to_ms)]
        assert pairs(batch) == [("pump-1", s) for s in EVERY_KIND if s.name == "say"]
        assert await read(k, Of("plant", "nobody")) == []
        assert await read(k, Of("elsewhere")) == []


async def test_without_an_archive_it_is_the_store(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        found = [b async for b in WholeDay(k.store, None).samples(Of("plant"), DAY.from_ms, NEXT.to_ms)]
        assert [pair for b in found for pair in pairs(b)] == [("pump-1", flow(NOON, 1.0))]
        assert isinstance(k.store, EmbeddedStore)
        assert await Removed(EmbeddedRemoval(k.store.file), None).known(NODE, "pump-1", 0, NEXT.to_ms) == set()


async def test_before_anybody_has_looked_everything_may_have_been_removed(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        assert isinstance(k.store, EmbeddedStore)
        removal = EmbeddedRemoval(k.store.file)
        assert raw_since_ms(removal, NODE, "pump-1", "flow") == UNKNOWN_MS
        await removal.settle()
        assert raw_since_ms(removal, NODE, "pump-1", "flow") == 0


async def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        await k.run()
        (file,) = (tmp_path / "archive" / folder_of(DAY)).glob("*.parquet")
        file.write_bytes(file.read_bytes()[:-50])
        with pytest.raises(ArchiveDown):
            await read(k, Of("plant"))
        file.with_name(MANIFEST).write_text("{")
        with pytest.raises(ArchiveDown, match="verify"):
            await read(k, Of("plant"))
        assert DayId("plant", DAY.day) == DAY
