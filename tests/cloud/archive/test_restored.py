"""A day of the archive is put back, and its gateways send the same samples again: stored once, and it balances."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cloud.archive import restore
from cloud.archive.archiver import Archiver
from cloud.archive.folder import open_folder
from cloud.archive.manifest import day_of
from cloud.archive.marks import DayMarks
from cloud.balance import Counts
from cloud.config import InfluxV1
from cloud.host import wall_ms
from cloud.state.restored import RestoredDay
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DayId
from tests.cloud.hosts import Running, running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.errors import StoreDown
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")
PUMP, FAN = DeviceId(NODE, "pump-1"), DeviceId(NODE, "fan-1")
DAY = DayId("plant", day_of(T0))
ROWS = {PUMP: 45, FAN: 20}  # of the pump's 50 samples 5 are of both epochs


@pytest.fixture(params=["duckdb", "influxdb"])
def stores(request: pytest.FixtureRequest) -> list[InfluxV1 | None]:
    """Of a host, and of the one that comes after it."""
    if request.param == "duckdb":
        return [None, None]
    url = request.getfixturevalue("influxdb").url
    return [InfluxV1(url, f"db-{uuid4().hex}") for _ in range(2)]


def archiver_of(host: Running, folder: Path) -> Archiver:
    archive = open_folder(str(folder))
    return Archiver(
        archive, 1, host.kept.store, DayMarks(host.db), host.collector.writing, host.stats, wall_ms,
        host.state.births, host.kept.ledger, host.state.restored,
    )  # fmt: skip


async def job(archiver: Archiver, kind: str) -> Mapping[str, Any]:
    found = archiver.ask(kind, [DAY])
    await archiver.work(found)
    assert found.problems == []
    (result,) = found.results
    return result


async def opened(host: Running) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreDown):
                await host.kept.store.count()
                return
            await asyncio.sleep(0.02)


async def lose(host: Running, influx: InfluxV1 | None) -> None:
    store = host.kept.store
    if isinstance(store, EmbeddedStore):
        async with store.transaction():
            await store.file.execute("DELETE FROM samples")
    else:
        assert influx is not None
        http = InfluxHttp(influx.url, influx.database)
        await http.open()
        await http.query('DROP SERIES FROM "sample"', method="POST")
        await http.close()


async def test_what_was_restored_and_is_sent_again_is_stored_once_and_balances(
    tmp_path: Path, mosquitto: Mosquitto, stores: list[InfluxV1 | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = SmallGateway(NODE, tags("pump-1") + tags("fan-1"), "epoch1")
    image = SmallGateway(NODE, tags("pump-1") + tags("fan-1"), "epoch2", 1)
    wanted = {PUMP: Counts(produced=50, stored=45, collided=5), FAN: Counts(produced=20, stored=20)}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    async with running(tmp_path / "a", mosquitto.port, stores[0]) as host:
        async with box.connected(mosquitto.port) as gw:
            for i in range(20):
                await gw.publish(gw.put("pump-1", [row(T0 + i, i), row(T0 + i, 2 * i, "level")]))
                await gw.publish(gw.put("fan-1", [row(T0 + i, i)]))
            await until(lambda: len(gw.confirmed) == 40)
            await host.balance_after(gw)
        async with image.connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0 + i, 0.5) for i in range(15, 25)]))
            await until(lambda: gw.confirmed)
            assert (await host.balance_after(gw)).devices == wanted
        archiver = archiver_of(host, tmp_path / "archive")
        assert (await job(archiver, "run"))["rows"] == 65

    # A host that knows nothing of all this, as after a backup from before it.
    async with running(tmp_path / "b", mosquitto.port, stores[1]) as host:
        archiver = archiver_of(host, tmp_path / "archive")
        await opened(host)
        days = {of: RestoredDay(*of, DAY.day) for of in ROWS}

        async def left() -> dict[DeviceId, int]:
            found = await host.state.restored.rows()
            return {of: found[day] for of, day in days.items()}

        with monkeypatch.context() as patch:

            def killed(_archived: Path, _scratch: str) -> None:
                raise OSError("killed")

            patch.setattr(restore, "count_by_device", killed)
            interrupted = archiver.ask("restore", [DAY])
            await archiver.work(interrupted)
            assert "killed" in interrupted.problems[0]
        assert await left() == {PUMP: 0, FAN: 0}
        assert (await job(archiver, "restore"))["there"] == 65
        assert await left() == ROWS

        async with image.connected(mosquitto.port) as gw:
            await host.balance_after(gw)
            await gw.publish(gw.batches[1], historical=True)
            await until(lambda: host.stats.counters["batches_stored"] == 1)
            assert await left() == {PUMP: 35, FAN: 20}
            window = await host.desk.window(T0 + 15, T0 + 16, None)
            pump = window.devices[PUMP]
            assert (pump.stored, pump.restored, pump.rows, pump.lost) == (10, 35, 45, 0)
            assert window.as_json()["ok"]
        box.bd_seq = 2
        async with box.connected(mosquitto.port) as gw:
            balance = await host.balance_after(gw)
            assert (balance.devices[FAN], balance.devices[FAN].lost) == (wanted[FAN], 0), "restored, and not sent again"
            for sent in gw.batches.values():
                await gw.publish(sent, historical=True)
            await until(lambda: host.stats.counters["batches_stored"] == 41)
            await gw.publish(gw.batches[1], historical=True)  # known by now, as ever
            await until(lambda: host.stats.counters["duplicates"] == 1)
            balance = await host.balance_after(gw)
        assert (balance.ok, balance.devices) == (True, wanted)
        assert await host.kept.store.count() == ROWS
        assert await left() == {PUMP: 0, FAN: 0}
        assert (await host.desk.window(T0, T0 + 99, None)).as_json()["ok"]

        await lose(host, stores[1])  # the rows alone: the ledger knows them
        assert (await host.desk.window(T0, T0 + 99, None)).as_json()["lost"] == 65
        assert (await job(archiver, "restore"))["restored"] == 65
        assert await left() == {PUMP: 0, FAN: 0}
        assert (await host.desk.window(T0, T0 + 99, None)).as_json()["ok"]
        assert (await host.balance()).devices == wanted
