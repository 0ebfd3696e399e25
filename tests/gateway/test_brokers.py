"""Several brokers in turn: over two real mosquittos, with the host at one or the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.births import BirthBook, Latest
from gateway.brokers import LONGEST_BACK_OFF_S, HostGone, Turns
from gateway.clock import now_ms
from gateway.config.convert import Broker, OutboxSettings
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.sink import OutboxSink
from gateway.uplink import Uplink
from tests.cloud.hosts import running, until
from tests.gateway.field import LINES, TAGS, block
from tests.gateway.host import host
from tests.gateway.test_uplink import NODE, Rig
from tests.servers import Mosquitto, free_port
from wire.errors import UplinkDown, UplinkRefused

A, B, C = Broker("a", 1), Broker("b", 2), Broker("c", 3)


@asynccontextmanager
async def gateway_of(folder: Path, brokers: Sequence[Broker]) -> AsyncIterator[Rig]:
    outbox = Outbox(OutboxSettings(folder / "o.db", 20, 50_000_000), NODE, ("gaugeline",), now_ms)
    await outbox.open(TAGS, LINES)
    latest = Latest()
    book = BirthBook(TAGS, {}, outbox.aliases, latest)
    uplink = Uplink(brokers, NODE, ("gaugeline",), outbox, book, ResendWindow(), now_ms)
    running = [asyncio.create_task(outbox.run()), asyncio.create_task(uplink.run())]
    try:
        yield Rig(outbox, uplink, OutboxSink(outbox, latest))
    finally:
        running[1].cancel()
        outbox.stop()
        await asyncio.wait(running)
        await outbox.close(clean=True)


@pytest.fixture
def two(tmp_path: Path) -> AsyncIterator[tuple[Mosquitto, Mosquitto]]:
    servers = Mosquitto(tmp_path / "a"), Mosquitto(tmp_path / "b")
    for server in servers:
        server.start()
    yield servers  # type: ignore[misc]
    for server in servers:
        server.stop()


def both(two: tuple[Mosquitto, Mosquitto], host_wait_s: float = 0.5) -> list[Broker]:
    return [Broker("127.0.0.1", server.port, keepalive_s=5, host_wait_s=host_wait_s) for server in two]


def test_every_broker_is_asked_once_without_a_pause_and_a_round_is_followed_by_one() -> None:
    turns = Turns([A, B, C])
    waits = [turns.failed(UplinkDown("away"), 0.5, float(i)) for i in range(9)]
    assert waits == [0, 0, 0.5, 0, 0, 1.0, 0, 0, 2.0]
    assert turns.current is A
    for i in range(60):
        assert turns.failed(UplinkDown("away"), 0.999, 10.0 + i) < 15
    turns.born()
    assert [turns.failed(UplinkDown("away"), 0.5, 90.0 + i) for i in range(3)] == [0, 0, 0.5]


def test_a_broker_that_refuses_is_left_out_for_the_longest_back_off_and_the_others_go_on() -> None:
    turns = Turns([A, B])
    assert turns.failed(UplinkRefused("who are you?"), 0.5, 0.0) == 0
    assert turns.current is B
    assert turns.failed(UplinkDown("away"), 0.5, 1.0) == 0.5
    assert turns.current is B
    assert turns.failed(UplinkDown("away"), 0.5, LONGEST_BACK_OFF_S + 1) == 0
    assert turns.current is A
    assert turns.failed(UplinkRefused("who are you?"), 0.5, 70.0) == 1.0
    assert turns.current is B
    assert turns.failed(UplinkRefused("who are you?"), 0.5, 71.0) == 59
    assert turns.current is A
    assert [s["trouble"] for s in turns.status()] == ["who are you?", "who are you?"]


def test_one_broker_alone_is_asked_again_with_a_pause_and_at_once_for_a_host_that_went() -> None:
    turns = Turns([A])
    waits = [turns.failed(UplinkDown("away"), 1.0, 0.0) for _ in range(6)]
    assert waits == [1, 2, 4, 8, 15, 15]
    assert turns.failed(HostGone("gone"), 1.0, 0.0) == 1
    with pytest.raises(ValueError, match="no broker"):
        Turns([])


async def test_a_killed_broker_sends_the_gateway_to_the_one_where_the_host_is_then_and_nothing_is_lost(
    two: tuple[Mosquitto, Mosquitto], tmp_path: Path
) -> None:
    """The host is the real one, with its store: what stood unconfirmed at A is confirmed at B under the same keys."""
    a, b = two
    async with gateway_of(tmp_path, both(two)) as r:
        async with running(tmp_path, a.port):
            await r.online()
            await r.take(block(1_700_000_000_000))
            await r.all_confirmed()
            epoch = r.outbox.epoch
            a.kill()
            for i in range(1, 21):
                await r.take(block(1_700_000_000_000 + i))
        async with running(tmp_path, b.port) as found:
            await r.all_confirmed(20)
            assert r.uplink.status()["broker"] == f"mqtt://127.0.0.1:{b.port}"
            assert await r.uplink.drain(60)
            await until(lambda: found.stats.counters["batches_stored"] >= 20)
            balance = None
            async with asyncio.timeout(60):
                while balance is None or not balance.ok or balance.total.in_flight or balance.total.produced < 42:
                    balance = await found.balance()
                    await asyncio.sleep(0.1)
            assert (balance.total.produced, balance.total.stored, balance.total.lost) == (42, 42, 0)
            assert balance.duplicates == {}
            assert r.outbox.epoch == epoch
        troubles = {s["broker"]: s["trouble"] for s in r.uplink.status()["brokers"]}
        assert troubles[f"mqtt://127.0.0.1:{a.port}"]


async def test_an_offline_host_is_left_with_ndeath_and_looked_for_at_the_other_broker(
    two: tuple[Mosquitto, Mosquitto], tmp_path: Path
) -> None:
    a, b = two
    async with host(a.port, online=False) as first, host(b.port, online=False) as second:
        await first.state(True, 5000)
        await second.state(False, 4000)
        async with gateway_of(tmp_path, both(two)) as r:
            await r.online()
            await r.take(block(10))
            await r.all_confirmed()
            await first.state(False, 4999)  # a late will: ignored
            await asyncio.sleep(0.3)
            assert (r.uplink.state, first.of("NDEATH")) == ("online", [])
            await second.state(True, 6000)
            await first.state(False, 5000)
            await first.until(lambda: bool(first.of("NDEATH")))
            await second.until(lambda: bool(second.of("DBIRTH", "fan")))
            await r.take(block(20))
            await r.all_confirmed()
            death, birth = first.of("NDEATH")[0], second.of("NBIRTH")[0]
            assert death.payload.metrics[0].value == first.of("NBIRTH")[0].payload.metrics[0].value
            assert birth.payload.metrics[0].value == int(death.payload.metrics[0].value or 0) + 1
            tags = [first.batches("pump")[0].tag, second.batches("pump")[0].tag]
            assert [(t.epoch, t.number) for t in tags if t] == [(r.outbox.epoch, 1), (r.outbox.epoch, 2)]
            assert r.uplink.counters["broker_changes"] == 1


async def test_without_a_host_the_gateway_goes_from_broker_to_broker_and_is_born_nowhere(
    two: tuple[Mosquitto, Mosquitto], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = two
    async with host(a.port, online=False) as first, host(b.port, online=False) as second:
        async with gateway_of(tmp_path, both(two, host_wait_s=0.2)) as r:
            await until(lambda: r.uplink.counters["sessions"] >= 3)
            assert (first.of("NBIRTH"), second.of("NBIRTH")) == ([], [])
            await second.state(True)
            await second.until(lambda: len(second.of("NBIRTH")) == 1)
            assert first.of("NBIRTH") == []
        warned = [x for x in caplog.records if x.levelname == "WARNING"]
        assert len(warned) == 2, "each broker's trouble is told once"
        assert all("did not come online within 0.2 s" in x.__dict__["error"] for x in warned)
        assert {x.__dict__["next_broker"] for x in warned} == {f"mqtt://127.0.0.1:{s.port}" for s in two}


async def test_a_list_whose_first_broker_is_away_costs_no_wait(mosquitto: Mosquitto, tmp_path: Path) -> None:
    away, there = (Broker("127.0.0.1", port, host_wait_s=600.0) for port in (free_port(), mosquitto.port))
    async with host(mosquitto.port), gateway_of(tmp_path, [away, there]) as r:
        async with asyncio.timeout(60):
            while r.uplink.state != "online":
                await asyncio.sleep(0.01)
