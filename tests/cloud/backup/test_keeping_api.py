"""The routes that take samples out of the store and back, called in this process."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from cloud.api import archive, backup, export, problems
from cloud.archive import archiver
from cloud.archive.manifest import folder_of
from cloud.backup.make import Backups
from cloud.config import ArchiveChoice, Config, DuckDbFile, InfluxV1
from cloud.state.db import StateDb
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.whole_rows import ROWS
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NOON, Keeping, flow, keeping, pairs
from tests.servers import Postgres
from wire.errors import ConfigError


@asynccontextmanager
async def serving(k: Keeping, config: Config | None = None) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.add(app)
    config = config or Config(archive=ArchiveChoice(k.folder.place))
    backups = Backups(config, k.store, k.db, k.archiver.writing, lambda: NOON)
    for router in (archive.router(k.archiver), export.router(k.store), backup.router(backups)):
        app.include_router(router, prefix="/api")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
        yield client


async def test_rows_are_exported_exactly_in_every_format(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k, serving(k) as host:
        await k.write(*EVERY_KIND)
        asked: dict[str, str | int] = {"group": "plant", "from_ms": DAY.from_ms, "to_ms": DAY.to_ms}
        wanted = sorted(EVERY_KIND, key=lambda s: s.name)
        text = (await host.get("/api/export", params=asked)).text
        found = {row["tag"]: row for row in csv.DictReader(io.StringIO(text))}
        values = {name: row["value"] for name, row in found.items()}
        assert values == {
            "f32": "0.5", "f64": "-1e+300", "i64": str(-(2**63)), "u64": str(2**64 - 1), "u64-2": str(2**53 + 1),
            "on": "true", "say": 'a "b", c=\\d\nü 汉', "dead": "",
        }  # fmt: skip
        assert (found["dead"]["quality"], found["dead"]["reason"], found["f64"]["quality"]) == (
            "BAD",
            "timeout",
            "UNCERTAIN",
        )
        arrow = (await host.get("/api/export", params={**asked, "format": "arrow"})).content
        table = pa.ipc.open_stream(arrow).read_all()
        assert [s for _, s in pairs(table)] == wanted
        parquet = (await host.get("/api/export", params={**asked, "format": "parquet"})).content
        assert [s for _, s in pairs(pq.read_table(io.BytesIO(parquet)))] == wanted
        none = (await host.get("/api/export", params={**asked, "group": "x", "format": "parquet"})).content
        assert pq.read_table(io.BytesIO(none)).schema.names == ROWS.names
        wrong = await host.get("/api/export", params={**asked, "to_ms": 5})
        assert (wrong.status_code, "is later than" in wrong.json()["detail"]) == (422, True)
        await k.store.close()
        assert (await host.get("/api/export", params=asked)).status_code == 503


async def test_a_backup_is_one_moment_while_the_host_goes_on_writing(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k, serving(k) as host:
        await k.write(*(flow(NOON + i, float(i)) for i in range(1000)))
        assert isinstance(k.store, EmbeddedStore)

        async def write_on() -> int:
            for i in range(30):
                await k.write(flow(NEXT.from_ms + i, 1.0), flow(NEXT.from_ms + i, 1.0, "level"))
            return 30

        answer, written = await asyncio.gather(
            host.post("/api/backup", json={"folder": str(tmp_path / "b" / "one")}), write_on()
        )
        made = answer.json()
        assert (written, made["made_ms"], list(made["files"])) == (30, NOON, ["samples.duckdb", "state.db"])
        assert any("archive" in text for text in made["also"])
        with duckdb.connect(str(tmp_path / "b/one/samples.duckdb"), read_only=True) as copy:
            ((flows, levels),) = copy.execute(
                "SELECT count(*) FILTER (tag = 'flow'), count(*) FILTER (tag = 'level')"
                " FROM samples JOIN series ON series = id"
            ).fetchall()
        assert flows - levels == 1000, "whole transactions only"
        with sqlite3.connect(tmp_path / "b/one/state.db") as state:
            ((days,),) = state.execute("SELECT count(*) FROM archive_days").fetchall()
        assert days >= 1 + (levels > 0), "a day is marked before it is written to"
        assert json.loads((tmp_path / "b/one/backup.json").read_text()) == made
        again = await host.post("/api/backup", json={"folder": str(tmp_path / "b" / "one")})
        assert (again.status_code, "there is something already" in again.json()["detail"]) == (409, True)
        (tmp_path / "empty").mkdir()
        assert (await host.post("/api/backup", json={"folder": str(tmp_path / "empty")})).is_success
        refused = await host.post("/api/backup", json={"folder": "/proc/x/y"})
        assert (refused.status_code, "choose a folder that the host may write" in refused.json()["detail"]) == (
            409,
            True,
        )
        assert (await host.post("/api/backup", json={"folder": "x"})).status_code == 409
        assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["one"]


async def test_two_backups_at_once_are_refused(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        backups = Backups(Config(store=DuckDbFile(tmp_path / "x")), k.store, k.db, k.archiver.writing, lambda: NOON)
        found = await asyncio.gather(
            backups.make(tmp_path / "one"), backups.make(tmp_path / "two"), return_exceptions=True
        )
        assert [type(f) for f in found] == [dict, ConfigError]


async def test_a_backup_of_a_host_with_influxdb_says_what_else_to_keep(tmp_path: Path, influxdb: object) -> None:
    name = f"db-{uuid4().hex}"
    influx = InfluxHttp(influxdb.url, name)  # type: ignore[attr-defined]
    async with keeping(tmp_path, influx=influx) as k, serving(k, Config(store=InfluxV1("http://x", name))) as host:
        await k.write(flow(NOON, 1.0))
        made = (await host.post("/api/backup", json={"folder": str(tmp_path / "b")})).json()
        assert list(made["files"]) == ["state.db"]
        assert f"influxd backup -portable -database {name} DIR" in made["also"][0]


async def test_a_state_in_postgresql_is_left_to_its_own_tools(tmp_path: Path, postgres: Postgres) -> None:
    db = StateDb(postgres.new())
    store = EmbeddedStore(tmp_path / "s.duckdb")
    for config, other in (
        (Config(store=InfluxV1("http://x", "plant")), "influxd backup -portable -database plant DIR"),
        (Config(store=DuckDbFile(tmp_path / "s.duckdb")), f"copy {tmp_path}/s.duckdb too"),
    ):
        backups = Backups(config, store, db, asyncio.Lock(), lambda: NOON)
        with pytest.raises(ConfigError, match=f"`pg_dump --format=custom .*--dbname={db.where}`.*{other}"):
            await backups.make(tmp_path / "b")
    assert not (tmp_path / "b").exists()


async def test_jobs_are_done_by_the_host_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "FIRST_S", 0.01)
    async with keeping(tmp_path) as k, serving(k) as host:
        await k.write(flow(NOON, 1.0))
        working = asyncio.create_task(k.archiver.run())

        async def done(number: int) -> dict[str, object]:
            for _ in range(2000):
                jobs = {j["number"]: j for j in (await host.get("/api/archive")).json()["jobs"]}
                if jobs.get(number, {"done": False})["done"]:
                    return dict(jobs[number])
                await asyncio.sleep(0.01)
            raise TimeoutError(f"job {number} is not done: {jobs}")

        async def asked(what: str, **wanted: str) -> dict[str, object]:
            return await done((await host.post(f"/api/archive/{what}", json=wanted)).json()["number"])

        assert (await done(1))["rows"] == 1, "by itself, soon after the start"
        assert (await asked("run"))["results"] == []
        assert (await asked("run", day="2026-05-01"))["results"][0]["changed"] is False  # type: ignore[index]
        await k.lose(DAY)
        assert (await asked("restore", day="2026-05-01", site="plant"))["results"][0]["restored"] == 1  # type: ignore[index]
        for wanted in (
            {"site": "plant"},
            {"day": "2026-02-30"},
            {"day": "2001-01-01"},
            {"day": NEXT.date, "site": "x"},
        ):
            k.now_ms = NEXT.to_ms - 1
            refused = await host.post("/api/archive/run", json=wanted)
            assert (refused.status_code, refused.json()["status"]) == (409, 409)
        assert (await host.post("/api/archive/restore", json={"day": "2026-05-01"})).status_code == 409
        assert (await host.post("/api/archive/run", json={"day": "yesterday"})).status_code == 422
        await k.store.close()
        assert (await asked("run", day="2026-05-01", site="plant"))["problems"]
        assert "archive" in k.archiver.stats.problems
        await k.store.open()
        await k.db.close()
        k.archiver.ask("run", [])
        await asyncio.sleep(0.1)
        assert not working.done()
        await k.db.open()
        assert (await asked("run"))["problems"] == []
        assert "archive" not in k.archiver.stats.problems
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert (tmp_path / "archive" / folder_of(DAY)).exists()
