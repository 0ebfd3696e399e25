"""What only the InfluxDB adapter promises, against a real server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cloud.balance import Counts
from cloud.config import InfluxV1
from cloud.store.influx import InfluxStore
from cloud.store.influx_client import Found, literal
from cloud.store.influx_http import InfluxHttp, Unacceptable, duration_ms
from cloud.store.influx_retention import kept_for
from cloud.store.line_protocol import Prefixes, body, line, series_prefix
from cloud.store.port import DeviceId
from tests.certificates import Authority
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import SmallGateway, row, tags
from tests.contract.test_stores import EVERY_KIND, NODE, T0, batch, flow
from tests.servers import InfluxDB, Mosquitto, free_port
from wire.block import Quality, Sample
from wire.columns import Columns, fields_of
from wire.errors import StoreDown
from wire.tag import Datatype

DAY_MS = 86_400_000


@pytest.fixture
async def http(influxdb: InfluxDB) -> AsyncIterator[InfluxHttp]:
    found = InfluxHttp(influxdb.url, f"db-{uuid4().hex}")
    await found.open()
    yield found
    await found.close()


async def test_the_same_samples_twice_are_one_row_each(http: InfluxHttp) -> None:
    store = InfluxStore(http)
    for _ in range(2):
        await store.write([batch(1, flow(T0, 1.0), flow(T0 + 1, 1.0))])
    assert await store.count() == {DeviceId(NODE, "pump-1"): 2}


async def test_one_bad_point_does_not_sink_its_neighbours(http: InfluxHttp) -> None:
    # Another writer made "value" of this shard a text: InfluxDB refuses numbers in it, one line at a time.
    week = 7 * 86_400_000
    await http.write(f'sample,device=pump-1,group=plant,node=gw-1,tag=flow value="text" {T0}')
    store = InfluxStore(http)
    good = [flow(T0 + week * i, 1.0) for i in range(1, 40)]
    refused = await store.write([batch(1, *good[:20], flow(T0 + 1, 5.0), *good[20:]), batch(2, flow(T0 + 2, 6.0))])
    assert [(r.batch.number, r.sample.value) for r in refused] == [(1, 5.0), (2, 6.0)]
    assert all("conflict" in r.why for r in refused)
    assert await store.count() == {DeviceId(NODE, "pump-1"): len(good)}


async def test_rows_that_name_every_field_read_like_those_that_leave_out_what_is_usual(http: InfluxHttp) -> None:
    store = InfluxStore(http)
    await store.write([batch(1, Sample("new", Datatype.FLOAT, T0, Quality.GOOD, 0.5))])
    prefix = series_prefix(NODE, "pump-1", "old")
    await http.write(f"{prefix}value=0.5,quality=192i,reason=0i,datatype=9i {T0}")
    assert [v.sample._replace(name="") for v in await store.last_values()] == [
        Sample("", Datatype.FLOAT, T0, Quality.GOOD, 0.5)
    ] * 2


async def test_large_writes_go_in_several_bodies(http: InfluxHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.store.influx.MOST_LINES", 7)
    store = InfluxStore(http)
    assert await store.write([batch(1, *(flow(T0 + i, 1.0) for i in range(50)))]) == []
    assert await store.count() == {DeviceId(NODE, "pump-1"): 50}


async def test_a_database_that_was_dropped_is_made_again(http: InfluxHttp) -> None:
    store = InfluxStore(http)
    await http.query(f'DROP DATABASE "{http.database}"', method="POST")
    with pytest.raises(StoreDown, match="made again"):
        await store.write([batch(1, flow(T0, 1.0))])
    assert await store.write([batch(1, flow(T0, 1.0))]) == []


async def test_what_is_wrong_is_said_in_words(http: InfluxHttp) -> None:
    away = InfluxHttp(f"http://127.0.0.1:{free_port()}", "x")
    with pytest.raises(StoreDown, match=r"InfluxDB http://127\.0\.0\.1"):
        await away.open()
    await away.close()
    with pytest.raises(StoreDown, match="not open"):
        await away.query("SHOW DATABASES")
    with pytest.raises(StoreDown, match="error parsing query"):
        await http.query("SELECT")
    assert http.version[0].isdigit()
    assert http.database in InfluxStore(http).about


class Spelled(InfluxHttp):
    """Writes bound values into the statement, as it is done for servers that document no bound values."""

    async def query(self, text: str, bound: Mapping[str, Any] | None = None, method: str = "GET") -> list[Found]:
        return await super().query(literal(text, bound), None, method)


async def test_values_that_are_written_into_a_statement_mean_the_same(influxdb: InfluxDB) -> None:
    store = InfluxStore(Spelled(influxdb.url, f"db-{uuid4().hex}"))
    await store.open()
    odd = [flow(T0, 1.0, name) for name in ("tag", "a b,c=d", "q\"uo'te", "back\\slash", "don't \\' $node", "汉")]
    await store.write([batch(1, *odd, device="it's")])
    for s in odd:
        assert (await store.series(NODE, "it's", s.name, T0, T0 + 1)).v == [1.0], s.name
    assert await store.known(NODE, "it's", T0, T0) == {(s.name, T0) for s in odd}
    assert await store.rows(NODE, "it's", T0, T0) == len(odd)
    await store.close()


async def test_a_database_is_made_with_its_retention_and_refuses_what_is_older(
    influxdb: InfluxDB, caplog: pytest.LogCaptureFixture
) -> None:
    now_ms = time.time_ns() // 1_000_000
    old, new = flow(now_ms - 8 * DAY_MS, 1.0), flow(now_ms - 6 * DAY_MS, 2.0)
    name = f"db-{uuid4().hex}"
    http = InfluxHttp(influxdb.url, name, retention_days=7)
    store = InfluxStore(http)
    await store.open()
    assert (http.retention_ms, "keeps 7 days" in store.about) == (7 * DAY_MS, True)
    with pytest.raises(Unacceptable, match="points beyond retention policy dropped=1"):  # what 1.6.7 itself says
        await http.write(f"other value=1 {old.ts_ms}")
    (refused,) = await store.write([batch(1, old, new)])
    assert (refused.sample, refused.why) == (old, "older than the database keeps: it keeps 7 days")
    assert refused.batch.samples == (old, new)
    assert await store.count() == {DeviceId(NODE, "pump-1"): 1}
    # A policy that was shortened while the host ran: the server says it, and the culprits are searched out.
    await http.query(f'ALTER RETENTION POLICY "autogen" ON "{name}" DURATION 2d', method="POST")
    recent = [flow(now_ms - i, 1.0, f"t{i}") for i in range(5)]
    late = flow(now_ms - 5 * DAY_MS, 3.0, "late")
    (refused,) = await store.write([batch(2, *recent[:3], late, *recent[3:])])
    assert (refused.sample, "beyond retention policy" in refused.why) == (late, True)
    await store.open()
    assert "keeps 2 days, not 7 days" in caplog.text
    await store.close()


@pytest.mark.parametrize(("days", "told"), [(30, "keeps everything, not 30 days"), (None, "")])
async def test_what_an_existing_database_keeps_is_compared(
    http: InfluxHttp, caplog: pytest.LogCaptureFixture, days: int | None, told: str
) -> None:
    caplog.set_level(logging.INFO)
    again = InfluxHttp(http.url, http.database, retention_days=days)
    await again.open()
    assert told in caplog.text
    assert "keeps everything" in again.about
    await again.close()


async def test_late_data_that_the_database_would_delete_are_dead_letters(
    tmp_path: Path, mosquitto: Mosquitto, influxdb: InfluxDB
) -> None:
    choice = InfluxV1(influxdb.url, f"db-{uuid4().hex}")
    made = InfluxHttp(choice.url, choice.database, retention_days=30)
    await made.open()
    await made.close()
    now_ms = time.time_ns() // 1_000_000
    gateway = SmallGateway(NODE, tags("pump-1"), "epoch1")
    async with running(tmp_path, mosquitto.port, choice) as host, gateway.connected(mosquitto.port) as gw:
        late = [row(now_ms - 400 * DAY_MS + i, 1.0) for i in range(50)]
        await gw.publish(gw.put("pump-1", [*late, row(now_ms, 2.0)]))
        await until(lambda: gw.confirmed == {1})
        balance = await host.balance_after(gw)
        assert (balance.ok, balance.total) == (True, Counts(produced=51, stored=1, dead_letters=50))
        letters = await host.letters.newest()
        assert {x["why"] for x in letters} == {"older than the database keeps: it keeps 30 days"}


async def test_tls_users_and_passwords_of_a_real_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    signed = authority.sign("influxdb")
    server = InfluxDB(tmp_path / "influxdb")
    server.http = (
        f'  https-enabled = true\n  https-certificate = "{signed.certificate}"\n'
        f'  https-private-key = "{signed.key}"\n  auth-enabled = true'
    )
    server.start()
    try:
        url = f"https://127.0.0.1:{server.port}"
        parameters = {"q": "CREATE USER host WITH PASSWORD 'right' WITH ALL PRIVILEGES"}
        async with httpx.AsyncClient(verify=False) as client:
            (await client.post(f"{url}/query", params=parameters)).raise_for_status()
        right = InfluxHttp(url, "plant", "host", "right", ca_file=authority.certificate)
        await right.open()
        store = InfluxStore(right)
        assert await store.write([batch(1, flow(T0, 1.0))]) == []
        assert await store.count() == {DeviceId(NODE, "pump-1"): 1}
        await right.query("CREATE USER guest WITH PASSWORD 'right'", method="POST")
        guest = InfluxHttp(url, "unknown", "guest", "right", ca_file=authority.certificate)
        with pytest.raises(StoreDown, match=r"guest not authorized .*: give it the right to read and write unknown"):
            await guest.open()
        wrong = InfluxHttp(url, "plant", "host", "wrong", ca_file=authority.certificate)
        with pytest.raises(StoreDown, match="refuses user, password or token: authorization failed"):
            await wrong.open()
        with pytest.raises(StoreDown, match="refuses user or password: authorization failed"):
            await wrong.write(b"sample value=1 1")
        unknown = InfluxHttp(url, "plant", "host", "right")
        with pytest.raises(StoreDown, match="certificate verify failed"):
            await unknown.open()
        for http in (right, guest, wrong, unknown):
            await http.close()
    finally:
        server.stop()


async def test_lines_are_packed_where_they_travel(http: InfluxHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.store.influx_http.near", lambda _url: False)
    store = InfluxStore(InfluxHttp(http.url, http.database))
    await store.open()
    await store.write([batch(1, *EVERY_KIND)])
    assert await store.count() == {DeviceId(NODE, "pump-1"): len(EVERY_KIND)}
    await store.close()


async def test_a_host_that_is_stopped_while_it_writes_leaves_no_task_behind(http: InfluxHttp) -> None:
    store = InfluxStore(http)
    before = asyncio.all_tasks()
    writing = asyncio.create_task(store.write([batch(n, flow(T0 + n, 1.0)) for n in range(5)]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not {t for t in asyncio.all_tasks() - before if t.get_name() == "influxdb[body]" and not t.cancelling()}


def test_half_made_lines_are_those_of_single_samples() -> None:
    found = [s for s in EVERY_KIND if s.name in ("f32", "i8", "u32", "on", "off")]
    found += [Sample("100 % of=a,b", Datatype.FLOAT, T0, Quality.GOOD, 1e-300)]
    prefixes = Prefixes()

    def lines(samples: list[Sample]) -> list[str]:
        columns = Columns(fields_of(samples), b"", plain=True, distinct=True)
        return body(NODE, "pump-1", columns, prefixes).decode().split("\n")

    def singly(samples: list[Sample]) -> list[str]:
        return [line(series_prefix(NODE, "pump-1", s.name), s) for s in samples]

    for samples in (found, [s._replace(ts_ms=T0 + i) for i, s in enumerate(found)]):
        for made, single in zip(lines(samples), singly(samples), strict=True):
            (head, value), (head_1, value_1) = made.rsplit("value=", 1), single.rsplit("value=", 1)
            assert head == head_1
            assert value.partition(",")[1:] == value_1.partition(",")[1:]
            assert float(value.partition(",")[0]) == float(value_1.partition(",")[0])
    retyped = [s._replace(datatype=Datatype.DOUBLE, value=2.5) for s in found]
    assert lines(retyped) == singly(retyped)
    bad = [s._replace(quality=Quality.BAD, value=None) for s in found]
    assert lines(bad) == singly(bad)
    assert body(NODE, "pump-1", (), prefixes) == b""


def test_a_device_that_says_its_tags_in_ever_other_order_fills_no_memory() -> None:
    prefixes = Prefixes(most=50)
    for i in range(200):
        found = [flow(T0, 1.0, f"t{(i + j) % 97}") for j in range(3)]
        assert body(NODE, "pump-1", found, prefixes).count(b"\n") == 2
    assert len(prefixes.of(NODE, "pump-1", ["t1", "t2"])) == 2


def test_durations_in_words() -> None:
    assert (duration_ms("168h0m0s"), duration_ms("0s"), duration_ms("1h30m5s")) == (7 * DAY_MS, 0, 5_405_000)
    assert (kept_for(DAY_MS), kept_for(None)) == ("keeps 1 day", "keeps everything")
