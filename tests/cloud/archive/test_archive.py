"""Days go into the archive, exactly and again and again, and come back."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from cloud.archive import parquet
from cloud.archive.day import sweep
from cloud.archive.folder import TEMPORARY, open_folder
from cloud.archive.manifest import MANIFEST, folder_of, manifests
from cloud.archive.parquet import batches, opened
from cloud.archive.tags import tags_of
from cloud.archive.verify import verify
from cloud.duty import Duty
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch
from cloud.store.whole_rows import ROWS, DayId, Of
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NODE, NOON, Keeping, flow, keeping, pairs
from tests.gateway.mounts import tmpfs
from wire.block import Sample
from wire.errors import ConfigError, LeaseLost
from wire.ids import NodeId
from wire.tag import Datatype


def archived(folder: Path, day: DayId = DAY) -> list[tuple[str, Sample]]:
    (file,) = (folder / "archive" / folder_of(day)).glob("*.parquet")
    return [pair for batch in batches(opened(file, file.name)) for pair in pairs(batch)]


@pytest.fixture(params=["duckdb", "influxdb"])
def influx(request: pytest.FixtureRequest) -> InfluxHttp | None:
    if request.param == "duckdb":
        return None
    return InfluxHttp(request.getfixturevalue("influxdb").url, f"db-{uuid4().hex}")


async def test_a_day_is_archived_exactly_and_restored_exactly(tmp_path: Path, influx: InfluxHttp | None) -> None:
    async with keeping(tmp_path, influx=influx) as k:
        await k.write(*EVERY_KIND, flow(NOON + 5, None), flow(NOON + 9, 0.1 + 0.2))
        await k.write(flow(NEXT.from_ms, 1.0), device="")
        job = await k.run()
        assert (job.problems, [r["rows"] for r in job.results], job.rows) == ([], [10, 1], 11)
        wanted = sorted([*EVERY_KIND, flow(NOON + 5, None), flow(NOON + 9, 0.1 + 0.2)], key=lambda s: (s.name, s.ts_ms))
        assert archived(tmp_path) == [("pump-1", s) for s in wanted]
        assert archived(tmp_path, NEXT) == [("", flow(NEXT.from_ms, 1.0))]
        found = k.manifest()
        assert (found.rows, found.first_ms, found.last_ms, found.schema_version) == (10, NOON, NOON + 9, 1)
        assert [m.day for m in manifests(k.folder)] == ["2026-05-01", "2026-05-02"]
        assert verify(k.folder).problems == []
        again = (await k.restore(DAY)).results[0]
        assert (again["restored"], again["there"]) == (0, 10), "what is there is not doubled"
        assert (await k.store.count())[next(iter(await k.store.count()))] in (1, 10)
        if influx is None:
            await k.lose(DAY)
        else:
            await influx.query('DROP SERIES FROM "sample" WHERE "tag" = \'say\' OR "tag" = \'u64\'', method="POST")
        gone = 10 if influx is None else 2
        back = (await k.restore(DAY)).results[0]
        assert (back["restored"], back["there"], back["refused"]) == (gone, 10 - gone, 0)
        assert await k.stored() == [("pump-1", s) for s in wanted]


async def test_nothing_is_due_twice_and_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0), flow(NOON + 1, 2.0))
        assert [r["changed"] for r in (await k.run()).results] == [True]
        assert (await k.run()).results == []
        before = k.manifest()
        again = (await k.run(DAY)).results[0]
        assert (again["changed"], k.manifest()) == (False, before)
        k.now_ms = DAY.to_ms - 1
        with pytest.raises(ConfigError, match="still being written"):
            k.archiver.ask("run", [DAY])
        assert (await k.run()).results == []


async def test_late_data_makes_its_day_due_again_also_after_a_restart(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        await k.run()
        await k.write(flow(NOON - 7, 0.5), flow(NEXT.to_ms + 1, 3.0))  # one batch over three days
    async with keeping(tmp_path) as k:
        assert (await k.archiver.status())["due"] == [{"site": "plant", "day": "2026-05-01"}]
        assert [(r["day"], r["rows"]) for r in (await k.run()).results] == [("2026-05-01", 2)]
        assert [s.ts_ms - NOON for _, s in archived(tmp_path)] == [-7, 0]
        assert len(list((tmp_path / "archive" / folder_of(DAY)).iterdir())) == 2, "the old file is gone"


async def test_what_retention_removed_stays_in_the_archive_when_late_data_comes(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(*(flow(NOON + i, float(i)) for i in range(100)), *EVERY_KIND)
        await k.run()
        await k.lose(DAY)
        await k.write(flow(NOON + 50, 50.0), flow(NOON + 1000, 7.0))
        (result,) = (await k.run()).results
        assert (result["rows"], result["kept"], result["changed"]) == (109, 107, True)
        flows = [s for _, s in archived(tmp_path) if s.name == "flow"]
        assert [s.ts_ms - NOON for s in flows] == [*range(100), 1000]
        assert [s for _, s in archived(tmp_path) if s.name != "flow"] == sorted(EVERY_KIND, key=lambda s: s.name)
        assert verify(k.folder).problems == []
        await k.lose(DAY)
        (result,) = (await k.run(DAY)).results
        assert (result["rows"], result["changed"]) == (109, False), "an empty store takes nothing away"


async def test_a_day_that_is_written_to_while_it_is_archived_stays_due(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        store = k.store

        class Meanwhile(EmbeddedStore):
            def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
                return self._and_then(store.samples(of, from_ms, to_ms))

            async def _and_then(self, rows: AsyncIterator[Any]) -> AsyncIterator[Any]:
                async for batch in rows:
                    yield batch
                await k.write(flow(NOON + 1, 2.0))

        k.archiver.store = Meanwhile(tmp_path / "unused")
        await k.archiver.work(k.archiver.ask("run", [DAY]))
        assert list(await k.marks.marked()) == [DAY]
        k.archiver.store = store
        assert (await k.run()).results[0]["rows"] == 2
        assert await k.marks.marked() == {}


async def test_a_host_that_is_not_the_active_one_any_more_leaves_the_archive_and_the_store_alone(
    tmp_path: Path,
) -> None:
    class Over(Duty):
        def still(self) -> None:
            raise LeaseLost("another host has taken the place of this one")

    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        k.archiver.duty = Over()
        with pytest.raises(LeaseLost):
            await k.run(DAY)
        assert (verify(k.folder).days, list(await k.marks.marked())) == (0, [DAY])
        k.archiver.duty = Duty()
        assert (await k.run()).results[0]["rows"] == 1
        await k.lose(DAY)
        k.archiver.duty = Over()
        with pytest.raises(LeaseLost):
            await k.restore(DAY)
        assert await k.stored() == []


async def test_a_database_from_before_there_was_an_archive_is_archived_whole(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        async with k.store.transaction():
            far = Batch(NodeId("plätze/../x", "gw"), "p", (flow(NOON, 1.0),))
            await k.store.write([Batch(NODE, "p", (flow(NOON, 1.0), flow(NEXT.from_ms, 2.0))), far])
        assert [(r["site"], r["day"]) for r in (await k.run()).results] == [
            ("plant", "2026-05-01"), ("plant", "2026-05-02"), ("plätze/../x", "2026-05-01"),
        ]  # fmt: skip
        assert sorted(m.site for m in manifests(k.folder)) == ["plant", "plant", "plätze/../x"]
        assert sorted(p.name for p in (tmp_path / "archive").iterdir()) == ["site=pl%C3%A4tze%2F..%2Fx", "site=plant"]


async def test_many_rows_go_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    monkeypatch.setattr("cloud.store.whole_rows.MOST_ROWS", 700)
    monkeypatch.setattr(parquet, "ROW_GROUP", 1000)
    samples = [
        flow(NOON + i * 1000 + dice.randrange(20), dice.random(), f"t{n}") for n in range(5) for i in range(1000)
    ]
    async with keeping(tmp_path) as k:
        await k.write(*samples)
        assert (await k.run()).results[0]["rows"] == 5000
        assert [s for _, s in archived(tmp_path)] == samples
        (file,) = (tmp_path / "archive" / folder_of(DAY)).glob("*.parquet")
        told = pq.ParquetFile(file)
        assert told.metadata.num_row_groups > 3
        assert told.schema_arrow.metadata[b"gaugeline.site"] == b"plant"
        assert told.schema_arrow.names == ROWS.names
        assert verify(k.folder).rows == 5000
        await k.lose(DAY)
        assert (await k.restore(DAY)).results[0]["restored"] == 5000
        assert len(await k.stored()) == 5000


async def test_a_full_disk_leaves_the_day_due_and_no_rubbish(tmp_path: Path) -> None:
    dice = random.Random(2)
    with tmpfs(tmp_path / "small", "96k") as small:
        async with keeping(tmp_path, str(small / "archive")) as k:
            await k.write(*(flow(NOON + i, dice.random()) for i in range(30_000)))
            job = await k.run()
            assert "No space left" in job.problems[0]
            assert "archive" in k.archiver.stats.problems["archive"]
            assert [p for p in (small / "archive").rglob("*") if p.is_file() and p.name != "tags.json"] == []
            assert list(await k.marks.marked()) == [DAY]
            k.archiver.folder = open_folder(str(tmp_path / "larger"))
            job = await k.run()
            assert (job.problems, job.results[0]["rows"]) == ([], 30_000)
            assert "archive" not in k.archiver.stats.problems


async def test_the_tags_of_the_births_stand_in_the_archive_for_ever(tmp_path: Path) -> None:
    born = {(NODE, "meter"): [("energy", Datatype.DOUBLE, {"engUnit": "kW.h", "measures": "energy", "asset": "press"})]}
    async with keeping(tmp_path, births=born) as k:
        await k.write(flow(NOON, 1.0))
        await k.run()
        (tag,) = tags_of(k.folder, "plant")
        assert (tag.device, tag.tag, tag.unit, tag.measures, tag.asset) == (
            "meter",
            "energy",
            "kW.h",
            "energy",
            "press",
        )
    async with keeping(tmp_path, births={(NODE, "pump"): [("flow", Datatype.DOUBLE, {"engUnit": "m3/h"})]}) as k:
        await k.run()
        assert [t.tag for t in tags_of(k.folder, "plant")] == ["energy", "flow"]
        (tmp_path / "archive/site=plant/tags.json").write_text("[{")
        assert tags_of(k.folder, "plant") == []
        await k.run()
        assert [t.tag for t in tags_of(k.folder, "plant")] == ["flow"]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def other_version(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({b"gaugeline.schema_version": b"99"}), file)
    _named(file)


def fewer(file: Path) -> None:
    pq.write_table(pq.read_table(file).slice(1), file)
    _named(file)


def no_parquet(file: Path) -> None:
    file.write_bytes(b"no parquet at all, but the manifest knows these bytes")
    _named(file)


def _named(file: Path) -> None:
    """The manifest with the bytes of the file as they are now: what the hash cannot find."""
    import hashlib

    manifest = file.with_name(MANIFEST)
    told = json.loads(manifest.read_text())
    told["parts"][0] |= {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(told))


def no_manifest(file: Path) -> None:
    file.with_name(MANIFEST).unlink()


def half_manifest(file: Path) -> None:
    cut(file.with_name(MANIFEST))


def moved_manifest(file: Path) -> None:
    told = json.loads(file.with_name(MANIFEST).read_text()) | {"day": "2026-05-09"}
    file.with_name(MANIFEST).write_text(json.dumps(told))


def other_times(file: Path) -> None:
    told = json.loads(file.with_name(MANIFEST).read_text()) | {"first_ms": NOON + 7}
    file.with_name(MANIFEST).write_text(json.dumps(told))


def other_count(file: Path) -> None:
    told = json.loads(file.with_name(MANIFEST).read_text()) | {"rows": 99}
    file.with_name(MANIFEST).write_text(json.dumps(told))


DAMAGE = [
    (cut, "is cut off"), (flip, "was changed"), (Path.unlink, "is missing"), (other_version, "schema version 99"),
    (fewer, "has 1 samples, the manifest says 2"), (no_parquet, "no whole Parquet file"),
    (no_manifest, "manifest.json is missing beside part-"), (half_manifest, "manifest.json cannot be read"),
    (moved_manifest, "it is the manifest of plant 2026-05-09"), (other_times, "the samples reach from"),
    (other_count, "the files have 2 samples, the manifest says 99"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "told"), DAMAGE, ids=lambda x: getattr(x, "__name__", None))
async def test_every_damage_is_found_and_nothing_is_lost_by_archiving_again(tmp_path: Path, damage, told: str) -> None:  # type: ignore[no-untyped-def]
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0), flow(NOON + 1, 2.0))
        await k.write(flow(NEXT.from_ms, 3.0))
        await k.run()
        (file,) = (tmp_path / "archive" / folder_of(DAY)).glob("*.parquet")
        damage(file)
        found = verify(k.folder)
        (problem,) = found.problems
        assert told in problem.what
        assert problem.todo
        assert problem.where == folder_of(DAY)
        assert verify(k.folder, lambda where: where != folder_of(DAY)).problems == []
        if damage in (cut, flip, Path.unlink):
            await _healed_or_kept(k, file)
        if damage in (half_manifest, moved_manifest):
            assert "move site=plant/day=2026-05-01 away" in (await k.run(DAY)).problems[0]


async def _healed_or_kept(k: Keeping, file: Path) -> None:
    """The store has all of the day: it heals. The store lacks some of it: nothing is overwritten, and it is told."""
    assert "verify" in (await k.restore(DAY)).problems[0]
    assert (await k.run(DAY)).problems == []
    assert verify(k.folder).problems == []
    flip(file)
    damaged = file.read_bytes()
    await k.lose(DAY)
    await k.write(flow(NOON, 1.0))
    job = await k.run(DAY)
    assert "the store holds 1 of its 2 samples" in job.problems[0]
    assert file.read_bytes() == damaged
    assert DAY in await k.marks.marked()


async def test_what_a_killed_process_left_is_swept_and_does_not_count(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0))
        await k.run()
        root = tmp_path / "archive"
        (root / f"{TEMPORARY}half").write_bytes(b"x")
        (root / f"{TEMPORARY}merge").mkdir()
        (root / folder_of(DAY) / "part-left.parquet").write_bytes(b"half")
        assert verify(k.folder).problems == []
        sweep(k.folder)
        await k.run(DAY)
        assert sorted(p.name[:5] for p in root.rglob("*") if p.is_file()) == ["manif", "part-"]


async def test_a_folder_that_cannot_be_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        open_folder(str(tmp_path / "file" / "archive")).check()
    with pytest.raises(ConfigError, match="No such file or directory"):
        open_folder("/proc/nowhere").check()
    with pytest.raises(ConfigError, match="write a folder, or s3"):
        open_folder("ftp://x/y")
    async with keeping(tmp_path) as k:
        await k.run()
        assert "not archived" in (await k.restore(DAY)).problems[0]
        assert verify(k.folder).days == 0
