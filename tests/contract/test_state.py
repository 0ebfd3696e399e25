"""What the host's state promises, in one SQLite file and in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from cloud.dead_letters import DeadLetters, Letter
from cloud.ledger import LedgerEntry
from cloud.state.db import StateDb
from cloud.state.host import EpochCounters, HostState, Met, Record
from cloud.state.ledger import SqlLedger
from cloud.state.link import SqlLink
from cloud.state.migrate import FOLDER, LEASE, migrate, revision, revisions
from cloud.state.place import PostgresDb, StateChoice
from cloud.state.restored import RestoredDay, RestoredDays
from cloud.state.schema import metadata
from cloud.store.port import BatchKey, DeviceId
from cloud.store.whole_rows import DAY_MS
from tests.servers import Postgres, free_port
from wire.errors import ConfigError, StoreDown
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
OTHER = NodeId("plant", "gw-2")
DATABASES = Path(__file__).parents[1] / "databases"


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> StateChoice:
    if request.param == "sqlite":
        return tmp_path / "state.db"
    made: PostgresDb = request.getfixturevalue("postgres").new()
    return made


@pytest.fixture
async def db(where: StateChoice) -> AsyncIterator[StateDb]:
    found = StateDb(where)
    await found.open()
    yield found
    await found.close()


def key(number: int, node: NodeId = NODE) -> BatchKey:
    return BatchKey(node, "e1", number)


async def test_births_and_nodes_are_replaced_and_forgotten(db: StateDb) -> None:
    state = HostState(db)
    for unit in ("bar", "kPa"):
        await state.keep_births({(n, "pump"): [("flow", Datatype.FLOAT, {"u": unit})] for n in (NODE, OTHER)}, 7)
        await state.keep_nodes({NODE: {"heard_ms": 1, "unit": unit}}, 7)
    assert await state.births() == {(n, "pump"): [("flow", Datatype.FLOAT, {"u": "kPa"})] for n in (NODE, OTHER)}
    assert await state.nodes() == {NODE: {"heard_ms": 1, "unit": "kPa"}, OTHER: {"heard_ms": 7}}
    await state.forget([NODE])
    assert list(await state.nodes()) == [OTHER]


async def test_final_counters_stay_final(db: StateDb) -> None:
    state = HostState(db)
    said = [EpochCounters(NODE, "e1", {"n": n}, closed) for n, closed in ((1, False), (2, True), (3, False))]
    for one in said:
        await state.keep_counters([one], 1)
    assert await state.counters() == [said[1]]
    closing = Record(key(9), 0, "epoch_closed", {"epoch": "e2", "devices": {}})
    for _ in range(2):  # a record that comes again
        await state.keep_records([closing], 1)
    assert await state.records("epoch_closed") == [closing]
    assert {c.epoch for c in await state.counters() if c.closed} == {"e1", "e2"}


async def test_figures_grow_and_a_decision_is_made_once(db: StateDb) -> None:
    state = HostState(db)
    for _ in range(2):
        await state.add_figures({(NODE, "duplicates"): 2, (NODE, "conflicts"): 1})
    assert await state.figures() == {(NODE, "duplicates"): 4, (NODE, "conflicts"): 2}
    assert await state.decided(key(1), "pump", {("flow", 1)}) == Met({("flow", 1)})
    assert await state.decided(key(1), "pump", {("flow", 2)}) == Met({("flow", 1)})


async def test_a_batch_accounts_for_restored_rows_once(db: StateDb) -> None:
    state, day = HostState(db), RestoredDay(NODE, "pump", 1)
    await state.restored.mark([day, day._replace(device="fan")])
    await state.restored.mark([day])  # restored again
    await state.restored.put(day, 3)
    for found in (state.restored, RestoredDays(db)):
        await found.open()
        assert found.reaches(NODE, "pump", 2 * DAY_MS - 1, 3 * DAY_MS)
        assert not found.reaches(NODE, "pump", 2 * DAY_MS, 3 * DAY_MS)
        assert not found.reaches(OTHER, "pump", 0, 3 * DAY_MS)
    two, three = ({("flow", DAY_MS + i) for i in range(n)} for n in (2, 3))
    before = {("flow", DAY_MS - 1)}  # of a day that was not restored
    for _ in range(2):  # decided once
        assert await state.decided(key(1), "pump", two | before, sure=True) == Met(two | before, 2)
        assert (await state.restored.rows())[day] == 1
    assert await state.decided(key(2), "pump", three) == Met(three, 1), "who stored the others nobody knows"
    assert await state.decided(key(3), "pump", three) == Met(three, 0)
    assert await state.decided(key(4), "pump", three, sure=True) == Met(three, 3), "a restore that was interrupted"
    assert set((await state.restored.rows()).values()) == {0}


async def test_the_ledger_is_read_by_runs_and_by_time(db: StateDb) -> None:
    ledger = SqlLedger(db)
    entries = [LedgerEntry(key(n), "pump", "d", 2, 0, 1, n * 10, n * 10 + 5) for n in (1, 2, 3, 7)]
    await ledger.add(entries)
    for found in (ledger, SqlLedger(db)):
        await found.open()
        assert found.holes(NODE, "e1", 1, 8) == [(4, 6), (8, 8)]
        (held,) = await found.window(0, 1_000)
        assert (held.batches, held.sums.samples, held.numbers) == (4, 8, (1, 7))
        assert [h.batches for h in await found.window(25, 31, DeviceId(NODE, "pump"))] == [2]
        assert await found.collided() == {(NODE, "pump"): 4}
        assert await found.known([key(n) for n in range(9)]) == {e.key: "d" for e in entries}


async def test_words_that_a_database_cannot_hold_do_not_stop_the_host(db: StateDb) -> None:
    letters = DeadLetters(db)
    odd = "a\0b 汉 \\ % ? :x"
    for _ in range(2):
        await letters.keep([Letter("sample", key(1), odd, 0, odd, b"\0\xff", odd, digest="d")], 1)
        await letters.keep_message(NODE, odd, odd, b"\0", 1)
    sample = (await letters.newest(kind="sample"))[0]
    assert sample["tag"] in (odd, odd.replace("\0", "␀"))
    assert (await letters.summary())["sample"]["kept"] == 1
    await HostState(db).keep_births({(NODE, odd): [(odd, Datatype.STRING, {"x": odd})]}, 1)
    ((_, device),) = await HostState(db).births()
    assert device == sample["device"]


async def test_what_only_reads_cannot_write_where_hosts_share_a_database(postgres: Postgres) -> None:
    db = StateDb(postgres.new())
    await db.open()
    with pytest.raises(StoreDown, match="read-only transaction"):
        await db.run(lambda con: con.execute(text("DELETE FROM figures")))
    await db.close()


async def test_a_transaction_is_whole_or_not_at_all(db: StateDb) -> None:
    def half(con: Connection) -> None:
        con.execute(text("CREATE TABLE extra (x INTEGER)"))
        con.execute(text("INSERT INTO figures VALUES ('g', 'n', 'x', 1)"))
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await db.write(half)
    assert await HostState(db).figures() == {}
    assert not await db.run(lambda con: inspect(con).has_table("extra"))


class TestMigrations:
    async def test_the_revisions_make_the_tables_that_the_program_uses(self, db: StateDb) -> None:
        def differences(con: Connection) -> list[object]:
            return list(compare_metadata(MigrationContext.configure(con), metadata))

        assert await db.run(differences) == []
        assert await db.run(revision) == revisions()[-1]
        script = ScriptDirectory(str(FOLDER))
        assert [one.revision for one in script.walk_revisions()] == revisions()[::-1]

    async def test_a_state_of_a_newer_program_is_refused_and_left_alone(self, where: StateChoice, db: StateDb) -> None:
        await db.write(lambda con: con.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        await db.close()
        late = StateDb(where)
        with pytest.raises(ConfigError, match=r"schema 9999, this program knows 0\d+: a newer Gaugeline wrote it"):
            await late.open()
        with pytest.raises(StoreDown, match="not open"):
            await late.run(revision)

    async def test_a_state_can_be_brought_to_an_older_schema_first(self, where: StateChoice) -> None:
        link = SqlLink(where)
        link.open()
        for to, reached in (("0001", "0001"), (LEASE, LEASE), ("0001", LEASE)):
            await link.run(lambda con, to=to: migrate(con, to), writes=True)  # type: ignore[misc]
            assert await link.run(revision) == reached
        await link.close()

    @pytest.mark.parametrize("missing", [(), ("nodes",)], ids=["0.1.0", "older"])
    async def test_a_state_file_of_0_1_0_is_adopted_without_loss(
        self, tmp_path: Path, missing: tuple[str, ...]
    ) -> None:
        path = tmp_path / "state.db"
        with sqlite3.connect(path) as con:
            con.executescript((DATABASES / "state-0.1.0.sql").read_text())
            for table in missing:
                con.execute(f"DROP TABLE {table}")
            names = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = {t: [f'"{c[1]}"' for c in con.execute(f"PRAGMA table_info({t})")] for t in names}
            rows = {t: f"SELECT {', '.join(columns[t])} FROM {t}" for t in names if t != "dead_letters"}
            before = {t: sorted(map(repr, con.execute(rows[t]))) for t in rows}
            letters = con.execute("SELECT rowid, * FROM dead_letters").fetchall()
        assert len(letters) == 4
        assert all(before.values())
        db = StateDb(path)
        for _ in range(2):
            await db.open()
            assert len(await DeadLetters(db).newest()) == 4
            assert len(await HostState(db).nodes()) == 1
            await db.close()
        with sqlite3.connect(path) as con:
            assert {t: sorted(map(repr, con.execute(rows[t]))) for t in before} == before
            assert (
                con.execute(f"SELECT id, {', '.join(columns['dead_letters'])} FROM dead_letters").fetchall() == letters
            )

    async def test_an_upgrade_that_fails_leaves_the_old_state(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        with sqlite3.connect(path) as con:
            con.executescript((DATABASES / "state-0.1.0.sql").read_text())
            con.execute("CREATE TABLE lease (something_else INTEGER)")
        with pytest.raises(StoreDown, match="table lease already exists"):
            await StateDb(path).open()
        with sqlite3.connect(path) as con:
            assert con.execute("SELECT count(rowid) FROM dead_letters").fetchone() == (4,)
            assert not con.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall()

    async def test_hosts_that_start_together_upgrade_once(self, postgres: Postgres) -> None:
        where = postgres.new()
        found = [StateDb(where) for _ in range(4)]
        await asyncio.gather(*(db.open() for db in found))
        assert {await db.run(revision) for db in found} == {revisions()[-1]}
        for db in found:
            await db.close()


class TestServer:
    """A PostgreSQL that goes away."""

    async def test_one_that_is_not_there_is_told_with_its_place_and_without_password(self) -> None:
        where = PostgresDb("127.0.0.1", "gaugeline", free_port(), "gaugeline", "very secret")
        with pytest.raises(StoreDown, match=rf"state postgresql://gaugeline@127.0.0.1:{where.port}/gaugeline") as told:
            await StateDb(where).open()
        assert "very secret" not in f"{told.value} {where!r} {told.value.__cause__}"

    async def test_a_database_that_is_missing_is_told(self, postgres: Postgres) -> None:
        with pytest.raises(StoreDown, match="does not exist"):
            await StateDb(PostgresDb("127.0.0.1", "nowhere", postgres.port, "gaugeline")).open()

    async def test_after_a_restart_the_next_transaction_works_again(self, tmp_path: Path) -> None:
        server = Postgres()
        try:
            server.start()
            db = StateDb(server.new())
            await db.open()
            await HostState(db).add_figures({(NODE, "a"): 1})
            server.stop()
            with pytest.raises(StoreDown):
                await HostState(db).figures()
            server.start()
            assert await HostState(db).figures() == {(NODE, "a"): 1}
            await db.close()
        finally:
            server.remove()

    async def test_one_that_stands_still_holds_nobody(self, postgres: Postgres) -> None:
        link = SqlLink(postgres.new(), deadline_s=0.3)
        link.open()
        assert await link.run(lambda con: con.execute(text("SELECT 1")).scalar()) == 1
        with pytest.raises(StoreDown, match=r"no answer for 0\.3 s"):
            await link.run(lambda con: con.execute(text("SELECT pg_sleep(60)")))
        assert await link.run(lambda con: con.execute(text("SELECT 2")).scalar()) == 2
        waiting = asyncio.create_task(link.run(lambda con: con.execute(text("SELECT pg_sleep(60)"))))
        await asyncio.sleep(0.05)
        await link.close()
        with pytest.raises(StoreDown):
            await waiting
