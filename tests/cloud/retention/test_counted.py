"""What retention removes stays in the books: the balance holds before, after, and when the samples come again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from cloud.archive.manifest import day_of
from cloud.balance import Balance, Counts
from cloud.config import InfluxV1
from cloud.retention.classes import RetentionChoice
from cloud.state.restored import RestoredDay
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DAY_MS, DayId, Of
from tests.cloud.hosts import Running, running, until
from tests.cloud.retention.shears import LEVELS, MONTH, Shears, shears
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.errors import StoreDown
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")
PUMP, FAN = DeviceId(NODE, "pump-1"), DeviceId(NODE, "fan-1")
DAY = DayId("plant", day_of(T0))
NEXT = DayId("plant", DAY.day + 1)


@pytest.fixture(params=["duckdb", "influxdb"])
def influx(request: pytest.FixtureRequest) -> InfluxV1 | None:
    if request.param == "duckdb":
        return None
    return InfluxV1(request.getfixturevalue("influxdb").url, f"db-{uuid4().hex}")


async def opened(host: Running) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await host.kept.store.count()
                return
            except StoreDown:
                await asyncio.sleep(0.02)


def box(epoch: str = "epoch1", bd_seq: int = 0) -> SmallGateway:
    return SmallGateway(NODE, tags("pump-1") + tags("fan-1"), epoch, bd_seq)


def pump(balance: Balance) -> Counts:
    return balance.devices[PUMP]


async def filled(gw: SmallGateway) -> None:
    """The pump: 20 of flow and 20 of level, 5 of them on the next day. The fan: 20."""
    for i in range(20):
        ts_ms = T0 + i if i < 15 else NEXT.from_ms + i
        await gw.publish(gw.put("pump-1", [row(ts_ms, i), row(ts_ms, 2 * i, "level")]))
        await gw.publish(gw.put("fan-1", [row(T0 + i, i)]))
    await until(lambda: len(gw.confirmed) == 40)


async def rows(host: Running) -> dict[DeviceId, int]:
    return dict(await host.kept.store.count())


async def test_what_is_removed_restored_and_removed_again_is_counted_once(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, box().connected(mosquitto.port) as gw:
        s = shears(host, tmp_path / "archive", LEVELS)
        await filled(gw)

        async def check(stored: int, removed: int) -> None:
            balance = await host.balance_after(gw)
            assert balance.ok, balance.as_json()
            assert (pump(balance).stored, balance.removed.get(PUMP, 0)) == (stored, removed)
            assert (await rows(host)).get(PUMP, 0) == stored - removed
            window = await host.desk.window(T0, T0 + 5, None)
            assert (window.devices[PUMP].lost, window.devices[PUMP].removed) == (0, removed)

        await check(40, 0)
        run = await s.run()
        assert (run.rows, run.problems) == (0, [])
        assert {(h["day"], h["rows"], h["why"]) for h in run.held} == {
            (DAY.date, 15, "it is not archived as it is now"), (NEXT.date, 5, "it is not archived as it is now"),
        }  # fmt: skip
        assert DAY.date in host.stats.problems["retention"]
        assert host.stats.counters["retention_days_held"] == 2

        await s.archive()
        run = await s.run()
        assert (run.rows, run.held, "retention" in host.stats.problems) == (20, [], False)
        await check(40, 20)
        assert [(t.of, t.name, t.rows, t.first_day, t.last_day) for t in await host.removal.taken()] == [
            (PUMP, "level", 20, DAY.day, NEXT.day)
        ]

        (back,) = (await s.restore(DAY)).results
        assert (back["restored"], back["there"]) == (15, 35)
        await check(40, 5)
        assert set((await host.state.restored.rows()).values()) == {0}, "the ledger accounts for all of them"
        run = await s.run()
        assert (run.rows, {h["why"] for h in run.held}) == (0, {f"{NODE}/pump-1 was restored from the archive"})
        assert "retention" not in host.stats.problems
        s.retention.now_ms = lambda: s.archiver.now_ms() + 8 * DAY_MS
        assert (await s.run()).rows == 15
        await check(40, 20)

        # The archive loses nothing of this, also when the day is archived anew.
        (again,) = (await s.archive(DAY)).results
        assert (again["rows"], again["kept"]) == (50, 15)
        assert (await s.run(MONTH)).rows == 40
        assert await rows(host) == {}
        await check(40, 40)
        # Every batch that comes again is known.
        for sent in gw.batches.values():
            await gw.publish(sent, historical=True)
        await until(lambda: host.stats.counters["duplicates"] == 40)
        assert await rows(host) == {}
        await check(40, 40)


async def test_late_data_of_a_removed_day_is_stored_counted_archived_and_removed_again(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    async with running(tmp_path, mosquitto.port, influx) as host, box().connected(mosquitto.port) as gw:
        s = shears(host, tmp_path / "archive")
        await filled(gw)
        await s.archive()
        assert (await s.run()).rows == 60
        await gw.publish(gw.put("pump-1", [row(T0 + 500, 1.0), row(T0 + 501, 2.0)]), historical=True)
        await until(lambda: len(gw.confirmed) == 41)
        balance = await host.balance_after(gw)
        assert (balance.ok, pump(balance).stored, balance.removed[PUMP]) == (True, 42, 40)
        run = await s.run()
        assert (run.rows, [h["day"] for h in run.held]) == (0, [DAY.date])
        (result,) = (await s.archive()).results
        assert (result["rows"], result["kept"]) == (52, 50), "the archive's rows and the new ones"
        assert (await s.run()).rows == 2
        balance = await host.balance_after(gw)
        assert (balance.ok, balance.removed) == (True, {PUMP: 42, FAN: 20})
        whole = [b async for b in s.whole_day.samples(Of("plant"), DAY.from_ms, NEXT.to_ms)]
        assert sum(b.num_rows for b in whole) == 62


async def test_a_batch_that_meets_removed_samples_collides_with_them(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        s = shears(host, tmp_path / "archive")
        async with box().connected(mosquitto.port) as gw:
            await filled(gw)
            await host.balance_after(gw)
        await s.archive()
        assert (await s.run()).rows == 60
        async with box("epoch2", 1).connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0 + i, 0.5) for i in range(10, 17)]), historical=True)
            await until(lambda: gw.confirmed)
            balance = await host.balance_after(gw)
        assert (pump(balance).collided, pump(balance).stored, balance.ok) == (5, 42, True)
        assert await rows(host) == {PUMP: 2}


async def test_restored_rows_that_were_removed_again_belong_to_the_batch_that_comes_again(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxV1 | None
) -> None:
    """A host that knows nothing, as after a backup from before: restore, retention, and then the gateway's refill."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    gateway = box()
    async with running(tmp_path / "a", mosquitto.port, influx) as host:
        async with gateway.connected(mosquitto.port) as gw:
            await filled(gw)
        await shears(host, tmp_path / "archive").archive()
    other = None if influx is None else InfluxV1(influx.url, f"db-{uuid4().hex}")
    gateway.bd_seq = 1
    async with running(tmp_path / "b", mosquitto.port, other) as host, gateway.connected(mosquitto.port) as gw:
        await opened(host)
        s = shears(host, tmp_path / "archive", RetentionChoice(30, restored_days=1))
        await s.restore(DAY)
        await s.restore(NEXT)
        s.retention.now_ms = lambda: s.archiver.now_ms() + 2 * DAY_MS
        await s.archive()
        assert (await s.run()).rows == 60
        day = RestoredDay(*PUMP, DAY.day)
        assert (await host.state.restored.rows())[day] == 30
        balance = await host.balance_after(gw)
        assert (balance.ok, pump(balance).stored, balance.removed[PUMP]) == (True, 40, 40)
        for sent in gw.batches.values():
            await gw.publish(sent, historical=True)
        await until(lambda: host.stats.counters["batches_stored"] == 40)
        assert await rows(host) == {}, "none is stored twice"
        assert set((await host.state.restored.rows()).values()) == {0}
        balance = await host.balance_after(gw)
        assert (balance.ok, pump(balance).stored, pump(balance).collided) == (True, 40, 0)


async def test_without_an_archive_only_the_count_stays(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, box().connected(mosquitto.port) as gw:
        s: Shears = shears(host, tmp_path / "unused", MONTH, archived=False)
        await filled(gw)
        assert (await s.run()).rows == 60
        balance = await host.balance_after(gw)
        assert (balance.ok, balance.total.stored, sum(balance.removed.values())) == (True, 60, 60)
        status = await s.retention.status()
        assert (status["removed"], status["sites"], status["archive_first"]) == (60, {"plant": 60}, False)
        assert s.retention.raw_since_ms(NODE, "pump-1", "flow") == NEXT.to_ms
        assert s.retention.raw_since_ms(NODE, "fan-1", "flow") == DAY.to_ms
        assert s.retention.raw_since_ms(NODE, "other", "flow") == 0
