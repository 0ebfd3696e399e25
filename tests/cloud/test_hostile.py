"""Forged, replayed, doubled, shuffled, oversized and foreign messages, over the real collector."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import aiomqtt
import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from cloud.balance import Counts
from cloud.hearing import Hearing
from cloud.live import LiveValues
from cloud.rebirths import Rebirths
from cloud.screen import screened, unfit
from cloud.stats import Stats
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire import sparkplug_pb2
from wire.block import Quality, Sample
from wire.delivery import BATCH, CONFIRMED, CONFLICT, COUNTERS, PROTOCOL, PROTOCOL_METRIC, RECORD, REFILL
from wire.host_events import Data
from wire.host_session import HostSession
from wire.ids import NodeId
from wire.payload import Metric, Payload, encode
from wire.tag import Datatype
from wire.topic import Topic, state_topic

NODE = NodeId("plant", "gw-1")


def gateway(epoch: str = "epoch1", bd_seq: int = 0) -> SmallGateway:
    return SmallGateway(NODE, tags("pump-1"), epoch, bd_seq)


async def test_replayed_doubled_and_shuffled_messages_store_nothing_twice_and_lose_nothing(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    dice = random.Random(3)
    taped: list[tuple[str, bytes]] = []
    async with running(tmp_path, mosquitto.port) as host, aiomqtt.Client("127.0.0.1", mosquitto.port) as thief:
        await thief.subscribe("spBv1.0/plant/+/gw-1/#")

        async def tape() -> None:
            async for m in thief.messages:
                if "CMD" not in str(m.topic):
                    taped.append((str(m.topic), bytes(m.payload)))

        taping = asyncio.create_task(tape())
        async with gateway().connected(mosquitto.port) as gw:
            for i in range(40):
                await gw.publish(gw.put("pump-1", [row(T0 + 10 * i + j, i) for j in range(5)]))
            await until(lambda: len(gw.confirmed) == 40)
            await until(lambda: len(taped) >= 42)
            old = list(taped)
            # While it lives: every message again, births and deaths too, twice and in any order.
            for _ in range(2):
                for topic, payload in dice.sample(old, len(old)):
                    await thief.publish(topic, payload)
            for i in range(40, 50):
                await gw.publish(gw.put("pump-1", [row(T0 + 10 * i, i)]))
            await gw.births()
            await gw.drain(60)
            balance = await host.balance_after(gw)
            assert balance.total == Counts(produced=210, stored=210)
            counted = host.stats.counters
            assert counted["duplicates"] > 0
            assert counted["conflicts"] == counted["digest_mismatches"] == 0
            # A replayed epoch is no second gateway: its numbers were said before.
            assert not any("two gateways" in p for p in host.host.stats().problems)
        # A second life of the gateway, and the whole of the first one again in the middle of it.
        async with gateway("epoch2", bd_seq=1).connected(mosquitto.port) as gw:
            for i in range(60):
                await gw.publish(gw.put("pump-1", [row(T0 + 10_000 + i, i)]))
                topic, payload = old[i % len(old)]
                await thief.publish(topic, payload)
            await gw.drain(60)
            balance = await host.balance_after(gw)
            assert balance.ok
            assert balance.total.stored == 270
        taping.cancel()
        await asyncio.gather(taping, return_exceptions=True)


async def test_forged_commands_and_states_change_nothing_at_the_host(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        for i in range(5):
            await gw.publish(gw.put("pump-1", [row(T0 + i, i)]))
        await until(lambda: len(gw.confirmed) == 5)
        sent = gw.put("pump-1", [row(T0 + 9, 9.0)])  # in the outbox, not yet said
        said = {"host": "gaugeline", "epoch": gw.epoch, "ranges": [[1, 6, "0" * 32]], "number": 6, "digest": "0" * 32}
        said |= {"from_ms": 0, "to_ms": T0}
        for name in (CONFIRMED, CONFLICT, REFILL):
            metric = Metric(name=name, ts_ms=T0, datatype=Datatype.STRING, value=json.dumps(said))
            await gw.mqtt.publish("spBv1.0/plant/NCMD/gw-1", encode(Payload(ts_ms=T0, metrics=(metric,))))
            await gw.mqtt.publish("spBv1.0/plant/DCMD/gw-1/pump-1", encode(Payload(ts_ms=T0, metrics=(metric,))))
        for text in ("", "null", '{"online": 3}', "[" * 10_000, '{"online": false, "timestamp": 99999999999999}'):
            await gw.mqtt.publish(state_topic("gaugeline"), text, qos=1)
            await gw.mqtt.publish(state_topic("another"), text, qos=1, retain=True)
        gw.parked.clear()  # this small gateway believes every conflict; the real one's disbelief has tests of its own
        await gw.publish(sent)
        await until(lambda: 6 in gw.confirmed)
        assert gw.refused_ranges == 1, "the forged range was not believed"
        balance = await host.balance_after(gw)
        assert balance.total == Counts(produced=6, stored=6)
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as late:
            await late.subscribe(state_topic("gaugeline"), 1)
            assert json.loads((await anext(late.messages)).payload)["online"] is True, "said again after the forged one"


async def test_what_nobody_can_store_is_counted_and_kept_to_be_read(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.mqtt.publish("spBv1.0/plant/DDATA/gw-1/pump-1", b"\xff" * 10_000_000)
        await gw.mqtt.publish("spBv1.0//NDATA/gw-1", b"")  # an empty group
        await gw.mqtt.publish("spAv1.0/plant/NDATA/gw-1", b"x")  # another namespace: never comes here
        strange = [
            row(T0, float("nan")),
            row(T0 + 1, float("inf")),
            row(T0 + 2, float("-inf")),
            row(1, 1.0),
            row(4_102_444_800_000, 1.0),
            row(T0 + 3, 2.0),
        ]
        await gw.publish(gw.put("pump-1", strange))
        await until(lambda: gw.confirmed == {1})
        wrong = encode(Payload(metrics=(Metric(alias=77, ts_ms=T0, datatype=Datatype.DOUBLE, value=1.0),)))
        for _ in range(3):
            await gw.say(gw.session.data(T0, "pump-1", wrong))
        await until(lambda: host.stats.counters["rejected: unknown alias"] == 3)
        await asyncio.sleep(2.2)  # written down every two seconds
        async with asyncio.timeout(60):
            while (summary := await host.letters.summary())["message"]["kept"] < 5:
                await asyncio.sleep(0.1)
        assert {k: n["kept"] for k, n in summary.items()} == {"sample": 5, "conflict": 0, "record": 0, "message": 5}
        assert summary["message"]["bytes"] < 70_000, "of ten million bytes the beginning is kept"
        letters = await host.letters.newest(kind="message")
        assert any("not a Sparkplug B payload (10000000 bytes)" in str(x["why"]) for x in letters)
        whole = await host.letters.one(int(str(letters[0]["id"])))
        assert whole is not None
        assert whole["bytes"] == len(bytes.fromhex(str(whole["content_hex"])))
        assert await host.letters.one(10**6) is None
        balance = await host.balance_after(gw)
        assert balance.total == Counts(produced=6, stored=1, dead_letters=5)
        told = [r for r in caplog.records if r.getMessage() == "message is not understood"]
        assert len(told) == 3, "one line for each kind: no payload, no topic, unknown alias"


async def test_a_third_party_node_with_templates_is_taken_as_far_as_we_speak(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with running(tmp_path, mosquitto.port) as host, aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt:
        birth = sparkplug_pb2.Payload(timestamp=T0, seq=0)
        birth.metrics.add(name="bdSeq", datatype=4, timestamp=T0, long_value=0)
        birth.metrics.add(name="kind", datatype=19, alias=1, timestamp=T0)
        birth.metrics.add(name="serial", datatype=15, alias=2, timestamp=T0, string_value="123e4567")
        birth.metrics.add(name="table", datatype=16, timestamp=T0)
        birth.metrics.add(name="temp", datatype=9, alias=3, timestamp=T0, float_value=1.5)
        await mqtt.publish("spBv1.0/else/NBIRTH/x", birth.SerializeToString())
        data = sparkplug_pb2.Payload(timestamp=T0, seq=1)
        data.metrics.add(alias=1, timestamp=T0 + 1)
        data.metrics.add(alias=3, timestamp=T0 + 1, float_value=2.5)
        await mqtt.publish("spBv1.0/else/NDATA/x", data.SerializeToString())
        await until(lambda: host.stats.counters["samples_stored"] == 2)
        assert host.stats.counters["metrics_left_out"] == 4
        assert host.stats.counters["rejected"] == 0
        (node,) = host.desk.all_nodes()
        assert node["left_out"] == {"kind (Template)": 2, "serial (UUID)": 1, "table (DataSet)": 1}
        assert (await host.kept.store.series(NodeId("else", "x"), "", "temp", T0, T0 + 9)).v == [1.5, 2.5]


@pytest.mark.no_cover
async def test_a_flood_is_a_lost_session_and_everything_comes_after_it(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.broker.MOST_INCOMING", 50)
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await until(lambda: host.stats.counters["births"] == 1)
        flood = paho.Client(CallbackAPIVersion.VERSION2)
        flood.connect("127.0.0.1", mosquitto.port)
        flood.loop_start()
        # The host answers its own offline STATE, and the broker's answer to that waits behind the flood.
        flood.publish(state_topic("gaugeline"), '{"online": false, "timestamp": 1}')
        for i in range(3_000):  # at once: the host, in this thread, reads nothing meanwhile
            sent = gw.put("pump-1", [row(T0 + i, i)])
            message = gw.session.data(T0, "pump-1", sent.body)
            flood.publish(str(message.topic), message.payload)
        await until(lambda: host.stats.counters["broker_faults"] == 1, 60)
        await until(lambda: host.collector.online, 60)
        flood.disconnect()
        flood.loop_stop()
        assert gw.open(), "what did not fit is not confirmed"
        await gw.drain(90, every_s=2.0)
        balance = await host.balance_after(gw)
        assert balance.total == Counts(produced=3_000, stored=3_000)
        assert gw.rebirths >= 1
        assert host.stats.problems == {}


async def test_data_are_stored_before_the_births_that_a_restarted_host_asks_for(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.confirmed == {1})
        await asyncio.sleep(2.2)  # births are written down every two seconds
        assert host.desk.all_nodes()[0]["state"] == "alive"
    monkeypatch.setattr("cloud.rebirths.MOST_PER_S", 0)  # as in a crowd of gateways: this one's turn is far away
    async with gateway().connected(mosquitto.port) as gw:
        await asyncio.sleep(0.2)
        async with running(tmp_path, mosquitto.port) as host:
            assert [n["state"] for n in host.desk.all_nodes()] == ["stale"]
            gw._number = 1
            await gw.publish(
                gw.put("pump-1", [row(T0 + 1, 2.0), Sample("level", Datatype.DOUBLE, T0, Quality.GOOD, 3.0)])
            )
            await until(lambda: gw.confirmed == {2})
            assert gw.rebirths == 0
            assert host.stats.counters["rebirth_wanted: births from before"] == 1
            assert [n["state"] for n in host.desk.all_nodes()] == ["alive"]


def _messages() -> list[tuple[Topic, bytes]]:
    """A session of a gateway: births, data, records, a device's death, its own."""
    gw = gateway()
    sent = [gw.put("pump-1", [row(T0 + i, i), row(T0 + i, 2.0, "level")]) for i in range(3)]
    record = gw.put("", [Sample(RECORD, Datatype.STRING, T0, Quality.GOOD, '{"kind": "gap", "lines": []}')])
    births = gw.session.births(
        T0,
        [
            Metric(name=PROTOCOL_METRIC, alias=1, ts_ms=T0, datatype=Datatype.STRING, value=PROTOCOL),
            Metric(name=BATCH, alias=1000, ts_ms=T0, datatype=Datatype.STRING),
            Metric(name=RECORD, alias=2, ts_ms=T0, datatype=Datatype.STRING),
            Metric(name=COUNTERS, alias=3, ts_ms=T0, datatype=Datatype.STRING, value=gw.counters()),
        ],
        [gw.device_birth("pump-1")],
    )
    data = [gw.session.data(T0, s.device, s.body) for s in (*sent, record)]
    deaths = [gw.session.device_death(T0, "pump-1"), gw.session.death(T0)]
    return [(m.topic, m.payload) for m in (*births, *data, *deaths)]


