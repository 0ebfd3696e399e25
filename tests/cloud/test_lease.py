"""The lease: who is active is decided in one row, and whoever was before can write nothing any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from sqlalchemy import Connection, text

from cloud.archive.marks import DayMarks
from cloud.dead_letters import DeadLetters, Letter
from cloud.duty import Duty
from cloud.lease import Lease, Term, refuse_beside
from cloud.ledger import LedgerEntry
from cloud.standby import Turns
from cloud.state.db import StateDb
from cloud.state.host import EpochCounters, HostState, Record
from cloud.state.ledger import SqlLedger
from cloud.state.place import PostgresDb
from cloud.state.restored import RestoredDay
from cloud.store.port import BatchKey
from cloud.store.whole_rows import DayId
from tests.cloud.hosts import until
from tests.servers import Postgres, free_port
from wire.errors import ConfigError, LeaseLost, StoreDown
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")
KEY = BatchKey(NODE, "e1", 1)
DAY = RestoredDay(NODE, "d", 1)
LONG_S = 60.0


class Pair:
    """Two hosts beside one state."""

    def __init__(self, where: PostgresDb, lease_s: float = LONG_S) -> None:
        self.where = where
        self.a = Lease(where, "gaugeline", "host-a", lease_s)
        self.b = Lease(where, "gaugeline", "host-b", lease_s)

    async def expire(self) -> None:
        """As if nobody had renewed."""
        db = StateDb(self.where)
        await db.open()
        await db.write(lambda con: con.execute(text("UPDATE lease SET expires_ms = 1")))
        await db.close()


@pytest.fixture
async def pair(postgres: Postgres) -> AsyncIterator[Pair]:
    found = Pair(postgres.new())
    await asyncio.gather(found.a.open(), found.b.open())
    yield found
    await found.a.close()
    await found.b.close()


async def taken(lease: Lease) -> Term:
    term = await lease.take()
    assert term is not None
    return term


async def test_one_is_active_and_the_other_sees_who(pair: Pair) -> None:
    found = await asyncio.gather(pair.a.take(), pair.b.take())
    (term,) = [term for term in found if term is not None]
    waiting = pair.b if found[0] is term else pair.a
    active = pair.a if found[0] is term else pair.b
    for _ in range(3):
        assert await waiting.take() is None
        await active.renew(term.token)
    assert (waiting.seen.holder, waiting.seen.token) == (active.name, term.token)
    assert LONG_S / 2 < waiting.seen.left_s <= LONG_S
    await term.check()


async def test_each_change_of_the_active_host_has_a_greater_token(pair: Pair) -> None:
    tokens = []
    for lease in (pair.a, pair.b, pair.a):
        term = await taken(lease)
        tokens.append(term.token)
        await term.end()
    assert tokens == [1, 2, 3]


async def test_who_lost_the_lease_is_told_by_whom(pair: Pair) -> None:
    term = await taken(pair.a)
    await pair.expire()
    await pair.a.renew(term.token)  # nobody took it: it goes on
    await pair.expire()
    await taken(pair.b)
    for call in (pair.a.renew(term.token), term.check()):
        with pytest.raises(LeaseLost, match="host-b is active with token 2, host-a had 1"):
            await call
    await term.end()
    assert await pair.a.take() is None, "who lost it cannot give it back for the other one"


async def test_every_write_of_who_lost_the_lease_is_refused(pair: Pair) -> None:
    term = await taken(pair.a)
    late = StateDb(pair.where, term)
    await late.open()
    ledger, state, letters = SqlLedger(late), HostState(late), DeadLetters(late)
    await ledger.open()
    await ledger.add([LedgerEntry(KEY, "pump", "d", 1, 0, 0, 1, 1)])
    marks = DayMarks(late)
    await marks.add([DayId("plant", 1)])
    await pair.expire()
    new = StateDb(pair.where, await taken(pair.b))
    await new.open()
    writes = (
        lambda: ledger.add([LedgerEntry(KEY._replace(number=2), "pump", "d", 1, 0, 0, 1, 1)]),
        lambda: letters.keep([Letter("sample", KEY, "d", 0, "why")], 1),
        lambda: letters.keep_message(NODE, "", "why", b"", 1),
        lambda: state.keep_births({(NODE, "d"): []}, 1),
        lambda: state.keep_nodes({NODE: {}}, 1),
        lambda: state.keep_records([Record(KEY, 0, "gap", {})], 1),
        lambda: state.keep_counters([EpochCounters(NODE, "e1", {}, False)], 1),
        lambda: state.add_figures({(NODE, "x"): 1}),
        lambda: state.decided(KEY, "d", set()),
        lambda: state.restored.put(DAY, 1),
        lambda: state.restored.mark([DAY]),
        lambda: state.forget([NODE]),
        lambda: marks.add([DayId("plant", 2)]),
        lambda: marks.clean(DayId("plant", 1), 1),
        late.open,
    )
    for write in writes:
        with pytest.raises(LeaseLost, match="another host has taken the place of host-a"):
            await write()
    fresh = SqlLedger(new)
    await fresh.open()
    assert list(fresh.epochs().values()) == [1]
    assert list(await DayMarks(new).marked()) == [DayId("plant", 1)]
    assert (await HostState(new).nodes(), await HostState(new).figures()) == ({}, {})
    await fresh.add([LedgerEntry(KEY._replace(number=2), "pump", "d", 1, 0, 0, 1, 1)])
    for db in (late, new):
        with suppress(StoreDown):
            await db.close()


async def test_nobody_becomes_active_in_the_middle_of_a_write(pair: Pair) -> None:
    term = await taken(pair.a)
    db = StateDb(pair.where, term)
    await db.open()
    begun, go_on = threading.Event(), threading.Event()

    def slow(con: Connection) -> None:
        con.execute(text("INSERT INTO figures VALUES ('plant', 'gw-1', 'x', 1)"))
        begun.set()
        assert go_on.wait(20)

    writing = asyncio.create_task(db.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    await pair.a.renew(term.token)  # a long write does not keep its own host from renewing
    await pair.expire()
    taking = asyncio.create_task(pair.b.take())
    done, _ = await asyncio.wait([taking], timeout=0.3)
    assert not done, "the write holds the lease"
    go_on.set()
    await writing
    assert await taking is not None
    assert await HostState(db).figures() == {(NODE, "x"): 1}
    await db.close()


async def test_a_host_that_stands_still_within_a_write_does_not_keep_the_lease(postgres: Postgres) -> None:
    pair = Pair(postgres.new(), 1.0)
    await pair.a.open()
    await pair.b.open()
    db = StateDb(pair.where, await taken(pair.a))
    await db.open()
    go_on = threading.Event()

    def stopped(con: Connection) -> None:
        con.execute(text("INSERT INTO figures VALUES ('plant', 'gw-1', 'x', 1)"))
        assert go_on.wait(30)

    writing = asyncio.create_task(db.write(stopped))
    async with asyncio.timeout(20):
        while (term := await _take_or_none(pair.b)) is None:
            await asyncio.sleep(0.1)
    go_on.set()
    with pytest.raises(StoreDown, match="idle-in-transaction"):
        await writing
    late = HostState(db)
    with pytest.raises(LeaseLost):
        await late.add_figures({(NODE, "x"): 1})
    new = StateDb(pair.where, term)
    await new.open()
    assert await HostState(new).figures() == {}
    for one in (db, new):
        await one.close()
    await pair.a.close()
    await pair.b.close()


async def _take_or_none(lease: Lease) -> Term | None:
    try:
        return await lease.take()
    except StoreDown:  # it waited for the other one's row
        return None


async def test_a_host_knows_by_its_own_clock_that_its_time_is_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    term = await taken(pair.a)
    assert abs(term.state_ms(0) - pair.a.seen.since_ms) < 60_000, "STATE bears the database's time"
    Duty().still()
    await Duty().check()
    term.still()
    real = time.clock_gettime
    monkeypatch.setattr("cloud.lease.time.clock_gettime", lambda clock: real(clock) + LONG_S)
    for wrong in (term.check(), StateDb(pair.where, term).write(lambda con: None)):
        with pytest.raises(LeaseLost, match="could not renew its lease of 60 s"):
            await wrong
    with pytest.raises(LeaseLost):
        term.still()


async def test_hosts_of_other_ids_have_leases_of_their_own(pair: Pair) -> None:
    other = Lease(pair.where, "other", "host-c", LONG_S)
    await other.open()
    assert (await taken(pair.a)).token == (await taken(other)).token == 1
    await other.close()


async def test_a_host_without_a_standby_does_not_write_beside_an_active_one(pair: Pair) -> None:
    alone = StateDb(pair.where)
    await alone.open()
    await refuse_beside(alone, "gaugeline")
    await taken(pair.a)
    with pytest.raises(ConfigError, match=r"host-a is active on the state .*--standby NAME"):
        await refuse_beside(alone, "gaugeline")
    await refuse_beside(alone, "other")
    await alone.close()


class TestTurns:
    async def test_who_cannot_renew_ends_its_duty_and_waits_again(self) -> None:
        server = Postgres()
        events: list[str] = []

        async def duty(term: Term) -> None:
            events.append(f"active {term.token}")
            try:
                await asyncio.sleep(60)
            finally:
                events.append("left")

        try:
            server.start()
            turns = Turns(Lease(server.new(), "gaugeline", "host-a", 1.0))
            running = asyncio.create_task(turns.run(duty))
            await until(lambda: turns.term is not None, 20)
            assert turns.as_json()["role"] == "active"
            server.stop()
            await until(lambda: events == ["active 1", "left"], 20)
            await until(lambda: turns.problem, 20)
            assert "nobody can know who is active" in turns.problem
            assert turns.as_json()["role"] == "standby"
            server.start()
            await until(lambda: events == ["active 1", "left", "active 2"], 20)
            assert turns.problem == ""
            running.cancel()
            await asyncio.wait([running])
            assert turns.lease.seen.token == 2
            other = Lease(turns.lease.where, "gaugeline", "host-b", 1.0)
            await other.open()
            assert await other.take() is not None, "it was given back in order"
            await other.close()
            await turns.close()
        finally:
            server.remove()

    async def test_a_fault_of_the_duty_is_nobodys_lease(self, postgres: Postgres) -> None:
        async def duty(term: Term) -> None:
            raise RuntimeError("a fault of ours")

        turns = Turns(Lease(postgres.new(), "gaugeline", "host-a", 1.0))
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await turns.run(duty)
        await turns.close()

    async def test_a_lease_lost_beneath_a_group_of_tasks_is_a_lost_lease(self, postgres: Postgres) -> None:
        rounds: list[int] = []

        async def duty(term: Term) -> None:
            rounds.append(term.token)
            if len(rounds) == 1:
                raise ExceptionGroup("collector", [ExceptionGroup("round", [LeaseLost("taken")])])
            raise ExceptionGroup("collector", [LeaseLost("taken"), RuntimeError("and a fault")])

        turns = Turns(Lease(postgres.new(), "gaugeline", "host-a", 1.0))
        with pytest.raises(ExceptionGroup):
            await turns.run(duty)
        assert rounds == [1, 2]
        await turns.close()

    async def test_a_state_of_a_newer_program_ends_the_host(self, postgres: Postgres) -> None:
        where = postgres.new()
        db = StateDb(where)
        await db.open()
        await db.write(lambda con: con.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        await db.close()

        async def duty(term: Term) -> None:
            raise AssertionError("never")

        with pytest.raises(ConfigError, match="a newer Gaugeline wrote it"):
            await Turns(Lease(where, "gaugeline", "host-a", 1.0)).run(duty)

    async def test_without_a_server_it_says_so_and_waits(self) -> None:
        turns = Turns(Lease(PostgresDb("127.0.0.1", "x", free_port(), "u"), "gaugeline", "host-a", 1.0))

        async def duty(term: Term) -> None:
            raise AssertionError("never")

        running = asyncio.create_task(turns.run(duty))
        await until(lambda: turns.problem)
        running.cancel()
        await asyncio.wait([running])
        await turns.close()
