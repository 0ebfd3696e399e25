"""What both adapters of the removal promise, also when they are interrupted anywhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cloud.retention.embedded import EmbeddedRemoval
from cloud.retention.influx import InfluxRemoval
from cloud.retention.port import Cut, DeviceDay, Removal, raw_since_ms
from cloud.state.db import StateDb
from cloud.state.place import PostgresDb
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_client import Found, InfluxServer, Unacceptable
from cloud.store.influx_http import InfluxHttp
from cloud.store.influx_v2 import Bucket, InfluxV2
from cloud.store.port import Batch, DeviceId, TelemetryStore
from cloud.store.whole_rows import TagId
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NODE, NOON, flow
from tests.cloud.hosts import ROOT
from tests.cloud.influx2 import BROKEN, CORE_3, MALFORMED, UNAUTHORIZED, influx2
from tests.servers import free_port
from wire.block import Sample
from wire.errors import LeaseLost, StoreDown

PUMP = DeviceId(NODE, "pump-1")
TODAY = DeviceDay(*PUMP, DAY.day)
MORROW = DeviceDay(*PUMP, NEXT.day)


@dataclass
class Kept:
    store: TelemetryStore
    removal: Removal
    db: StateDb

    async def write(self, *samples: Sample, device: str = "pump-1") -> None:
        async with self.store.transaction():
            found = Batch(NODE, device, samples, first_ms=samples[0].ts_ms, last_ms=samples[-1].ts_ms)
            assert await self.store.write([found]) == []

    async def give_back(self, *samples: Sample) -> None:
        found = [Batch(NODE, "pump-1", samples, first_ms=samples[0].ts_ms, last_ms=samples[-1].ts_ms)]
        async with self.store.transaction(), self.removal.returning(found):
            await self.store.write(found)

    async def figures(self) -> tuple[int, int]:
        """Rows of the pump, and those that were removed."""
        return (await self.store.count()).get(PUMP, 0), (await self.removal.totals()).get(PUMP, 0)


@pytest.fixture(params=["duckdb", "influxdb"])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    if request.param == "duckdb":
        return "", ""
    return request.getfixturevalue("influxdb").url, f"db-{uuid4().hex}"


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, place: tuple[str, str]) -> PostgresDb | None:
    """Where the state is; None: in a file."""
    if request.param == "sqlite":
        return None
    if not place[0]:
        pytest.skip("DuckDB counts in its own file")
    made: PostgresDb = request.getfixturevalue("postgres").new()
    return made


@asynccontextmanager
async def kept(folder: Path, place: tuple[str, str], state: PostgresDb | None = None) -> AsyncIterator[Kept]:
    url, database = place
    db = StateDb(state or folder / "state.db")
    await db.open()
    store: TelemetryStore
    if url:
        store = InfluxStore(InfluxHttp(url, database))
        removal: Removal = InfluxRemoval(db, store.server)
    else:
        store = EmbeddedStore(folder / "samples.duckdb")
        removal = EmbeddedRemoval(store.file)
    await store.open()
    await removal.settle()
    try:
        yield Kept(store, removal, db)
    finally:
        await store.close()
        await db.close()


def whole(day: DeviceDay, *tags: str, name: str = "all") -> Cut:
    return Cut(day, name, tags, day.from_ms, day.to_ms)


async def test_what_goes_is_counted_by_day_and_class_and_nothing_else_goes(
    tmp_path: Path, place: tuple[str, str], state: PostgresDb | None
) -> None:
    many = [flow(NOON + i, float(i), name) for name in ("flow", "level") for i in range(10)]
    async with kept(tmp_path, place, state) as k:
        await k.write(*many, *EVERY_KIND, flow(NEXT.from_ms, 1.0), flow(NEXT.to_ms, 1.0))
        await k.write(*many, device="")
        assert (await k.removal.oldest(NEXT.from_ms))[TagId(NODE, "pump-1", "flow")] == NOON
        assert TagId(NODE, "", "level") in await k.removal.oldest(NEXT.from_ms)
        assert await k.removal.oldest(NOON) == {}
        flows = [TagId(NODE, "pump-1", "flow")]
        assert await k.removal.per_day(flows, NEXT.to_ms) == {TODAY: 10, MORROW: 1}
        assert await k.removal.counts(TODAY, ["flow", "say", "none"]) == {
            TagId(NODE, "pump-1", "flow"): 10, TagId(NODE, "pump-1", "say"): 1,
        }  # fmt: skip
        assert await k.removal.count(flows[0], NOON + 1, NOON + 3) == 2

        assert await k.removal.remove(Cut(TODAY, "some", ("flow", "say"), NOON, NOON + 5)) == 6
        assert await k.removal.remove(Cut(TODAY, "some", ("flow", "say"), NOON, NOON + 5)) == 0
        assert await k.removal.remove(whole(TODAY, "flow", "i64")) == 6
        assert await k.removal.remove(whole(MORROW, "flow")) == 1
        assert await k.figures() == (10 + 6 + 1, 13)
        assert (await k.store.count())[DeviceId(NODE, "")] == 20
        assert await k.removal.days(PUMP) == {DAY.day: 12, NEXT.day: 1}
        assert [(t.name, t.rows) for t in await k.removal.taken()] == [("all", 7), ("some", 6)]
        gone = k.removal.gone(PUMP)
        assert gone is not None
        assert (gone.within(0, DAY.to_ms), gone.within(NEXT.to_ms, 2**50)) == ([DAY.day, NEXT.day], [])
        assert gone.until_ms == NEXT.to_ms
    async with kept(tmp_path, place, state) as k:
        assert await k.figures() == (17, 13), "as it was before the restart"
        await k.give_back(*many[:10])
        assert await k.removal.days(PUMP) == {DAY.day: 2, NEXT.day: 1}
        await k.give_back(flow(NEXT.from_ms, 1.0), flow(NEXT.from_ms + 1, 1.0))
        assert await k.figures() == (29, 2), "what was never removed leaves the count alone"


async def test_a_give_back_that_fails_leaves_the_books_as_they_are(tmp_path: Path, place: tuple[str, str]) -> None:
    async with kept(tmp_path, place) as k:
        await k.write(*(flow(NOON + i, float(i)) for i in range(10)))
        assert await k.removal.remove(whole(TODAY, "flow")) == 10
        batch = Batch(NODE, "pump-1", (flow(NOON, 0.0),), first_ms=NOON, last_ms=NOON)
        for after in (False, True):
            with pytest.raises(StoreDown, match="gone"):
                async with k.store.transaction(), k.removal.returning([batch]):
                    if after:
                        await k.store.write([batch])
                    raise StoreDown("gone")
            await k.removal.settle()
            rows, removed = await k.figures()
            assert rows + removed == 10


class Breaking:
    """A real server behind something that breaks at one step."""

    def __init__(self, server: InfluxServer, step: str) -> None:
        self._server, self._step = server, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def delete(self, of: Mapping[str, str], tags: Sequence[str], from_ms: int, to_ms: int) -> None:
        if self._step == "before":
            raise StoreDown("killed")
        if "half" in self._step:
            to_ms = (from_ms + to_ms) // 2
        if self._step == "refused":
            raise Unacceptable("delete is not allowed")
        await self._server.delete(of, tags, from_ms, to_ms)
        if self._step in ("half", "after"):
            raise StoreDown("killed")
        if self._step == "half refused":
            raise Unacceptable("delete is not allowed any more")


@pytest.mark.parametrize("step", ["before", "half", "after"])
async def test_an_interrupted_removal_is_finished_and_counted_once(tmp_path: Path, influxdb: Any, step: str) -> None:
    place = (influxdb.url, f"db-{uuid4().hex}")
    async with kept(tmp_path, place) as k:
        assert isinstance(k.store, InfluxStore)
        await k.write(*(flow(NOON + i - 10, float(i)) for i in range(20)), flow(NEXT.from_ms, 1.0))
        broken = InfluxRemoval(k.db, Breaking(k.store.server, step))
        with pytest.raises(StoreDown, match="killed"):
            await broken.remove(whole(TODAY, "flow"))
        assert raw_since_ms(broken, NODE, "pump-1", "flow") == NEXT.from_ms, "nobody takes a half for the whole"
        with pytest.raises(StoreDown, match="killed"):
            await broken.settle()  # nothing else is written as long as nobody knows what became of it
        assert (await k.figures())[1] == 0
        for _ in range(2):
            late = InfluxRemoval(k.db, k.store.server)
            await late.settle()
            assert await k.figures() == (1, 20)


@pytest.mark.parametrize(("step", "gone"), [("refused", 0), ("half refused", 10)])
async def test_a_server_that_refuses_to_delete_holds_up_nothing_else(
    tmp_path: Path, influxdb: Any, step: str, gone: int
) -> None:
    async with kept(tmp_path, (influxdb.url, f"db-{uuid4().hex}")) as k:
        assert isinstance(k.store, InfluxStore)
        await k.write(*(flow(NOON + i - 10, float(i)) for i in range(20)))
        refusing = InfluxRemoval(k.db, Breaking(k.store.server, step))
        with pytest.raises(StoreDown, match="does not delete: delete is not allowed"):
            await refusing.remove(whole(TODAY, "flow"))
        await refusing.settle()
        assert await k.figures() == (20 - gone, gone)


async def test_a_server_that_refuses_or_gives_no_answer_says_which(tmp_path: Path, influxdb: Any) -> None:
    http = InfluxHttp(influxdb.url, f"db-{uuid4().hex}")
    await http.open()
    of = {"group": "plant", "node": "gw-1", "device": "pump-1"}
    http.database = "nowhere"
    with pytest.raises(Unacceptable, match="database not found"):
        await http.delete(of, ["flow"], 0, 1)
    await http.close()
    away = InfluxHttp(f"http://127.0.0.1:{free_port()}", "db")
    with pytest.raises(StoreDown):
        await away.open()
    with pytest.raises(StoreDown):
        await away.delete(of, ["flow"], 0, 1)
    await away.close()


async def test_a_host_that_is_not_the_active_one_any_more_deletes_nothing(tmp_path: Path, influxdb: Any) -> None:
    def over() -> None:
        raise LeaseLost("another host has taken the place of this one")

    async with kept(tmp_path, (influxdb.url, f"db-{uuid4().hex}")) as k:
        assert isinstance(k.store, InfluxStore)
        await k.write(flow(NOON, 1.0))
        with pytest.raises(LeaseLost):
            await InfluxRemoval(k.db, k.store.server, over).remove(whole(TODAY, "flow"))
        assert await k.figures() == (1, 0)
        await InfluxRemoval(k.db, k.store.server).settle()
        assert await k.figures() == (0, 1), "who comes after it finishes what it had begun"


async def test_a_server_that_still_deletes_is_waited_for(tmp_path: Path, influxdb: Any) -> None:
    class Busy(Breaking):
        async def query(self, text: str, bound: Mapping[str, Any] | None = None) -> list[Found]:
            if text != "SHOW QUERIES":
                return await self._server.query(text, bound)
            running = [9, 'DELETE FROM "sample"', self._step, "3s", "running"]
            return [Found({}, ["qid", "query", "database", "duration", "status"], [running])]

        async def deleting(self) -> bool:
            return await InfluxHttp.deleting(self)  # type: ignore[arg-type]

    place = (influxdb.url, f"db-{uuid4().hex}")
    async with kept(tmp_path, place) as k:
        assert isinstance(k.store, InfluxStore)
        assert not await k.store.server.deleting()
        await k.write(flow(NOON, 1.0))
        with pytest.raises(StoreDown, match="killed"):
            await InfluxRemoval(k.db, Breaking(k.store.server, "before")).remove(whole(TODAY, "flow"))
        with pytest.raises(StoreDown, match="still deleting"):
            await InfluxRemoval(k.db, Busy(k.store.server, place[1])).settle()
        await InfluxRemoval(k.db, Busy(k.store.server, "another")).settle()
        assert await k.figures() == (0, 1)


async def test_samples_that_do_not_go_although_the_server_said_so_are_not_counted(
    tmp_path: Path, influxdb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(Breaking):
        async def delete(self, of: Mapping[str, str], tags: Sequence[str], from_ms: int, to_ms: int) -> None:
            """InfluxDB Cloud says yes, and deletes later."""

    monkeypatch.setattr("cloud.retention.influx.LOOK_S", 0.0)
    async with kept(tmp_path, (influxdb.url, f"db-{uuid4().hex}")) as k:
        assert isinstance(k.store, InfluxStore)
        await k.write(flow(NOON, 1.0))
        with pytest.raises(StoreDown, match="told to delete 1 samples, 1 are still there"):
            await InfluxRemoval(k.db, Deaf(k.store.server, "")).remove(whole(TODAY, "flow"))
        assert await k.figures() == (1, 0)


async def test_many_kills_lose_and_double_nothing(tmp_path: Path, place: tuple[str, str]) -> None:
    """kill -9 of a process that removes, at whatever point it is."""
    tags = [f"t{i:03}" for i in range(60)]
    async with kept(tmp_path, place) as k:
        samples = [flow(NOON + day * 86_400_000 + i, 1.0, tag) for tag in tags for day in range(2) for i in range(5)]
        await k.write(*samples)
    pieces = 0
    for kill in range(2):
        command = [sys.executable, "-m", "tests.cloud.retention.victim", str(tmp_path), *place]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert victim.stdout is not None
        said = await asyncio.to_thread(victim.stdout.readline)
        for _ in range(17 * kill):
            said = await asyncio.to_thread(victim.stdout.readline)
        await asyncio.sleep(0.003 * kill)
        victim.kill()
        rest = await asyncio.to_thread(victim.stdout.read)
        victim.wait(10)
        pieces += 17 * kill + rest.count(b"gone")
        assert said in (b"ready\n", b"gone\n")
        async with kept(tmp_path, place) as k:
            rows, removed = await k.figures()
            assert rows + removed == len(samples)
            assert removed >= 5 * pieces
    assert removed > 0


async def test_influxdb_2_is_asked_as_its_documentation_says_and_3_says_that_it_cannot() -> None:
    with influx2() as said:
        said.buckets["plant"] = 0
        server = InfluxV2(Bucket(said.url, "plant", "plant", "secret"))
        await server.open()
        of = {"group": "plant", "node": "gw-1", "device": "@node"}
        await server.delete(of, ['fl"ow', "level"], DAY.from_ms, NEXT.from_ms)
        await server.close()
        assert [d["predicate"] for d in said.deleted] == [
            '"_measurement"="sample" AND "group"="plant" AND "node"="gw-1" AND "device"="@node" AND "tag"="fl\\"ow"',
            '"_measurement"="sample" AND "group"="plant" AND "node"="gw-1" AND "device"="@node" AND "tag"="level"',
        ]
        assert {(d["start"], d["stop"]) for d in said.deleted} == {
            ("2026-05-01T00:00:00.000Z", "2026-05-01T23:59:59.999999999Z")
        }
        assert not await server.deleting()
        for answer, fault in ((UNAUTHORIZED, Unacceptable), (MALFORMED, Unacceptable), (BROKEN, StoreDown)):
            said.deletes_with = answer
            await server.open()
            with pytest.raises(fault):
                await server.delete(of, ["flow"], 0, 1)
        await server.close()
        said.headers = CORE_3
        new = InfluxV2(Bucket(said.url, "plant", "", "secret"))
        await new.open()
        with pytest.raises(Unacceptable, match="InfluxDB 3 cannot delete samples; leave `retention` out"):
            await new.delete(of, ["flow"], 0, 1)
        await new.close()
