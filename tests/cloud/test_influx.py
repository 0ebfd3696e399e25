"""What only the InfluxDB adapter promises, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import DeviceId
from tests.contract.test_stores import NODE, T0, batch, flow
from tests.servers import InfluxDB, free_port
from wire.errors import StoreDown


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
