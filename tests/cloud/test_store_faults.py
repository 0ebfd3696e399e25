"""Databases that are away, full, cut off in the middle or of another mind, and clocks that are wrong by a year.

Nothing is lost, nothing is stored twice, memory stays bounded, and it is told. FAULT_SECONDS=600 makes the outage as
long as that.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pytest

from cloud.balance import Counts
from cloud.cli import main
from cloud.config import InfluxV1
from tests.cloud.boxes import slow_way
from tests.cloud.hosts import HostProcess, running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.gateway.mounts import tmpfs
from tests.servers import InfluxDB, Mosquitto
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")
OUTAGE_S = float(os.environ.get("FAULT_SECONDS", "3"))
YEAR_MS = 365 * 86_400_000
SAMPLES = 1000  # of a batch
BATCHES = 40


def gateway() -> SmallGateway:
    return SmallGateway(NODE, tags("pump-1"))


def rows(gw: SmallGateway, samples: int = SAMPLES) -> None:
    """One more batch into the outbox."""
    first = T0 + sum(len(b.samples) for b in gw.batches.values())
    gw.put("pump-1", [row(first + i, float(i)) for i in range(samples)])


async def said(host: HostProcess, path: str) -> Any:
    return json.loads(await asyncio.to_thread(host.get, path))


async def until_said(host: HostProcess, path: str, true: Callable[[Any], Any]) -> Any:
    async with asyncio.timeout(60):
        while not true(found := await said(host, path)):
            await asyncio.sleep(0.1)
    return found


async def balanced(host: HostProcess, gw: SmallGateway) -> None:
    """All that the gateway produced is stored, once."""
    produced = sum(len(b.samples) for b in gw.batches.values())
    await gw.say_counters()
    found = await until_said(host, "/api/balance", lambda b: b["produced"] == produced and not b["in_flight"])
    assert (found["ok"], found["stored"], found["lost"], found["collided"]) == (True, produced, 0, 0)


class Outage:
    """A host with a database of its own, which goes and comes."""

    def __init__(self, folder: Path, broker: str, kind: str) -> None:
        self.influx = InfluxDB(folder / "influx") if kind == "influxdb" else None
        self.file = folder / "gaugeline.duckdb"
        store = f"influxdb+v1://127.0.0.1:{self.influx.port}/plant" if self.influx else "duckdb:gaugeline.duckdb"
        self.host = HostProcess(folder, ["--broker", broker, "--store", store])
        self._holder: duckdb.DuckDBPyConnection | None = None

    def begin(self) -> None:
        """InfluxDB is killed; a DuckDB file is in the hands of another program when the host starts again."""
        if self.influx is not None:
            self.influx.kill()
            return
        assert self.host.stop() == 0
        self._holder = duckdb.connect(str(self.file))
        self.host.start()

    def end(self) -> None:
        if self.influx is not None:
            self.influx.start()
        elif self._holder is not None:
            self._holder.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HostProcess]:
        try:
            if self.influx is not None:
                await asyncio.to_thread(self.influx.start)
            await asyncio.to_thread(self.host.start)
            yield self.host
        finally:
            if self._holder is not None:
                self._holder.close()
            if self.host.process is not None and self.host.process.poll() is None:
                self.host.kill()
            if self.influx is not None:
                self.influx.stop()


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_a_database_that_is_away_costs_no_sample_and_no_memory(
    tmp_path: Path, mosquitto: Mosquitto, kind: str
) -> None:
    outage = Outage(tmp_path, mosquitto.url, kind)
    async with outage.running() as host, gateway().connected(mosquitto.port) as gw:
        rows(gw)
        await gw.drain()
        await asyncio.to_thread(outage.begin)
        await until(lambda: host.process is not None)
        for _ in range(BATCHES):
            rows(gw)
        assert host.process is not None
        process, until_s, most = psutil.Process(host.process.pid), time.monotonic() + OUTAGE_S, 0
        bounded_at = 0
        while not bounded_at or time.monotonic() < until_s:  # as an impatient gateway does it
            for sent in gw.open():
                await gw.publish(sent, historical=True)
            counters = (await said(host, "/api/stats"))["counters"]
            if counters.get("batches_left_with_gateways", 0) and not bounded_at:
                bounded_at = process.memory_info().rss
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.2 if not bounded_at else 2.0)
        assert most < bounded_at + 100_000_000, "what does not fit is not kept"
        assert gw.confirmed == {1}
        problems = (await until_said(host, "/api/stats", lambda s: s["problems"]))["problems"]
        assert any(p.startswith("store is not available: ") for p in problems), problems
        assert (await said(host, "/api/health"))["status"] == "degraded"
        assert "store is not available" in (await asyncio.to_thread(host.get, "/")).decode(), "the page says it, too"
        await asyncio.to_thread(outage.end)
        await gw.drain(every_s=2.0)
        await balanced(host, gw)
        await until_said(host, "/api/stats", lambda s: not s["problems"])
        assert await asyncio.to_thread(host.stop) == 0
    assert "Traceback" not in host.log
    assert host.log.count("store is not available, trying again") == 1, "told once"


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No room is left on this disk meanwhile."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        yield
    finally:
        ballast.unlink()


@pytest.mark.parametrize("kind", ["duckdb", "influxdb", "state of influxdb"])
async def test_a_full_disk_is_told_and_everything_is_stored_once_there_is_room(
    tmp_path: Path, mosquitto: Mosquitto, kind: str
) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(tmpfs(tmp_path / "disk", "60m"))
        influx = InfluxDB(disk / "influx" if kind == "influxdb" else tmp_path / "influx")
        store = f"duckdb:{disk}/s.duckdb" if kind == "duckdb" else f"influxdb+v1://127.0.0.1:{influx.port}/plant"
        state = disk / "s.db" if kind.startswith("state") else tmp_path / "s.db"
        host = HostProcess(tmp_path, ["--broker", mosquitto.url, "--store", store, "--state", str(state)])
        try:
            if kind != "duckdb":
                await asyncio.to_thread(influx.start)
            await asyncio.to_thread(host.start)
            async with gateway().connected(mosquitto.port) as gw:
                rows(gw)
                await gw.drain()
                with full(disk):
                    for _ in range(5):
                        rows(gw)
                    part = "state" if kind.startswith("state") else "store"
                    async with asyncio.timeout(60):
                        while not any(part in p for p in (await said(host, "/api/stats"))["problems"]):
                            for sent in gw.open():
                                await gw.publish(sent, historical=True)
                            await asyncio.sleep(0.2)
                    assert gw.open(), "what cannot be stored is not confirmed"
                    (told,) = [p for p in (await said(host, "/api/stats"))["problems"] if part in p]
                    assert ("restart InfluxDB" in told) == (kind == "influxdb"), told
                if kind == "influxdb":
                    await asyncio.to_thread(influx.stop)
                    await asyncio.to_thread(influx.start)
                await gw.drain(every_s=2.0)
                await balanced(host, gw)
            assert await asyncio.to_thread(host.stop) == 0
            assert "Traceback" not in host.log
            told_as_store = host.log.count("store is not available, trying again")
            assert told_as_store == 1 or (part == "state" and not told_as_store), "told once, though it opens"
        finally:
            if host.process is not None and host.process.poll() is None:
                host.kill()
            influx.stop()


async def test_a_database_that_is_restarted_in_the_middle_of_a_batch_has_each_sample_once(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.store.influx.MOST_LINES", 50)  # a batch goes in twenty bodies
    server = InfluxDB(tmp_path / "influx")
    server.start()
    try:
        async with (
            slow_way(server.port) as way,
            running(tmp_path, mosquitto.port, InfluxV1(f"http://127.0.0.1:{way.port}", "plant")) as host,
            gateway().connected(mosquitto.port) as gw,
        ):
            for kill_after in (3, 7):
                way.delay_s, way.writes = 0.02, 0
                rows(gw)
                await gw.publish(gw.batches[len(gw.batches)])
                async with asyncio.timeout(60):
                    while way.writes < kill_after:
                        await asyncio.sleep(0.005)
                await asyncio.to_thread(server.kill)
                way.delay_s = 0.0
                await until(lambda: "store" in host.stats.problems)
                assert gw.open()
                await asyncio.to_thread(server.start)
                await gw.drain()
            assert (await host.balance_after(gw)).total == Counts(produced=2 * SAMPLES, stored=2 * SAMPLES)
    finally:
        server.stop()


async def test_points_that_another_writer_made_impossible_are_dead_letters_and_the_rest_is_stored(
    tmp_path: Path, mosquitto: Mosquitto, influxdb: InfluxDB, capsys: pytest.CaptureFixture[str]
) -> None:
    database = f"conflict-{time.time_ns()}"
    host = HostProcess(
        tmp_path, ["--broker", mosquitto.url, "--store", f"influxdb+v1://127.0.0.1:{influxdb.port}/{database}"]
    )
    await asyncio.to_thread(host.start)
    try:
        async with gateway().connected(mosquitto.port) as gw:
            await until_said(host, "/api/health", lambda h: h["status"] == "ok")
            async with asyncio.timeout(60):
                while not gw.confirmed:
                    if not gw.batches:
                        rows(gw, 1)
                    await gw.drain(30)
            # Another program writes texts where the numbers of one week belong.
            week = T0 + 100 * 86_400_000
            other = f'sample,device=pump-1,group=plant,node=gw-1,tag=flow value="broken" {week}'
            asked = {"db": database, "precision": "ms"}
            httpx.post(f"{influxdb.url}/write", params=asked, content=other, trust_env=False).raise_for_status()
            good = [row(T0 + 1000 + i, 1.0) for i in range(500)]
            bad = [row(week + 1 + i, 2.0) for i in range(3)]
            gw.put("pump-1", [*good[:250], *bad, *good[250:]])
            await gw.drain()
            await gw.say_counters()
            found = await until_said(host, "/api/balance", lambda b: b["produced"] == 504)
            assert (found["ok"], found["stored"], found["dead_letters"]) == (True, 501, 3)
            capsys.readouterr()
            assert await asyncio.to_thread(main, ["dead-letters", "--url", host.url]) == 0
            told = capsys.readouterr().out
            assert told.count("field type conflict") == 3, told
            assert await asyncio.to_thread(main, ["disk", "--url", host.url]) == 1
            assert "InfluxDB, which compacts by itself" in capsys.readouterr().err
            assert (await said(host, "/api/stats"))["counters"]["dead_letters"] == 3
        assert await asyncio.to_thread(host.stop) == 0
        assert "dead letters" in host.log
        assert "Traceback" not in host.log
    finally:
        if host.process is not None and host.process.poll() is None:
            host.kill()


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_a_clock_that_is_wrong_by_a_year_costs_nothing_and_hides_nothing(
    tmp_path: Path, mosquitto: Mosquitto, kind: str, request: pytest.FixtureRequest
) -> None:
    influx = None
    if kind == "influxdb":
        influx = InfluxV1(request.getfixturevalue("influxdb").url, f"clock-{time.time_ns()}")
    now_ms = time.time_ns() // 1_000_000
    async with running(tmp_path, mosquitto.port, influx) as host, gateway().connected(mosquitto.port) as gw:
        found = {off_ms: [row(now_ms + off_ms + i, value) for i in range(10)]
                 for off_ms, value in ((YEAR_MS, 1.0), (-YEAR_MS, 2.0), (0, 3.0))}  # fmt: skip
        beyond = [row(5, 4.0), row(now_ms + 125 * YEAR_MS, 5.0)]  # 1970 and 2150
        for samples in (found[YEAR_MS], found[-YEAR_MS], beyond, found[0]):
            await gw.publish(gw.put("pump-1", samples))
            await until(lambda: not gw.open())
        total = (await host.balance_after(gw)).total
        assert total == Counts(produced=32, stored=30, dead_letters=2)
        (shown,) = [t for t in host.host.live.tags() if t.name == "flow"]
        assert (shown.value, shown.ts_ms) == (3.0, now_ms + 9), "a year ahead does not keep the present away"
        for off_ms, value in ((YEAR_MS, 1.0), (-YEAR_MS, 2.0)):
            at = now_ms + off_ms
            assert (await host.kept.store.series(NODE, "pump-1", "flow", at, at + 10)).v == [value] * 10
        why = {str(x["why"]) for x in await host.letters.newest()}
        assert why == {"timestamp is before 2000 or after 2099"}
