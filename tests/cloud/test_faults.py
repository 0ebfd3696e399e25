"""Faults: a collector that is killed, a database that goes and comes, brokers that are not there, bad payloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from pathlib import Path
from uuid import uuid4

import aiomqtt
import duckdb
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.balance import Counts
from cloud.broker import Broker, connected, heed_cancellation
from cloud.config import InfluxV1
from tests.cloud.hosts import HostProcess, running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import InfluxDB, Mosquitto, free_port, wait_for_port
from wire.errors import UplinkDown
from wire.host_session import HostSession
from wire.ids import NodeId
from wire.topic import parse_topic, state_topic

NODE = NodeId("plant", "gw-1")


def gateway(epoch: str = "epoch1") -> SmallGateway:
    return SmallGateway(NODE, tags("pump-1"), epoch)


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_a_killed_collector_loses_nothing_and_stores_nothing_twice(
    tmp_path: Path, mosquitto: Mosquitto, kind: str, request: pytest.FixtureRequest
) -> None:
    options = ["--broker", mosquitto.url]
    if kind == "influxdb":
        server = request.getfixturevalue("influxdb").url.removeprefix("http://")
        options += ["--store", f"influxdb+v1://{server}/db-{uuid4().hex}"]
    host = HostProcess(tmp_path, options)
    host.start()
    n = 0
    async with gateway().connected(mosquitto.port) as gw:
        for kill_after_s in (0.35, 0.15, 0.25):
            until_s = time.monotonic() + kill_after_s
            while time.monotonic() < until_s:
                n += 1
                await gw.publish(gw.put("pump-1", [row(T0 + n * 10 + i, n) for i in range(5)]))
                await asyncio.sleep(0.003)
            await asyncio.to_thread(host.kill)
            await asyncio.to_thread(host.start)
        await gw.drain(30, every_s=1.0)
        await gw.say_counters()
        async with asyncio.timeout(60):
            while (balance := json.loads(await asyncio.to_thread(host.get, "/api/balance")))["produced"] != 5 * n:
                await asyncio.sleep(0.1)
    assert (balance["ok"], balance["stored"], balance["lost"], balance["collided"]) == (True, 5 * n, 0, 0)
    assert gw.refused_ranges == 0
    assert await asyncio.to_thread(host.stop) == 0
    assert "Traceback" not in host.log
    if kind == "duckdb":
        with duckdb.connect(str(tmp_path / "gaugeline.duckdb")) as con:
            twice = con.execute("SELECT series, ts_ms FROM samples GROUP BY ALL HAVING count(*) > 1").fetchall()
        assert twice == []


async def test_while_influxdb_is_down_nothing_is_confirmed_and_nothing_is_lost(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    server = InfluxDB(tmp_path / "influx")
    try:
        choice = InfluxV1(server.url, "plant")
        async with running(tmp_path, mosquitto.port, choice) as host, gateway().connected(mosquitto.port) as gw:
            await until(lambda: "store" in host.stats.problems)  # it is down at start
            await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
            await asyncio.sleep(0.5)
            assert gw.confirmed == set()
            server.start()
            await until(lambda: gw.confirmed == {1}, 60)
            assert host.stats.problems == {}
            server.kill()
            await gw.publish(gw.put("pump-1", [row(T0 + 1, 1.0)]))
            await until(lambda: "store" in host.stats.problems)
            assert "InfluxDB" in host.stats.problems["store"]
            server.start()
            await until(lambda: gw.confirmed == {1, 2}, 60)
            balance = await host.balance_after(gw)
            assert balance.ok
            assert balance.total == Counts(produced=2, stored=2)
    finally:
        server.stop()


async def test_what_waits_for_the_store_is_bounded(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.pending.MOST_PENDING", 50)
    choice = InfluxV1(f"http://127.0.0.1:{free_port()}", "plant")
    async with running(tmp_path, mosquitto.port, choice) as host, gateway().connected(mosquitto.port) as gw:
        for i in range(20):
            await gw.publish(gw.put("pump-1", [row(T0 + 10 * i + j, 1.0) for j in range(5)]))
        await until(lambda: host.stats.counters["batches_left_with_gateways"] == 10)
        assert gw.confirmed == set()


async def test_a_broker_that_goes_and_comes_is_found_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        mosquitto.kill()
        await until(lambda: "broker" in host.stats.problems)
        assert "not available" in host.stats.problems["broker"]
        mosquitto.start()
        await until(lambda: host.collector.online)
        assert host.stats.problems == {}
        async with gateway().connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
            await until(lambda: gw.confirmed == {1})


async def test_a_broker_that_refuses_is_told_once_in_words(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    mosquitto.command = lambda: _without_anonymous(mosquitto)  # type: ignore[method-assign]
    mosquitto.start()
    async with running(tmp_path, mosquitto.port, online=False) as host:
        await until(lambda: "broker" in host.stats.problems)
        assert "ot authori" in host.stats.problems["broker"] or "Bad user" in host.stats.problems["broker"]
    told = [r.__dict__["error"] for r in caplog.records if "broker is not available" in r.message]
    assert len(told) == 1
    assert "--broker mqtt://USER:PASSWORD@HOST" in told[0], "says what to do"


def _without_anonymous(server: Mosquitto) -> list[str]:
    command = Mosquitto.command(server)
    config = server.folder / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    return command


async def test_state_is_retained_taken_back_and_said_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    topic = state_topic("gaugeline")
    said: list[bool] = []
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt:
        await mqtt.subscribe(topic, 1)

        async def listen() -> None:
            async for message in mqtt.messages:
                said.append(json.loads(message.payload)["online"])

        listening = asyncio.create_task(listen())
        async with running(tmp_path, mosquitto.port):
            await until(lambda: said == [True])
            await mqtt.publish(topic, '{"online": false, "timestamp": 1}', qos=1, retain=True)
            await until(lambda: said == [True, False, True])
            await mqtt.publish(topic, "garbage", qos=1)
            listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as late:
        await late.subscribe(topic, 1)
        message = await anext(late.messages)
        assert (json.loads(message.payload)["online"], message.retain) == (False, True)


async def test_too_many_incoming_messages_are_a_lost_session(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.broker.MOST_INCOMING", 5)
    broker = Broker("127.0.0.1", mosquitto.port)
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt, connected(broker, "gaugeline", lambda: 0) as link:
        for i in range(20):
            await mqtt.publish("spBv1.0/plant/NDATA/gw-9", b"%d" % i)
        await asyncio.sleep(0.5)  # nobody takes them
        with pytest.raises(UplinkDown, match="births may be among"):
            async for _ in link.messages():
                pass


async def test_a_cancellation_that_was_swallowed_is_heeded() -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        heed_cancellation()

    heed_cancellation()
    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=60)
    assert task.cancelled()


async def test_a_host_can_be_stopped_at_any_moment(tmp_path: Path, mosquitto: Mosquitto) -> None:
    for i in range(25):
        async with asyncio.timeout(30), running(tmp_path, mosquitto.port, online=False):
            await asyncio.sleep(0.002 * i)


class TestProcess:
    """The command as a process."""

    def test_it_ends_though_an_event_stream_is_open(self, tmp_path: Path, mosquitto: Mosquitto) -> None:
        host = HostProcess(tmp_path, ["--broker", mosquitto.url])
        host.start()
        with httpx.stream("GET", host.url + "/api/events", timeout=60) as answer:
            first = next(answer.iter_text())
            assert "event: live\ndata: " in first
            assert host.stop(20) == 0
        assert "Traceback" not in host.log

    def test_it_starts_without_broker_and_database_and_says_so(self, tmp_path: Path) -> None:
        away = [free_port(), free_port()]
        options = ["--broker", f"mqtt://127.0.0.1:{away[0]}", "--store", f"influxdb+v1://127.0.0.1:{away[1]}/x"]
        host = HostProcess(tmp_path, options)
        host.start()
        until_s = time.monotonic() + 120
        while len(json.loads(host.get("/api/health"))["problems"]) < 2 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert json.loads(host.get("/api/health"))["status"] == "degraded"
        with pytest.raises(Exception, match="503"):
            host.get("/api/balance")
        assert host.stop() == 0
        assert "broker is not available, trying again" in host.log
        assert "store is not available, trying again" in host.log
        assert "Traceback" not in host.log

    def test_a_port_in_use_is_an_error_that_names_the_option(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            host = HostProcess(tmp_path, [], http=taken.getsockname()[1])
            host.start(wait=False)
            assert host.process is not None
            assert host.process.wait(60) == 1
        assert host.log.startswith("error: http address")
        assert "--http" in host.log
        assert "Traceback" not in host.log

    def test_a_state_that_cannot_be_opened_is_told_and_the_host_can_be_stopped(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        host = HostProcess(tmp_path, ["--state", "state"])
        host.start(wait=False)
        until_s = time.monotonic() + 120
        while "state cannot be opened" not in host.log and time.monotonic() < until_s:
            time.sleep(0.1)
        assert host.stop() == 0
        assert "Traceback" not in host.log


async def test_mutated_payloads_do_not_stop_the_collector(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """A seeded storm of damaged messages, then a good batch."""
    dice = random.Random(7)
    async with running(tmp_path, mosquitto.port) as host, gateway().connected(mosquitto.port) as gw:
        good = [gw.put("pump-1", [row(T0 + i, 1.0)]) for i in range(20)]
        for sent in good:
            await gw.publish(sent)
        await until(lambda: len(gw.confirmed) == 20)
        kinds = ["NBIRTH/gw-1", "NDATA/gw-1", "NDEATH/gw-1", "DBIRTH/gw-1/pump-1", "DDATA/gw-1/pump-1"]
        for _ in range(1500):
            body = bytearray(dice.choice(good).body)
            for _ in range(dice.randint(1, 6)):
                body[dice.randrange(len(body))] = dice.randrange(256)
            await gw.mqtt.publish(f"spBv1.0/plant/{dice.choice(kinds)}", bytes(body))
        await gw.births()
        last = gw.put("pump-1", [row(T0 + 99, 5.0)])
        await gw.drain(60)
        assert last.number in gw.confirmed
        assert host.stats.counters["rejected"] > 100
        assert (await host.kept.store.series(NODE, "pump-1", "flow", T0, T0 + 100)).v == [1.0] * 20 + [5.0]


@settings(max_examples=400)
@given(
    st.binary(max_size=300),
    st.sampled_from(["NBIRTH/g", "DBIRTH/g/d", "NDATA/g", "DDATA/g/d", "NDEATH/g", "DDEATH/g/d"]),
)
def test_any_bytes_are_events_and_never_an_exception(data: bytes, place: str) -> None:
    session = HostSession()
    topic = parse_topic(f"spBv1.0/s/{place}")
    for now_ms in (0, 1, 5_000):
        session.receive(topic, data, now_ms)
        session.tick(now_ms)


def test_wait_for_port_is_honest() -> None:
    with pytest.raises(TimeoutError):
        wait_for_port(free_port(), timeout_s=0.2)
