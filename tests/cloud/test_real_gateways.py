"""The host beside real gateway processes: an old backup, a slow database, one id for two."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cloud.cli import main
from cloud.config import InfluxV1
from tests.cloud.boxes import Box, counters, devices_at_rest, slow_way
from tests.cloud.hosts import HostProcess, running, until
from tests.gateway.field import modbus_device
from tests.servers import InfluxDB, Mosquitto
from wire.ids import NodeId

GW = NodeId("plant", "gw")


@pytest.fixture
async def boxes(tmp_path: Path, mosquitto: Mosquitto) -> AsyncIterator[list[Box]]:
    """Two gateways with one id, beside one device; not started."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(modbus_device([0x3FC0, 0, 7]))
        found = [Box(tmp_path / name, mosquitto.url, port) for name in ("box-a", "box-b")]
        try:
            yield found
        finally:
            for box in found:
                box.kill()


async def audit(host: HostProcess, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = await asyncio.to_thread(main, ["audit", "--url", host.url, "--json", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_a_host_restored_from_an_old_backup_gets_everything_back(
    tmp_path: Path, mosquitto: Mosquitto, boxes: list[Box], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    influx = InfluxDB(tmp_path / "influx") if kind == "influxdb" else None
    options = ["--broker", mosquitto.url]
    if influx is not None:
        influx.start()
        options += ["--store", f"influxdb+v1://127.0.0.1:{influx.port}/plant"]
    host = HostProcess(tmp_path / "host", options)
    host.folder.mkdir()
    held = [host.folder, influx.folder] if influx is not None else [host.folder]
    box = boxes[0]

    async def stored(more_than: int) -> None:
        async with asyncio.timeout(60):
            while (await audit(host, capsys))[1].get("stored", 0) <= more_than:
                await asyncio.sleep(0.1)

    async def down() -> None:
        assert await asyncio.to_thread(host.stop) == 0
        if influx is not None:
            await asyncio.to_thread(influx.stop)

    async def up() -> None:
        if influx is not None:
            await asyncio.to_thread(influx.start)
        await asyncio.to_thread(host.start)

    try:
        await asyncio.to_thread(host.start)
        box.start()
        await stored(15)
        await down()
        for folder in held:
            shutil.copytree(folder, tmp_path / "backup" / folder.name)
        await up()
        await stored(60)
        await down()
        for folder in held:
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "backup" / folder.name, folder)
        await up()
        async with asyncio.timeout(60):  # the gateway is back: its counters tell what is missing
            while True:
                code, found = await audit(host, capsys)
                if found["lost"] >= 30:
                    break
                await asyncio.sleep(0.2)
        assert code == 1
        async with asyncio.timeout(60):  # new samples stand behind the hole
            while True:
                code, window = await audit(host, capsys, "--from", "-1h")
                if window["missing"]:
                    break
                await asyncio.sleep(0.2)
        assert (code, window["lost"]) == (1, 0), "what the ledger has, the database has"
        code, asked = await audit(host, capsys, "--refill", "-1h", "now")
        assert (code, asked) == (0, {"asked": ["plant/gw"], "away": []})
        async with asyncio.timeout(60):
            while True:
                _, found = await audit(host, capsys)
                if not found["lost"] and not found["in_flight"]:
                    break
                await asyncio.sleep(0.2)
        code, window = await audit(host, capsys, "--from", "-1h", "--gateway", "gw")
        assert (code, window["missing"], window["lost"]) == (0, 0, 0)
        assert await box.stop() == 0
        code, balance = await audit(host, capsys)
        assert (code, balance["lost"], balance["in_flight"], balance["collided"]) == (0, 0, 0, 0)
        assert balance["produced"] == balance["stored"] > 20
        assert await asyncio.to_thread(host.stop) == 0
    finally:
        if host.process is not None and host.process.poll() is None:
            host.kill()
        if influx is not None:
            influx.stop()


async def test_two_gateways_with_one_id_are_noticed_and_nothing_is_lost_or_doubled(
    tmp_path: Path, mosquitto: Mosquitto, boxes: list[Box]
) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        for box in boxes:
            box.start()
        await until(lambda: any("two gateways call themselves plant/gw" in p for p in host.host.stats().problems), 60)
        assert host.stats.counters["duplicate_ids"] >= 2
        (node,) = host.desk.all_nodes()
        assert (node["node"], node["duplicate_id"]) == ("plant/gw", True)
        for box in boxes:
            box.kill()
        for box in boxes:  # one after the other: each has the id to itself
            box.start()
            await box.until(lambda s: s["devices"]["pump"]["confirmed"] and not s["devices"]["pump"]["in_flight"])
            assert await box.stop() == 0
        produced = sum(devices_at_rest(box)["pump"]["produced"] for box in boxes)
        async with asyncio.timeout(60):
            while (balance := await host.balance()).total.produced < produced or balance.total.lost:
                await asyncio.sleep(0.1)
        total = balance.total
        assert (total.produced, total.in_flight, total.dropped, total.dead_letters) == (produced, 0, 0, 0)
        assert total.stored + total.collided == produced
        rows = await host.kept.store.series(GW, "pump", "flow", 0, 2**42, 20_000)
        assert len(set(rows.t)) == len(rows.t), "nothing is doubled"
        assert len(host.kept.ledger.epochs()) == 4
        assert (await host.state.figures())[GW, "duplicate_ids"] >= 2


async def test_a_slow_database_does_not_cause_a_storm_of_resends(
    tmp_path: Path, mosquitto: Mosquitto, boxes: list[Box], influxdb: InfluxDB
) -> None:
    box = boxes[0]
    async with slow_way(influxdb.port) as way:
        choice = InfluxV1(f"http://127.0.0.1:{way.port}", "slow")
        async with running(tmp_path, mosquitto.port, choice) as host:
            way.delay_s = 0.2
            box.start()
            await box.until(lambda s: counters(s)["confirmed"] > 30 if "confirmed" in counters(s) else False)
            slow = counters(await box.status())
            assert slow["resent"] == 0, "0.2 s a write is no reason to send anything again"
            before, way.delay_s = way.writes, 5.0
            await until(lambda: way.writes > before, 60)
            way.delay_s = 0.2
            await asyncio.sleep(6)
            status = await box.until(lambda s: counters(s)["under_way"] <= 4)
            said = counters(status)
            # All batches of 5 s wait in a stall; the timer is 2 s and doubles, so that none goes out three times.
            assert 0 < said["resent"] <= 5 / box.period_s, said
            assert said["resent"] < said["published"] / 3, said
            assert await box.stop() == 0
            async with asyncio.timeout(60):
                while (balance := await host.balance()).total.in_flight:
                    await asyncio.sleep(0.1)
            assert balance.ok
            assert balance.total.stored == balance.total.produced
            assert host.stats.counters["duplicates"] <= said["resent"]
