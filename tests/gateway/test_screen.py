"""What the screen shows after an outage, what a host that never confirms gets, and births that are said again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from gateway.births import BirthBook, Latest
from gateway.config.convert import Broker, OutboxSettings
from gateway.outbox.rows import Batch
from gateway.outbox.store import Outbox
from gateway.rebirths import COMMAND, COMMANDED_EVERY_S, CONFIGURATION, NEW_TAGS, OLD_ALIASES, Rebirths
from gateway.resend import ResendWindow, TrustWindow
from gateway.shown import Shown
from gateway.sink import OutboxSink
from gateway.uplink import Uplink
from tests.cloud.hosts import running, until
from tests.gateway.field import FAN, LINES, TAGS, block, taken
from tests.gateway.host import Heard, host
from tests.gateway.test_uplink import NODE, Rig, rig
from tests.servers import Mosquitto
from wire.block import Quality
from wire.delivery import REBIRTH, REFILL
from wire.payload import Metric, Payload, decode, encode
from wire.tag import Datatype, Tag
from wire.topic import parse_topic

T0 = 1_700_000_000_000


def test_only_tags_that_were_not_read_since_the_start_are_looked_up_in_the_backlog() -> None:
    latest = Latest()
    book = BirthBook(TAGS, {}, {"pump": {"flow": 5, "count": 6}, "fan": {"speed": 7}}, latest)
    assert book.unread("pump") == {5: TAGS["pump"][0], 6: TAGS["pump"][1]}
    latest.update(block(T0))
    assert (book.unread("pump"), book.unread("fan"), book.unread("gone")) == ({}, {7: TAGS["fan"][0]}, {})


async def test_a_tag_that_stopped_changing_is_right_on_the_screen_after_an_outage_and_stored_once(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """The gateway even restarts in the outage: its births know no value, and nothing newer ever comes."""
    async with running(tmp_path, mosquitto.port) as before, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(T0, value=1.0))
        await r.all_confirmed()
        assert [t.value for t in before.host.live.tags() if t.name == "flow"] == [1.0]
    async with rig(tmp_path, mosquitto.port) as r:
        for i in range(1, 6):
            await r.take(block(T0 + i, value=1.0 + i))
    async with rig(tmp_path, mosquitto.port) as r, running(tmp_path, mosquitto.port) as after:

        def shown(name: str) -> tuple[object, Quality, int | None]:
            (tag,) = [t for t in after.host.live.tags() if t.name == name]
            return tag.value, tag.quality, tag.ts_ms

        await r.online()
        await r.all_confirmed()
        await until(lambda: shown("flow") == (6.0, Quality.GOOD, T0 + 5))
        assert shown("count") == ((T0 + 5) % 1000, Quality.GOOD, T0 + 5)
        assert await r.uplink.drain(60)
        async with asyncio.timeout(60):
            while not (balance := await after.balance()).ok or balance.total.produced < 12:
                await asyncio.sleep(0.05)
        assert (balance.total.produced, balance.total.stored, balance.total.lost) == (12, 12, 0)
        assert (balance.duplicates, balance.strangers) == ({}, 0)
        assert r.uplink.counters["shown_again"] == 1


async def test_what_was_perhaps_not_heard_live_is_said_again_live_until_it_is_confirmed(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    window = ResendWindow(first_s=0.3, min_s=0.3)
    async with host(mosquitto.port, confirm=False) as h, rig(tmp_path, mosquitto.port, window=window) as r:
        await r.online()
        await r.take(block(10, value=2.5), block(11, FAN))
        await h.until(lambda: bool([x for x in h.of("DDATA", "pump") if x.tag is None]))
        (again,) = [x for x in h.of("DDATA", "pump") if x.tag is None][:1]
        assert [(n, m.value, m.ts_ms) for n, m in zip(again.names, again.payload.metrics, strict=True)] == [
            ("flow", 2.5, 10), ("count", 10, 10),
        ]  # fmt: skip
        assert not again.historical
        assert h.heard.index(again) > h.heard.index(h.batches("pump")[1])
        h.confirm = True
        await r.all_confirmed()
        await asyncio.sleep(1.1)  # the last one that went out as historical is followed by one more
        said = len(h.of("DDATA", "pump"))
        await asyncio.sleep(1.1)
        assert len(h.of("DDATA", "pump")) == said, "nothing more once it is confirmed"
        assert (h.samples, h.doubles) == (3, [])


def test_only_what_no_birth_said_and_nothing_newer_followed_is_owed() -> None:
    latest = Latest()
    aliases = {"pump": {"flow": 1, "count": 2}, "fan": {"speed": 3}}
    shown = Shown(BirthBook(TAGS, {}, aliases, latest))

    def batch(device: str, last_ms: int) -> Batch:
        return Batch(1, "e", device, 1, last_ms, "", encode(Payload()))

    shown.historical(batch("pump", 5))  # not born
    assert not shown
    latest.update(block(10))
    shown.born("pump")
    shown.historical(batch("pump", 10))
    assert shown.again() == {}, "the birth has said it"
    latest.update(block(20))
    shown.historical(batch("pump", 15))
    assert shown.again() == {}, "something newer follows"
    shown.historical(batch("pump", 20))
    assert [(s.name, s.ts_ms) for s in shown.again()["pump"]] == [("flow", 20), ("count", 20)]
    shown.historical(batch("pump", 20))
    shown.gone("pump")
    assert shown.again() == {}
    shown.historical(batch("", 20))
    assert not shown


def test_rebirths_that_a_host_asks_for_all_the_time_are_said_now_and_then_and_ones_own_at_once() -> None:
    births = Rebirths()
    assert (births.due(0), births.next_s()) == ((), None)
    births.want(COMMAND)
    assert births.due(100.0) == (COMMAND,)
    births.done(100.0)
    births.want(COMMAND)
    assert births.due(100.1) == ()
    assert births.next_s() == 100 + COMMANDED_EVERY_S
    assert births.due(100 + COMMANDED_EVERY_S) == (COMMAND,)
    births.want(CONFIGURATION)
    assert births.due(100.1) == (COMMAND, CONFIGURATION)
    births.covered()
    assert births.due(200.0) == ()


def test_data_waits_for_births_that_are_wanted_and_what_waited_goes_out_before_it_waits_again() -> None:
    births = Rebirths()
    assert births.hold_s(0.0) == 0
    births.want(COMMAND)
    assert births.hold_s(100.0) == 0, "they are due"
    births.done(100.0, waiting=3)
    births.want(COMMAND)
    assert births.hold_s(100.5) == COMMANDED_EVERY_S - 0.5, "nothing had waited before"
    births.done(102.0, waiting=2)
    births.want(COMMAND)
    assert births.hold_s(102.0) == 0
    births.said()
    assert births.hold_s(102.0) == 0
    births.said()
    assert births.hold_s(102.0) == COMMANDED_EVERY_S
    births.want(CONFIGURATION)
    assert births.hold_s(102.0) == 0, "these are due at once"
    births.done(102.0, waiting=9)
    births.idle()
    births.want(COMMAND)
    assert births.hold_s(102.0) == COMMANDED_EVERY_S
    births.covered()
    assert births.hold_s(102.0) == 0


async def test_data_stops_when_a_host_asks_for_births_again_too_soon_and_goes_on_behind_them(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        for count in (1, 2):
            await h.command(REBIRTH, True)
            await h.until(lambda count=count: r.uplink.counters["rebirths_commanded"] == count)  # type: ignore[misc]
            if count == 1:
                await h.until(lambda: len(h.of("DBIRTH", "fan")) == 2)
        before = len(h.heard)
        for ts_ms in (10, 20, 30):
            await r.take(block(ts_ms))
        await r.all_confirmed()
        kinds = [x.topic.type for x in h.heard[before:]]
        assert kinds[: kinds.index("DDATA")] == ["NBIRTH", "DBIRTH", "DBIRTH"]
        assert r.uplink.counters["rebirths"] == 2


async def test_a_host_that_asks_for_births_without_end_does_not_keep_data_from_the_store(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()

        async def ask() -> None:
            while True:
                await h.command(REBIRTH, True)
                await asyncio.sleep(0.001)

        asking = asyncio.create_task(ask())
        await h.until(lambda: r.uplink.counters["rebirths"] > 0)
        for ts_ms in range(10, 30):
            await r.take(block(ts_ms))
        await r.all_confirmed()
        assert len(h.batches("pump")) >= 20
        assert not asking.done()
        asking.cancel()
        assert r.uplink.counters["rebirths"] < r.uplink.counters["rebirths_commanded"] / 10


async def test_births_are_counted_by_their_cause_and_a_flood_of_commands_costs_few(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await r.all_confirmed()
        for _ in range(50):
            await h.command(REBIRTH, True)
        await h.command(REBIRTH, False)
        counters = r.uplink.counters
        await h.until(lambda: counters["rebirths_commanded"] == 50)
        assert (counters["rebirths"], counters[f"rebirths: {COMMAND}"]) == (1, 1)
        r.uplink.reborn()
        await h.until(lambda: counters[f"rebirths: {CONFIGURATION}"] == 1)
        await r.outbox.register(TAGS | {"fan": [*TAGS["fan"], Tag("power", "fan", Datatype.FLOAT, "kW")]})
        r.uplink.reborn()
        await h.until(lambda: counters[f"rebirths: {NEW_TAGS}"] == 1)
        await h.command(REFILL, json.dumps({"host": "gaugeline", "from_ms": 0, "to_ms": 99}))
        await h.until(lambda: counters[f"rebirths: {OLD_ALIASES}"] == 1)
        assert r.uplink.status()["rebirths"] == 4
        assert counters["sessions"] == 1


def tags_of(birth: Heard) -> list[Metric]:
    return [m for m in birth.payload.metrics if m.name and not m.name.startswith("Delivery/")]


async def test_a_dead_device_that_comes_back_while_its_backlog_drains_is_born_with_its_values(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port) as r:
        for ts_ms in range(1, 1500):
            await r.take(block(ts_ms))
        await r.sink.device_state("pump", False)
        await r.outbox.flush()
        await h.state(True)
        await h.until(lambda: bool(h.batches("pump")))
        await r.sink.device_state("pump", True)
        await r.sink.append(taken(block(5000, value=7.0)))
        await r.outbox.flush()
        await r.all_confirmed()
        null, whole = h.of("DBIRTH", "pump")
        assert {(m.value, m.quality) for m in tags_of(null)} == {(None, Quality.BAD)}
        assert [m.value for m in tags_of(whole)] == [7.0, 0]
        assert h.heard.index(whole) < h.heard.index(next(x for x in h.batches("pump") if not x.historical))
        await asyncio.sleep(0.3)
        assert h.of("DDEATH", "pump") == [], "it lives"
        assert (h.samples, h.doubles) == (3000, [])


@dataclass
class PlainHost:
    """Speaks Sparkplug B and nothing of ours: STATE, births, aliases; it stores rows by tag and stamp."""

    client: aiomqtt.Client
    rows: dict[tuple[str, str, int], object] = field(default_factory=dict)
    born: dict[int, tuple[str, Datatype]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    historical: int = 0

    async def state(self, online: bool, ts_ms: int) -> None:
        body = json.dumps({"online": online, "timestamp": ts_ms})
        await self.client.publish("spBv1.0/STATE/scada", body, qos=1, retain=True)

    async def listen(self) -> None:
        async for message in self.client.messages:
            topic = parse_topic(str(message.topic))
            self.kinds.append(topic.type)
            assert isinstance(message.payload, bytes)
            payload = decode(message.payload, {alias: kind for alias, (_, kind) in self.born.items()})
            for m in payload.metrics:
                if topic.type.endswith("BIRTH") and m.alias is not None and m.name and m.datatype:
                    self.born[m.alias] = (m.name, m.datatype)
                elif topic.type == "DDATA" and m.alias in self.born and m.ts_ms is not None:
                    assert m.alias is not None
                    self.historical += m.historical
                    name = self.born[m.alias][0]
                    if not name.startswith("Delivery/"):
                        self.rows[topic.device, name, m.ts_ms] = m.value


@asynccontextmanager
async def plain_host(port: int) -> AsyncIterator[PlainHost]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        found = PlainHost(client)
        await client.subscribe("spBv1.0/plant/#", qos=1)
        listening = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            if listening.done():
                listening.result()
            listening.cancel()


class Quick(TrustWindow):
    """Exactly two keep-alives."""

    MOMENT_S = 0.0


@asynccontextmanager
async def trusting(folder: Path, port: int, hosts: tuple[str, ...], keepalive_s: int) -> AsyncIterator[Rig]:
    """A gateway for a host that never confirms."""
    outbox = Outbox(OutboxSettings(folder / "o.db", 20, 50_000_000), NODE, hosts, lambda: T0)
    await outbox.open(TAGS, LINES)
    latest = Latest()
    window = Quick(keepalive_s)
    book = BirthBook(TAGS, {}, outbox.aliases, latest)
    broker = Broker("127.0.0.1", port, keepalive_s=keepalive_s)
    uplink = Uplink([broker], NODE, hosts, outbox, book, window, lambda: T0)
    tasks = [asyncio.create_task(outbox.run()), asyncio.create_task(uplink.run())]
    try:
        yield Rig(outbox, uplink, OutboxSink(outbox, latest))
    finally:
        tasks[1].cancel()
        outbox.stop()
        await asyncio.wait(tasks)
        await outbox.close(clean=True)


async def test_a_host_that_never_confirms_gets_again_what_went_out_two_keep_alives_before_the_break(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with trusting(tmp_path, mosquitto.port, ("scada",), 1) as r:
        async with plain_host(mosquitto.port) as first:
            await r.take(block(1))
            await asyncio.sleep(0.3)
            assert (first.kinds, r.uplink.state) == ([], "waiting for host")
            await first.state(True, 100)
            await r.online()
            await r.take(block(2))
            await until(lambda: ("pump", "flow", 2) in first.rows)
            assert first.kinds[:3] == ["NBIRTH", "DBIRTH", "DBIRTH"]
            # Two keep-alives later both count as delivered.
            await r.all_confirmed(5)
            assert r.uplink.counters["settled"] == 2
        # The host is dead, and nobody knows yet: what goes out now is heard by nobody.
        await r.take(block(3))
        await r.take(block(4))
        await until(lambda: r.uplink.counters["published"] >= 4)
        async with plain_host(mosquitto.port) as second:
            await second.state(False, 100)  # the dead one's will
            await until(lambda: r.uplink.state != "online")
            await second.state(True, 200)
            await until(lambda: {ts for _, _, ts in second.rows} == {3, 4})
            assert second.historical
            await r.all_confirmed(5)
        status = (await r.outbox.status())["devices"]["pump"]
        assert (status["produced"], status["confirmed"], status["dropped"], status["in_flight"]) == (8, 8, 0, 0)
        assert r.uplink.counters["resent"] == 0


async def test_without_a_primary_host_births_come_at_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with plain_host(mosquitto.port) as h, trusting(tmp_path, mosquitto.port, (), 1) as r:
        await r.online()
        await r.take(block(1))
        await until(lambda: ("pump", "flow", 1) in h.rows)
        await r.all_confirmed(5)


@pytest.mark.parametrize("keepalive_s", [5, 30])
def test_nothing_is_sent_again_within_a_session_to_a_host_that_never_confirms(keepalive_s: int) -> None:
    window = TrustWindow(keepalive_s)
    window.sent(1, 10, 0.0)
    window.sent(2, 10, 1.0)
    hold_s = 2 * keepalive_s + window.MOMENT_S
    assert (window.due(1e9), window.settled(hold_s - 0.1), window.settled(hold_s)) == ([], [], [1])
    assert window.next_due_s() == hold_s
    window.clear()
    assert window.settled(1e9) == []
