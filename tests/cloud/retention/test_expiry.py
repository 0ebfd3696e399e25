"""A database that deletes by itself: what it took is no loss, and what it cannot have taken is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from cloud.balance import Balance
from cloud.config import InfluxV1
from cloud.host import wall_ms
from cloud.retention.own import Expiry
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DAY_MS
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import SmallGateway, row, tags
from tests.servers import InfluxDB, Mosquitto
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")
PUMP = DeviceId(NODE, "pump-1")


async def test_what_the_database_itself_deleted_is_told_and_no_loss(
    tmp_path: Path, mosquitto: Mosquitto, influxdb: InfluxDB
) -> None:
    """The database deletes whole groups of days, when it likes: here its rows are taken away as it would."""
    old_ms, young_ms = wall_ms() - 10 * DAY_MS, wall_ms() - DAY_MS
    place = InfluxV1(influxdb.url, f"db-{uuid4().hex}")
    keeps: list[int | None] = [None]
    async with running(tmp_path, mosquitto.port, place) as host:
        expiry = Expiry(
            host.kept.store, host.kept.ledger, host.state.restored, host.removal, lambda: keeps[0], wall_ms
        )  # fmt: skip
        host.host.auditor.expiry = host.desk.windows.expiry = expiry
        async with SmallGateway(NODE, tags("pump-1")).connected(mosquitto.port) as gw:
            line_ms = wall_ms() - 5 * DAY_MS
            for i in range(10):
                await gw.publish(gw.put("pump-1", [row(old_ms + i, i)]))
                await gw.publish(gw.put("pump-1", [row(young_ms + i, i)]))
            across = [row(line_ms - 4 * 3_600_000, 1.0), row(line_ms + 4 * 3_600_000, 2.0)]
            await gw.publish(gw.put("pump-1", across))
            await until(lambda: len(gw.confirmed) == 21)

            async def audited() -> Balance:
                return await host.balance_after(gw)

            http = InfluxHttp(place.url, place.database)
            await http.open()

            async def lose(from_ms: int, to_ms: int) -> None:
                await http.delete({"group": "plant", "node": "gw-1", "device": "pump-1"}, ["flow"], from_ms, to_ms)

            await lose(old_ms, old_ms + 6)
            balance = await audited()
            assert (balance.ok, balance.total.lost, balance.total.expired) == (False, 6, 0), "it keeps everything"
            keeps[0] = 5 * DAY_MS
            balance = await audited()
            assert (balance.ok, balance.total.lost, balance.total.expired) == (True, 0, 6)
            assert (sum(balance.expired_surely.values()), balance.database_keeps_days) == (5, 5.0)
            assert balance.only(NodeId("plant", "gw-1")).as_json()["expired_at_least"] == 5
            assert balance.as_json()["expired"] == 6
            window = (await host.desk.window(old_ms, old_ms + 100, None)).devices[PUMP]
            assert (window.lost, window.expired) == (0, 6)

            await lose(line_ms - 5 * 3_600_000, line_ms)  # of the batch across the line
            balance = await audited()
            assert (balance.ok, balance.total.expired, balance.as_json()["expired_at_least"]) == (True, 7, 6)

            await lose(young_ms, young_ms + 3)
            balance = await audited()
            assert not balance.ok
            assert (balance.total.lost, balance.total.expired) == (2, 8), "one batch lies across the line"
            window = (await host.desk.window(young_ms, young_ms + 100, None)).devices[PUMP]
            assert (window.lost, window.expired) == (3, 0), "younger than the database keeps: it did not do that"
            await http.close()


async def test_the_retention_that_a_database_says_itself_is_the_line(tmp_path: Path, influxdb: InfluxDB) -> None:
    from cloud.retention.own import own_retention_ms
    from cloud.store.embedded import EmbeddedStore

    store = InfluxStore(InfluxHttp(influxdb.url, f"db-{uuid4().hex}", retention_days=7))
    await store.open()
    expiry = Expiry(store, _NONE, _NONE, _NONE, lambda: own_retention_ms(store), lambda: 3 * DAY_MS)
    assert (expiry.keeps_days, own_retention_ms(EmbeddedStore(tmp_path / "x"))) == (7, None)
    assert sum(await expiry.of(PUMP, 0, 2 * DAY_MS)) == 0, "nothing is so old yet"
    await store.close()


_NONE: Any = None
