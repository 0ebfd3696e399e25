"""The collector against a real broker, both stores, and a small real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import pytest

from cloud.balance import Counts
from cloud.commands import Command
from cloud.config import InfluxV1
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.block import Quality, Reason, Sample
from wire.ids import NodeId
from wire.payload import Metric, Payload, encode
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
Choose = Callable[[], InfluxV1 | None]


@pytest.fixture(params=["duckdb", "influxdb"])
def influx(request: pytest.FixtureRequest) -> InfluxV1 | None:
    if request.param == "duckdb":
        return None
    return InfluxV1(request.getfixturevalue("influxdb").url, f"db-{uuid4().hex}")


def gateway(epoch: str = "epoch1", node: NodeId = NODE, **more: Any) -> SmallGateway:
    return SmallGateway(node, tags("pump-1") + tags("fan-1"), epoch, **more)


async def test_what_is_stored_is_confirmed_and_balanced(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        for i in range(20):
            await gw.publish(gw.put("pump-1", [row(T0 + i, i), row(T0 + i, 2 * i, "level")]))
            await gw.publish(gw.put("fan-1", [row(T0 + i, 1.0)]))
        await until(lambda: len(gw.confirmed) == 40)
        balance = await host.balance_after(gw)
        assert balance.ok
        assert balance.devices[NODE, "pump-1"] == Counts(produced=40, stored=40)
        assert balance.devices[NODE, "fan-1"] == Counts(produced=20, stored=20)
        series = await host.kept.store.series(NODE, "pump-1", "level", T0, T0 + 100)
        assert series.v == [2.0 * i for i in range(20)]
        assert gw.refused_ranges == 0
        asset = next(a for a in host.host.live.assets() if a.id == "pump-1")
        assert {t.name: (t.value, t.quality, t.unit) for t in asset.tags} == {
            "flow": (19.0, Quality.GOOD, "bar"),
            "level": (38.0, Quality.GOOD, "bar"),
        }


async def test_the_next_round_is_stored_while_confirmations_are_still_on_their_way(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        go, say = asyncio.Event(), host.collector.say

        async def later(commands: Iterable[Command]) -> None:
            await go.wait()
            await say(commands)

        monkeypatch.setattr(host.collector, "say", later)
        for i in range(3):
            await gw.publish(gw.put("pump-1", [row(T0 + i, 1.0)]))
            await until(lambda i=i: host.stats.counters["batches_stored"] == i + 1)
        assert gw.confirmed == set()
        go.set()
        await until(lambda: gw.confirmed == {1, 2, 3})


async def test_a_batch_that_comes_again_is_confirmed_again_and_stored_once(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        sent = gw.put("pump-1", [row(T0, 1.0)])
        for _ in range(3):  # twins within one round, too
            await gw.publish(sent)
        await until(lambda: gw.confirmed == {1})
        gw.confirmed.clear()
        await gw.publish(sent)
        await until(lambda: gw.confirmed == {1})
        assert host.stats.counters["duplicates"] == 3
        balance = await host.balance_after(gw)
        assert balance.ok
        assert balance.total == Counts(produced=1, stored=1)
        async with asyncio.timeout(60):
            while (await host.balance()).duplicates != {NODE: 3}:  # written down
                await asyncio.sleep(0.1)
        assert (await host.balance()).repeated == {(NODE, "pump-1"): 3}


async def test_a_known_key_with_other_content_becomes_a_dead_letter(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.confirmed == {1})
        other = gateway()
        other.mqtt, other.session = gw.mqtt, gw.session
        await other.publish(other.put("pump-1", [row(T0 + 1, 2.0), row(T0 + 2, 2.0)]))
        await until(lambda: gw.parked == {1})
        assert host.stats.counters["conflicts"] == 1
        (letter,) = await host.letters.newest()
        assert (letter["kind"], letter["samples"], letter["number"]) == ("conflict", 2, 1)
        assert await host.kept.store.known(NODE, "pump-1", T0, T0 + 9) == {("flow", T0)}


async def test_impossible_values_are_dead_letters_and_the_rest_is_stored(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    bad = [row(T0, float("nan")), row(T0 + 1, float("-inf")), row(5, 1.0), row(5_000_000_000_000, 1.0)]
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [*bad, row(T0 + 2, 7.0)]))
        await until(lambda: gw.confirmed == {1})
        await gw.publish(gw.batches[1])
        await until(lambda: host.stats.counters["duplicates"] == 1)
        balance = await host.balance_after(gw)
        assert balance.ok
        assert balance.total == Counts(produced=5, stored=1, dead_letters=4)
        assert {x["why"] for x in await host.letters.newest()} == {
            "value is not a finite number",
            "timestamp is before 2000 or after 2099",
        }


async def test_two_epochs_that_overlap_in_time_store_each_identity_once(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host:
        async with gateway("epoch1").connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0 + i, 1.0) for i in range(10)]))
            await until(lambda: gw.confirmed == {1})
            await host.balance_after(gw)
        async with gateway("epoch2", bd_seq=1).connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0 + i, 2.0) for i in range(5, 15)]))
            await until(lambda: gw.confirmed == {1})
            balance = await host.balance_after(gw)
        assert balance.ok
        assert balance.devices[NODE, "pump-1"] == Counts(produced=20, stored=15, collided=5)
        series = await host.kept.store.series(NODE, "pump-1", "flow", T0, T0 + 99)
        assert series.v == [1.0] * 10 + [2.0] * 5


async def test_overlapping_epochs_in_one_round_are_told_apart_too(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway("epoch1").connected(mosquitto.port) as gw:
        other = gateway("epoch2")
        other.mqtt, other.session = gw.mqtt, gw.session
        async with host.collector.writing:  # both are there when the round begins
            await gw.publish(gw.put("pump-1", [row(T0, 1.0), row(T0 + 1, 1.0)]))
            await gw.publish(other.put("pump-1", [row(T0 + 1, 2.0), row(T0 + 2, 2.0)]))
            await asyncio.sleep(0.3)
        await until(lambda: host.stats.counters["batches_stored"] == 2)
        assert (await host.kept.ledger.collided()) == {(NODE, "pump-1"): 1}
        assert (await host.kept.store.series(NODE, "pump-1", "flow", T0, T0 + 9)).v == [1.0, 1.0, 2.0]


async def test_data_that_no_birth_explains_is_asked_for_and_not_confirmed(tmp_path: Path, mosquitto: Mosquitto) -> None:
    # The gateway is born before the host comes, and births are not retained.
    async with gateway().connected(mosquitto.port) as gw, running(tmp_path, mosquitto.port) as host:
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.rebirths == 1)
        assert gw.confirmed == set()
        assert host.stats.counters["rebirth_wanted: data before birth"] >= 1
        await gw.drain()
        assert (await host.kept.store.count()) == {(NODE, "pump-1"): 1}


async def test_a_wrong_alias_is_found_out_by_the_digest(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        right = dict(gw.aliases)
        sent = gw.put("pump-1", [row(T0, 1.0)])
        gw.aliases = {**right, ("pump-1", "flow"): right["pump-1", "level"], ("pump-1", "level"): 77}
        await gw.births()
        gw.aliases = right
        sent.body = gw.put("pump-1", [row(T0, 1.0)]).body.replace(b":2:", b":1:")  # flow's alias is unknown now
        del gw.batches[2]
        sent = gw.put("fan-1", [row(T0, 1.0)])
        sent.body = sent.body.replace(sent.digest.encode(), b"0" * 32)
        for _ in range(2):
            await gw.publish(sent)
            await asyncio.sleep(0.3)
        await until(lambda: host.stats.counters["digest_mismatches"] == 2)
        assert gw.confirmed == set()
        assert gw.parked == set()
        await gw.publish(sent)
        await until(lambda: gw.parked == {sent.number})
        (letter,) = await host.letters.newest()
        assert "digest" in str(letter["why"])
        assert await host.kept.store.count() == {}


async def test_the_newest_values_are_stale_when_the_gateway_is_gone(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        async with gateway().connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
            await until(lambda: gw.confirmed == {1})
            await gw.publish(gw.put("pump-1", [row(T0 - 50, 9.0)]), historical=True)
            await until(lambda: gw.confirmed == {1, 2})
            await gw.say(gw.session.device_death(T0, "fan-1"))
            tag = next(t for t in host.host.live.tags() if (t.device, t.name) == ("pump-1", "flow"))
            assert (tag.value, tag.ts_ms, tag.reason) == (1.0, T0, Reason.NONE)
        await until(lambda: tag.reason is Reason.STALE)
        assert (tag.value, tag.quality) == (1.0, Quality.BAD)


async def test_births_and_last_values_are_there_after_a_restart(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [row(T0, 4.5)]))
        await until(lambda: gw.confirmed == {1})
    async with running(tmp_path, mosquitto.port) as host:
        await until(lambda: any(t.value == 4.5 for t in host.host.live.tags()))
        tag = next(t for t in host.host.live.tags() if t.value == 4.5)
        assert (tag.name, tag.unit, tag.ts_ms, tag.quality, tag.reason) == (
            "flow",
            "bar",
            T0,
            Quality.BAD,
            Reason.STALE,
        )


async def test_a_third_party_node_is_stored_by_stamp_alone(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    def said(seq: int, *metrics: Metric) -> bytes:
        return encode(Payload(T0, seq, metrics))

    def temp(ts_ms: int, value: float) -> Metric:
        return Metric(name="temp", ts_ms=ts_ms, datatype=Datatype.FLOAT, value=value)

    async with running(tmp_path, mosquitto.port, influx) as host, aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt:
        bd = Metric(name="bdSeq", datatype=Datatype.INT64, value=7)
        await mqtt.publish(
            "spBv1.0/else/NBIRTH/their", said(0, bd, Metric(name="up", datatype=Datatype.INT32, value=3))
        )
        await mqtt.publish("spBv1.0/else/DBIRTH/their/dev", said(1, temp(T0, 1.0)))
        for seq in (2, 3):  # the same values twice
            await mqtt.publish("spBv1.0/else/DDATA/their/dev", said(seq, temp(T0 + 1, 2.0), temp(T0 + 2, float("nan"))))
        node = NodeId("else", "their")
        await until(lambda: host.stats.counters["strangers_repeated"] == 1)
        assert await host.kept.store.count() == {(node, "dev"): 2, (node, ""): 1}
        balance = await host.balance()
        assert (balance.ok, balance.strangers, balance.devices) == (True, 3, {})
        assert {x["tag"] for x in await host.letters.newest()} == {"temp"}


async def test_gap_and_drop_records_are_kept_and_balanced(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.confirmed == {1})
        lost = gw.put("pump-1", [row(T0 + 1, 1.0), row(T0 + 2, 1.0)])
        both = {"device": "pump-1", "from_ms": T0, "to_ms": T0, "samples": 3, "why": "space"}
        # Number 1 was evicted although the host has it: the host knows better.
        await gw.record({"kind": "drop", "epoch": gw.epoch, "numbers": [[1, lost.number]], **both})
        await gw.record({"kind": "gap", "reason": "killed", "epoch": gw.epoch, "previous": "epoch0", "lines": []})
        broken = await gw.record({"kind": "drop", "numbers": "all"})
        await until(lambda: broken.number in gw.confirmed)
        assert (await host.balance()).ok, "what was dropped since the gateway's last counters is in no count yet"
        counters = gw.epoch_counters()
        counters["devices"]["pump-1"] = {"produced": 3, "dropped": 3, "suppressed": 9, "refused": 4}
        counters["unconfirmed"] = []
        balance = await host.balance_after(gw, counters)
        assert balance.ok
        assert balance.devices[NODE, "pump-1"] == Counts(produced=3, suppressed=9, refused=4, stored=1, dropped=2)
        assert balance.as_json()["gaps"] == 1
        assert [x["kind"] for x in await host.letters.newest()] == ["record"]
        # A closed epoch's counters are final.
        await gw.record({**counters, "kind": "epoch_closed"})
        await until(lambda: len(gw.confirmed) == 5)
        await gw.say_counters()
        await asyncio.sleep(0.2)
        assert (await host.balance()).devices[NODE, "pump-1"].produced == 3


async def test_malformed_messages_are_counted_and_kept(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.births()
        await gw.mqtt.publish("spBv1.0/plant/NDATA/gw-1", b"\xff\xff not protobuf")
        await gw.mqtt.publish("spBv1.0/plant/DDATA/gw-1/pump-1", b"\x00" * 100_000)
        await gw.say_counters("{not json")
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.confirmed == {1})
        assert host.stats.counters["rejected"] == 3
        async with asyncio.timeout(60):
            while len(letters := await host.letters.newest()) < 3:
                await asyncio.sleep(0.1)
        assert {x["kind"] for x in letters} == {"message"}
        assert all(len(str(x["content"])) < 1_000 for x in letters)


async def test_unkeyed_data_of_a_confirming_gateway_changes_the_screen_only(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.births()
        metric = Metric(alias=gw.aliases["pump-1", "flow"], ts_ms=T0, datatype=Datatype.DOUBLE, value=3.0)
        await gw.say(gw.session.data(T0, "pump-1", encode(Payload(metrics=(metric,)))))
        await until(lambda: any(t.value == 3.0 for t in host.host.live.tags()))
        await gw.publish(gw.put("pump-1", [row(T0 + 1, 4.0)]))
        await until(lambda: gw.confirmed == {1})
        assert (await host.kept.store.series(NODE, "pump-1", "flow", T0, T0 + 9)).v == [4.0]


async def test_a_text_and_a_bad_sample_travel_whole(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    found = [
        Sample("flow", Datatype.DOUBLE, T0, Quality.BAD, None, Reason.TIMEOUT),
        Sample("level", Datatype.DOUBLE, T0, Quality.UNCERTAIN, 2.0, Reason.CLOCK_UNKNOWN),
    ]
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", found))
        await until(lambda: gw.confirmed == {1})
        assert {v.sample for v in await host.kept.store.last_values()} == set(found)


async def test_a_slow_audit_is_not_repeated_at_once(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        assert await host.balance() is not await host.balance()
        monkeypatch.setattr("cloud.host.SLOW_AUDIT_S", 0.0)
        monkeypatch.setattr("cloud.host.AUDIT_REST", 10_000)
        assert await host.balance() is await host.balance()


async def test_a_node_that_is_gone_for_long_keeps_its_balance(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """A host that restarts before a gateway says its births again: what the state holds is enough."""
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
        await until(lambda: gw.confirmed == {1})
        gw.put("pump-1", [row(T0 + 1, 1.0), row(T0 + 2, 1.0)])
        await host.balance_after(gw)
    async with running(tmp_path, mosquitto.port) as host:
        async with asyncio.timeout(60):
            while not (balance := await host.balance()).devices:
                await asyncio.sleep(0.05)
        assert balance.ok
        assert balance.total == Counts(produced=3, stored=1, in_flight=2)


async def test_a_message_that_our_own_code_stumbles_over_does_not_end_the_host(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        sound = host.host.hearing.live.update

        def stumbles(node: NodeId, device: str, samples: Any, *more: Any) -> None:
            if any(s.value == 13.0 for s in samples):
                raise ZeroDivisionError
            sound(node, device, samples, *more)

        monkeypatch.setattr(type(host.host.live), "update", lambda _, *arguments: stumbles(*arguments))
        await gw.publish(gw.put("pump-1", [row(T0, 13.0)]))
        await gw.publish(gw.put("pump-1", [row(T0 + 1, 1.0)]))
        await until(lambda: gw.confirmed == {2})
        assert host.stats.counters["rejected"] == 1
        assert [r.exc_info is not None for r in caplog.records if r.getMessage() == "message stumbled over"] == [True]