MESSAGES = _messages()
MUTATION = st.tuples(
    st.sampled_from(range(len(MESSAGES))),
    st.sampled_from(["set", "cut", "insert", "drop", "double"]),
    st.integers(0, 10_000),
    st.integers(0, 255),
)


def mutated(body: bytes, how: str, at: int, byte: int) -> bytes:
    at %= max(1, len(body))
    match how:
        case "set":
            return body[:at] + bytes([byte]) + body[at + 1 :]
        case "cut":
            return body[:at]
        case "insert":
            return body[:at] + bytes([byte]) + body[at:]
        case "drop":
            return body[:at] + body[at + 1 + byte % 8 :]
    return body + body[at:]


@pytest.mark.no_cover
@settings(max_examples=500)
@given(st.lists(MUTATION, min_size=20, max_size=20))
def test_ten_thousand_mutations_are_events_letters_and_samples_and_never_a_fault(
    mutations: list[tuple[int, str, int, int]],
) -> None:
    """What listening makes of them; the way to the database has a storm of its own in test_faults."""
    session, now_ms = HostSession(), T0
    hearing = Hearing(LiveValues(), Stats(started_s=0))
    rebirths = Rebirths(lambda: 0.0)
    kept: list[Data] = []

    def keep(data: Data) -> bool:
        kept.append(data)
        return True

    for index, how, at, byte in mutations:
        now_ms += 300
        for topic, body in (MESSAGES[0], MESSAGES[1], (MESSAGES[index][0], mutated(MESSAGES[index][1], how, at, byte))):
            for event in (*session.receive(topic, body, now_ms), *session.tick(now_ms)):
                hearing.take(event, keep, rebirths, now_ms)
    for data in kept:
        one = screened(data, now_ms)
        assert len(one.batch.samples) + one.batch.collided + len(one.letters) == len(data.samples)
        assert all(not unfit(s) for s in one.batch.samples)
        json.dumps([letter.content.decode() for letter in one.letters])
    json.dumps([seen.content() for seen in hearing.nodes.known.values()])
