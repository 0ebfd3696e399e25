"""The way up over a real mosquitto: births, lanes, confirmations, deaths. The host is a real MQTT client."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.births import BirthBook, Latest
from gateway.clock import now_ms
from gateway.config.convert import Broker, OutboxSettings
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.sink import OutboxSink
from gateway.supervise import supervised
from gateway.uplink import Uplink
from tests.gateway.field import FAN, LINES, PUMP, TAGS, block, taken
from tests.gateway.host import Host, host
from tests.servers import Mosquitto, free_port
from wire.block import Block, Quality, Reason
from wire.delivery import BATCH, CONFLICT, REBIRTH, REFILL, WITHOUT_ALIAS
from wire.errors import UplinkDown
from wire.ids import NodeId
from wire.tag import Asset, Datatype, Tag
from wire.thinned import REPLACES

NODE = NodeId("plant", "gw")


@dataclass
class Rig:
    """An outbox with an uplink, without lines: the test says what was taken."""

    outbox: Outbox
    uplink: Uplink
    sink: OutboxSink

    async def take(self, *blocks: Block) -> None:
        for found in blocks:
            await self.sink.append(taken(found))
        await self.outbox.flush()

    async def all_confirmed(self, at_most_s: float = 60.0) -> None:
        async with asyncio.timeout(at_most_s):
            while (await self.outbox.pending())[0]:
                await asyncio.sleep(0.01)

    async def online(self) -> None:
        async with asyncio.timeout(60):
            while self.uplink.state != "online":
                await asyncio.sleep(0.01)


@asynccontextmanager
async def rig(
    folder: Path,
    port: int,
    tags: dict[str, list[Tag]] | None = None,
    window: ResendWindow | None = None,
    hosts: tuple[str, ...] = ("gaugeline",),
    compress: bool = False,
) -> AsyncIterator[Rig]:
    tags = TAGS if tags is None else tags
    outbox = Outbox(OutboxSettings(folder / "o.db", 20, 50_000_000), NODE, hosts, now_ms)
    await outbox.open(tags, LINES)
    latest = Latest()
    book = BirthBook(tags, {"m": Asset("m", "M 1", "machine")}, outbox.aliases, latest)
    uplink = Uplink(
        [Broker("127.0.0.1", port, keepalive_s=5)],
        NODE,
        hosts,
        outbox,
        book,
        ResendWindow() if window is None else window,
        now_ms,
        compress,
    )
    running = [asyncio.create_task(outbox.run()), asyncio.create_task(uplink.run())]
    try:
        yield Rig(outbox, uplink, OutboxSink(outbox, latest))
    finally:
        running[1].cancel()
        outbox.stop()
        await asyncio.wait(running)
        await outbox.close(clean=True)


async def test_births_come_only_once_the_primary_host_is_online(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port) as r:
        await r.take(block(10))
        await asyncio.sleep(0.5)
        assert (h.heard, r.uplink.state) == ([], "waiting for host")
        await h.state(True)
        await r.all_confirmed()
        kinds = [(x.topic.type, x.topic.device) for x in h.heard[:4]]
        assert kinds == [("NBIRTH", ""), ("DBIRTH", "pump"), ("DBIRTH", "fan"), ("DDATA", "pump")]
        assert [x.payload.seq for x in h.heard[:4]] == [0, 1, 2, 3]
        assert h.heard[3].historical


async def test_births_tell_names_aliases_units_and_newest_values(mosquitto: Mosquitto, tmp_path: Path) -> None:
    tags = {"pump": [Tag("flow", "pump", Datatype.FLOAT, "m3/h", "m", "flow"), TAGS["pump"][1]], "fan": TAGS["fan"]}
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port, tags) as r:
        await r.take(block(10, value=4.5))
        await h.state(True)
        await h.until(lambda: len(h.of("DBIRTH", "fan")) == 1)
        node = {m.name: m for m in h.of("NBIRTH")[0].payload.metrics}
        assert {n for n, m in node.items() if m.alias is None} == WITHOUT_ALIAS
        assert node["Delivery/Protocol"].value == "gaugeline/1"
        said = json.loads(str(node["Delivery/Counters"].value))["epochs"]
        assert [(e["epoch"], e["devices"]["pump"]["in_flight"]) for e in said] == [(r.outbox.epoch, 2)]
        flow, _, batch, thinned = h.of("DBIRTH", "pump")[0].payload.metrics
        assert (flow.name, flow.value, flow.ts_ms) == ("flow", 4.5, 10)
        assert flow.properties == {
            "engUnit": "m3/h", "asset": "m", "assetName": "M 1", "assetKind": "machine", "measures": "flow",
        }  # fmt: skip
        assert (batch.name, batch.value, thinned.name) == (BATCH, None, REPLACES)
        speed = h.of("DBIRTH", "fan")[0].payload.metrics[0]
        assert (speed.value, speed.quality) == (None, Quality.BAD)


async def test_a_host_that_goes_offline_sends_the_gateway_into_a_new_session(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port) as r:
        await h.state(True, 5000)
        await r.online()
        await h.state(False, 4999)  # a late will of an older session
        await asyncio.sleep(0.3)
        assert r.uplink.state == "online"
        await h.state(False, 5001)
        await h.until(lambda: len(h.of("NDEATH")) == 1)
        await r.take(block(20))
        await asyncio.sleep(0.2)
        assert h.batches("pump") == []
        await h.state(True, 5002)
        await r.all_confirmed()
        births = [next(m.value for m in x.payload.metrics if m.name == "bdSeq") for x in h.of("NBIRTH")]
        assert h.of("NDEATH")[0].payload.metrics[0].value == births[0]
        assert isinstance(births[0], int)
        assert births[1] == births[0] + r.uplink.counters["sessions"] - 1


async def test_counters_that_did_not_change_are_not_said_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await r.all_confirmed()
        publisher = r.uplink._publisher
        assert publisher is not None
        for _ in range(3):
            await publisher.last_word()
        await h.command(REBIRTH, True)
        await h.until(lambda: len(h.of("NBIRTH")) == 2)
        # What was said before the birth has come by now.
        texts = [m.value for x in h.of("NDATA") for m in x.payload.metrics]
        assert len(texts) == len(set(texts)) >= 1


async def test_a_rebirth_repeats_the_births_with_the_same_bd_seq(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await h.command(REBIRTH, True)
        await h.until(lambda: len(h.of("DBIRTH", "fan")) == 2)
        first, second = h.of("NBIRTH")
        assert (first.payload.seq, second.payload.seq) == (0, 0)
        assert [(m.name, m.value) for m in (first.payload.metrics[0], second.payload.metrics[0])] == [("bdSeq", 0)] * 2
        await r.take(block(20))
        await r.all_confirmed()
        assert r.uplink.counters["rebirths"] == 1
        assert h.of("NDEATH") == []


async def test_live_goes_first_and_the_backlog_beside_it_as_historical(mosquitto: Mosquitto, tmp_path: Path) -> None:
    never = ResendWindow(first_s=600.0, min_s=600.0, max_s=600.0)
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port, window=never) as r:
        for ts_ms in range(1, 301):
            await r.take(block(ts_ms))
        await h.state(True)
        await h.until(lambda: bool(h.batches("pump")))
        await r.take(block(1000, FAN))
        await h.until(lambda: bool(h.batches("fan")))
        assert not h.batches("fan")[0].historical
        await r.all_confirmed()
        backlog = h.batches("pump")
        assert all(x.historical for x in backlog)
        assert [x.tag.number for x in backlog if x.tag] == list(range(1, 301))
        assert h.heard.index(h.batches("fan")[0]) < h.heard.index(backlog[-1])
        assert (h.samples, h.doubles, h.again) == (601, [], 0)


async def test_what_is_not_confirmed_in_time_is_sent_again_and_stored_once(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    window = ResendWindow(first_s=0.2, min_s=0.2)
    async with host(mosquitto.port, confirm=False) as h, rig(tmp_path, mosquitto.port, window=window) as r:
        await r.online()
        await r.take(block(10))
        await h.until(lambda: len(h.batches("pump")) == 3)
        first, second, third = h.batches("pump")
        assert (first.historical, second.historical) == (False, True)
        assert first.tag == second.tag == third.tag
        # Doubled each time.
        assert third.at_s - second.at_s > 1.5 * (second.at_s - first.at_s)
        h.confirm = True
        await r.all_confirmed()
        assert (h.samples, h.doubles) == (2, [])
        assert r.uplink.counters["resent"] >= 3


async def test_a_closed_window_sends_live_values_once_and_repeats_them_when_it_opens(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    window = ResendWindow(batches=2, first_s=0.5, min_s=0.5)
    async with host(mosquitto.port, confirm=False) as h, rig(tmp_path, mosquitto.port, window=window) as r:
        await r.online()
        for ts_ms in range(1, 7):
            await r.take(block(ts_ms))
        await h.until(lambda: len(h.batches("pump")) == 6)
        assert len(window) == 2
        h.confirm = True
        await r.all_confirmed(20)
        assert (h.samples, h.doubles) == (12, [])


async def test_only_a_required_host_can_confirm_and_only_what_was_published(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(mosquitto.port, confirm=False) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await h.until(lambda: len(h.batches("pump")) == 1)
        tag = h.batches("pump")[0].tag
        assert tag is not None
        await h.say_confirmed(tag.epoch, {tag.number: tag.digest}, host="mallory")
        await h.say_confirmed(tag.epoch, {tag.number: "00" * 16})
        await h.say_confirmed(tag.epoch, {tag.number + 1: tag.digest})
        await h.say_confirmed("0123456789abcdef", {tag.number: tag.digest})
        await h.command("Delivery/Confirmed", "nonsense")
        await h.command("Delivery/Confirmed", '{"host":"gaugeline","epoch":"x","ranges":[[1,Infinity,""]]}')
        for name in ("Delivery/Confirmed", "Delivery/Conflict", "Delivery/Refill"):
            await h.command(name, "[" * 20_000)
        await h.command("Delivery/Refill", json.dumps({"host": "gaugeline", "from_ms": -(10**30), "to_ms": 10**30}))
        await h.command("Delivery/Unheard", "of")
        await h.client.publish("spBv1.0/plant/NCMD/gw", b"\xff\xff\xff", qos=1)
        await h.client.publish("spBv1.0/plant/DCMD/gw/pump", b"", qos=1)
        counters = r.uplink.counters
        await h.until(lambda: counters["commands_unknown"] == 2)
        assert (counters["confirmations_refused"], counters["commands_unreadable"]) == (4, 7)
        assert (counters["sessions"], r.uplink.state) == (1, "online"), "no command ends the session"
        assert (await r.outbox.pending())[0] == 1
        told = [x.__dict__["kind"] for x in caplog.records if x.getMessage() == "command refused" and x.levelno > 20]
        assert told == ["confirmations_refused", "commands_unreadable", "commands_unknown"]
        await h.say_confirmed(tag.epoch, {tag.number: tag.digest})
        await r.all_confirmed()
        await h.say_confirmed(tag.epoch, {tag.number: tag.digest})
        await h.until(lambda: counters["confirmed_again"] == 1)
        assert counters["confirmations_refused"] == 4


async def test_a_conflict_parks_the_batch_and_a_forged_one_does_not(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port, confirm=False) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await h.until(lambda: len(h.batches("pump")) == 1)
        tag = h.batches("pump")[0].tag
        assert tag is not None
        said = {"host": "gaugeline", "epoch": tag.epoch, "number": tag.number, "digest": tag.digest}
        for lie in ({"host": "mallory"}, {"digest": "00" * 16}, {"number": 77}, {"epoch": "x"}):
            await h.command(CONFLICT, json.dumps(said | lie))
        await h.command(CONFLICT, json.dumps(said | {"number": "1"}))
        await h.until(lambda: r.uplink.counters["commands_unreadable"] == 1)
        assert r.uplink.counters["conflicts_refused"] == 4
        await h.command(CONFLICT, json.dumps(said))
        await r.all_confirmed()
        pump = (await r.outbox.status())["devices"]["pump"]
        assert (pump["produced"], pump["parked"], pump["confirmed"], pump["in_flight"]) == (2, 2, 0, 0)


async def test_a_restored_host_asks_again_for_what_it_lost(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        for ts_ms in (10, 20, 30):
            await r.take(block(ts_ms))
        await r.all_confirmed()
        await h.until(lambda: len(h.ledger) == 3)
        h.ledger.clear()
        h.rows.clear()
        await h.command(REFILL, json.dumps({"host": "mallory", "from_ms": 0, "to_ms": 99}))
        await h.command(REFILL, json.dumps({"host": "gaugeline", "from_ms": 15, "to_ms": 25}))
        await h.until(lambda: len(h.ledger) == 1)
        await r.all_confirmed()
        assert {ts_ms for _, _, ts_ms in h.rows} == {20}
        assert h.batches("pump")[-1].historical
        assert (r.uplink.counters["refilled"], r.uplink.counters["refills_refused"]) == (1, 1)


async def test_a_broker_that_goes_away_costs_nothing_and_is_told_once(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path, mosquitto.port) as r:
        async with host(mosquitto.port) as h:
            await r.online()
            await r.take(block(10))
            await r.all_confirmed()
        mosquitto.kill()
        for ts_ms in range(20, 30):
            await r.take(block(ts_ms))
            await asyncio.sleep(0.2)
        assert r.uplink.state == "down"
        mosquitto.start()
        async with host(mosquitto.port) as h:
            await r.all_confirmed(30)
            assert (h.samples, h.doubles) == (20, [])
            assert h.of("NBIRTH")[0].payload.seq == 0
        warned = [x.getMessage() for x in caplog.records if x.levelname == "WARNING"]
        # Lost, then refused while it is away: two states, however many attempts.
        assert 1 <= warned.count("uplink down, data is kept") <= 2
        assert not [x for x in caplog.records if x.exc_info]


async def test_a_broker_that_refuses_is_told_clearly_and_sampling_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Mosquitto(tmp_path / "refusing")
    server.extra = "allow_anonymous false\n"
    server.start()
    try:
        async with rig(tmp_path, server.port) as r:
            async with asyncio.timeout(60):
                while not r.uplink.trouble:
                    await asyncio.sleep(0.01)
            await r.take(block(10))
            assert (await r.outbox.pending())[0] == 1
        told = next(x for x in caplog.records if x.getMessage() == "broker refuses this gateway")
        assert "password_file" in told.__dict__["error"]
        assert told.__dict__["next_try_s"] == 60.0
    finally:
        server.stop()


async def test_a_host_name_that_does_not_exist_and_a_closed_port_are_told_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path, free_port()) as r:
        async with asyncio.timeout(60):
            while not r.uplink.trouble:
                await asyncio.sleep(0.01)
        assert "refused" in r.uplink.trouble
        assert not await r.uplink.drain(0.2, offline_s=0.1) or not (await r.outbox.pending())[0]
    assert not [x for x in caplog.records if x.exc_info]


async def test_a_lost_device_says_its_last_bad_samples_then_ddeath_and_comes_back_with_dbirth(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await r.sink.append(taken(Block.bad(20, PUMP, Reason.DEVICE_DEAD)))
        await r.sink.device_state("pump", False)
        await h.until(lambda: len(h.of("DDEATH", "pump")) == 1)
        bad = h.batches("pump")[-1]
        assert {m.quality for m in bad.payload.metrics[:-1]} == {Quality.BAD}
        assert h.heard.index(bad) < h.heard.index(h.of("DDEATH", "pump")[0])
        # A rebirth does not raise the dead.
        await h.command(REBIRTH, True)
        await h.until(lambda: len(h.of("DBIRTH", "fan")) == 2)
        assert len(h.of("DBIRTH", "pump")) == 1
        await r.sink.device_state("pump", True)
        await r.sink.append(taken(block(30)))
        await h.until(lambda: len(h.batches("pump")) == 3)
        assert h.heard.index(h.of("DBIRTH", "pump")[1]) < h.heard.index(h.batches("pump")[2])
        await r.all_confirmed()


async def test_the_backlog_of_a_dead_device_is_drained_between_a_null_birth_and_its_death(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port) as r:
        await r.take(block(10))
        await r.sink.device_state("pump", False)
        await r.outbox.flush()
        await h.state(True)
        await r.all_confirmed()
        await h.until(lambda: len(h.of("DDEATH", "pump")) == 1)
        of_pump = [x for x in h.heard if x.topic.device == "pump"]
        assert [x.topic.type for x in of_pump] == ["DBIRTH", "DDATA", "DDEATH"]
        assert all(m.value is None for m in of_pump[0].payload.metrics)
        assert of_pump[1].historical


async def test_a_removed_and_a_retyped_tag_are_born_under_their_old_alias_until_their_backlog_is_gone(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with rig(tmp_path, mosquitto.port) as r:
        old = dict(r.outbox.aliases["pump"])
        await r.take(block(10), block(11, FAN))
    now = {"pump": [Tag("flow", "pump", Datatype.DOUBLE, "m3/h")]}
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port, now) as r:
        await r.all_confirmed()
        names = {m.name: m.alias for m in h.of("DBIRTH", "pump")[0].payload.metrics}
        assert names[f"flow@{old['flow']}"] == old["flow"]
        assert names[f"count@{old['count']}"] == old["count"]
        assert names["flow"] not in old.values()
        # The host resolved the old names: it has checked the digests, and stored.
        assert set(h.rows) == {("pump", "flow", 10), ("pump", "count", 10), ("fan", "speed", 11)}
        fan = [x.topic.type for x in h.heard if x.topic.device == "fan"]
        await h.until(lambda: bool(h.of("DDEATH", "fan")))
        assert fan[:2] == ["DBIRTH", "DDATA"]
        await h.command(REBIRTH, True)
        await h.until(lambda: len(h.of("NBIRTH")) == 2 and len(h.of("DBIRTH", "pump")) == 2)
        assert [m.name for m in h.of("DBIRTH", "pump")[1].payload.metrics] == ["flow", BATCH, REPLACES]


async def test_the_last_counters_hold_and_the_leave_is_a_death_with_the_sessions_bd_seq(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h:
        async with rig(tmp_path, mosquitto.port) as r:
            await r.online()
            await r.take(block(10), block(20))
            assert await r.uplink.drain(60)
            epoch = r.outbox.epoch
        await h.until(lambda: bool(h.of("NDEATH")))
        death = h.of("NDEATH")[0]
        assert (death.qos, death.payload.seq) == (1, None)
        assert death.payload.metrics[0].value == h.of("NBIRTH")[0].payload.metrics[0].value
        assert h.heard[-2].names == ("Delivery/Counters",)
        (said,) = h.counters["epochs"]  # type: ignore[misc]
        assert (said["epoch"], said["unconfirmed"]) == (epoch, [])
        assert said["devices"]["pump"] == {
            "produced": 4, "suppressed": 0, "refused": 0, "dropped": 0, "parked": 0, "in_flight": 0,
        }  # fmt: skip


async def test_counters_follow_within_seconds_without_being_asked(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await r.take(block(10))
        await h.until(lambda: bool(h.counters), 5)
        (said,) = h.counters["epochs"]  # type: ignore[misc]
        assert (said["number"], said["devices"]["pump"]["produced"]) == (1, 2)
        h.counters = {}
        await asyncio.sleep(2.5)
        # Nothing has changed since: nothing is said.
        assert h.counters == {}


async def test_a_state_that_cannot_be_read_is_counted_and_changes_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        for text in ("offline", '{"online": "no", "timestamp": 1}', '{"online": false}'):
            await h.client.publish("spBv1.0/STATE/gaugeline", text, qos=1)
        await h.until(lambda: r.uplink.counters["commands_unreadable"] == 3)
        assert r.uplink.state == "online"


async def test_a_confirming_host_keeps_nothing_in_the_lanes(mosquitto: Mosquitto, tmp_path: Path) -> None:
    h: Host
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        for ts_ms in range(1, 200):
            await r.sink.append(taken(block(ts_ms)))
            if ts_ms % 10 == 0:
                await r.outbox.flush()
        await r.outbox.flush()
        await r.all_confirmed()
        status = r.uplink.status()
        assert (status["under_way"], status["live_waiting"], status["state"]) == (0, 0, "online")
        assert status["round_trip_ms"] is not None
        assert h.samples == 2 * 199


async def test_a_backlog_that_is_handed_over_many_at_a_time_keeps_the_order_of_its_seq(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with host(mosquitto.port) as h, rig(tmp_path, mosquitto.port) as r:
        await r.online()
        await h.state(False)
        async with asyncio.timeout(60):
            while r.uplink.state == "online":
                await asyncio.sleep(0.01)
        for ts_ms in range(10, 310):
            r.outbox.append(taken(block(ts_ms)))
            await r.outbox.flush()
        h.heard.clear()
        await h.state(True, time.time_ns() // 1_000_000 + 60_000)
        await r.all_confirmed()
        said = [x for x in h.heard if x.topic.type != "NDEATH"]
        assert [x.payload.seq for x in said] == [i % 256 for i in range(len(said))]
        numbers = [x.tag.number for x in h.batches("pump") if x.historical and x.tag]
        first_said = list(dict.fromkeys(numbers))  # a slow host's confirmation may come after a resend
        assert len(first_said) == 300 and first_said == sorted(first_said)


async def test_a_cancellation_that_a_failing_session_has_swallowed_ends_the_uplink(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a TaskGroup of Python 3.11 does whose child has failed already: the host goes and so does the gateway."""

    async def session(self: Uplink) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise UplinkDown("host gaugeline is offline") from None

    async with rig(tmp_path, mosquitto.port) as r:
        monkeypatch.setattr(Uplink, "_session", session)
        running = asyncio.create_task(r.uplink.run())
        await asyncio.sleep(0.05)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=60)
        assert running in done and running.cancelled()


async def test_work_that_fails_in_the_moment_of_its_end_is_not_started_again() -> None:
    restarts, started = Counter[str](), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise RuntimeError("in the moment of the end") from None

    running = asyncio.create_task(supervised("work", work, restarts))
    await started.wait()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=60)
    assert running in done and running.cancelled() and not restarts
