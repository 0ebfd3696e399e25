"""How long a chart takes: last values of 1,000 tags, one tag over an hour, one over a year at 1 Hz (31.5 million
samples); and what the roll-ups cost that the year is drawn from, for a plant of 10,000 tags at 1 Hz.

The year is put into the database by its own bulk path (DuckDB: one statement; InfluxDB: lines that are made here), with
one sample among them that no chart may lose, and rolled up by the host's roller as a database from before there were
roll-ups is. With --ingest, samples are written at that rate beside the questions, through the same store, marked
and rolled up as those of gateways are.

  python -m benchmarks.chart_queries                     DuckDB, a year
  python -m benchmarks.chart_queries --store influxdb    InfluxDB 1.x; the year is 31.5 million lines: some minutes
  python -m benchmarks.chart_queries --days 7            short
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.result import keep
from cloud.api.events import Feed
from cloud.live import LiveValues
from cloud.rollups.marks import WindowMarks
from cloud.rollups.roller import Roller
from cloud.state.db import StateDb
from cloud.stats import Stats
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.line_protocol import series_prefix
from cloud.store.port import Batch
from cloud.store.whole_rows import DAY_MS
from cloud.store.windows import HOUR_MS, MINUTE_MS
from tests.servers import InfluxDB
from wire.block import Quality, Reason
from wire.columns import Columns, Fields
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("bench", "gw")
DEVICES, TAGS = 100, 100  # of the plant
POINTS = 1_000
SPIKE = 1e6
TIMES = 60
STORES = ("duckdb", "influxdb")


class Bench:
    def __init__(self, folder: Path, server: InfluxDB | None, days: int) -> None:
        self.days, self.ingested = days, 0
        self.now_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS + 30 * MINUTE_MS
        self.from_ms = self.now_ms // DAY_MS * DAY_MS - days * DAY_MS
        self.db = StateDb(folder / "state.db")
        self.marks = WindowMarks(self.db, lambda: self.now_ms)
        self.stats, self.writing = Stats(0.0), asyncio.Lock()
        self.http = InfluxHttp(server.url, "bench", timeout_s=300) if server is not None else None
        self.store: EmbeddedStore | InfluxStore
        if self.http is None:
            self.store = EmbeddedStore(folder / "samples.duckdb", self.marks)
        else:
            self.store = InfluxStore(self.http, rolled=self.marks)
        self.roller = Roller(self.store, self.marks, self.writing, self.stats, lambda: self.now_ms)

    async def write(self, batches: Sequence[Batch]) -> None:
        """As the collector does."""
        async with self.writing:
            await self.marks.touch(batches)
            async with self.store.transaction():
                await self.store.write(batches)

    async def load(self) -> None:
        """The year of one tag."""
        n, spike = self.days * 86_400, self.days * 86_400 // 3
        if isinstance(self.store, EmbeddedStore):
            await self.write([batch("year", ("speed",), self.from_ms - 1000, [1.0])])
            ((i,),) = await self.store.file.read("SELECT max(id) FROM series")
            async with self.store.transaction():
                await self.store.file.execute(
                    f"INSERT INTO samples SELECT {i}, ? + i * 1000, 192, 0,"
                    f" CASE WHEN i = {spike} THEN {SPIKE} ELSE round(sin(i / 7000.0) * 40 + i % 17, 2) END, NULL, NULL"
                    f" FROM range({n}) AS r(i)",
                    [self.from_ms],
                )
            return
        assert self.http is not None
        await self.http.open()
        head = series_prefix(NODE, "year", "speed")
        for first in range(0, n, 50_000):
            i = np.arange(first, min(n, first + 50_000))
            v = np.round(np.sin(i / 7000.0) * 40 + i % 17, 2)
            v[i == spike] = SPIKE
            stamps = self.from_ms + i * 1000
            rows = zip(v.tolist(), stamps.tolist(), strict=True)
            lines = [f"{head}value={x!r},quality=192i,datatype=10i {t}" for x, t in rows]
            await self.http.write("\n".join(lines))


def batch(device: str, names: tuple[str, ...], ts_ms: int, values: Sequence[float]) -> Batch:
    n = len(names)
    kinds, good, none = (Datatype.DOUBLE,) * n, (Quality.GOOD,) * n, (Reason.NONE,) * n
    samples = Columns(Fields(names, kinds, (ts_ms,) * n, good, tuple(values), none), b"", plain=True, distinct=True)
    return Batch(NODE, device, samples, first_ms=ts_ms, last_ms=ts_ms)


def second(ts_ms: int, devices: int = DEVICES) -> list[Batch]:
    """What the plant says in a second."""
    names = tuple(f"tag{i:02}" for i in range(TAGS))
    return [
        batch(f"device{d:02}", names, ts_ms, [math.sin(ts_ms / 9e4 + d + i) for i in range(TAGS)])
        for d in range(devices)
    ]


async def percentiles(ask: Callable[[], Awaitable[object]], times: int = TIMES) -> tuple[float, float]:
    """p50, p95 in ms."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        took.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.01)
    return float(np.percentile(took, 50)), float(np.percentile(took, 95))


async def timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def measure(folder: Path, server: InfluxDB | None, days: int, ingest: int) -> dict[str, float]:
    b = Bench(folder, server, days)
    await b.db.open()
    await b.store.open()
    found: dict[str, float] = {"samples": days * 86_400, "load_s": await timed(b.load())}
    found["roll_up_all_s"] = await timed(b.roller.work())
    found |= await plant(b)
    began = time.perf_counter()
    beside = asyncio.create_task(_ingest(b, ingest)) if ingest else None
    year_to, year_from = b.from_ms + days * DAY_MS, b.from_ms
    hour = year_to - 20 * HOUR_MS
    speed = (NODE, "year", "speed")
    live = LiveValues()  # what pages and event streams show: the store's are only read at a start
    for one in second(b.now_ms, 1000 // TAGS):
        live.born(one.node, one.device, [(s.name, s.datatype, {}) for s in one.samples])
        live.update(one.node, one.device, one.samples)

    async def last_values() -> None:
        assert Feed(live).event(live.changed(-1), live.version).count(f'"{NODE}"') == 1000

    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "last_values_of_1000_tags": last_values,
        "one_tag_one_hour": lambda: b.store.series(*speed, hour, hour + HOUR_MS, POINTS),
        "one_tag_all_days": lambda: b.store.series(*speed, year_from, year_to, POINTS),
        "catalogue": lambda: b.store.tags(),
    }
    for name, ask in asked.items():
        await ask()
        times = 5 if name == "catalogue" else TIMES * (5 if ingest else 1)
        found[f"{name}_p50_ms"], found[f"{name}_p95_ms"] = await percentiles(ask, times)
    chart = await b.store.series(*speed, year_from, year_to, POINTS)
    found["points"] = len(chart.t)
    found["spike_is_seen"] = float(max(v for v in chart.v if v is not None) == SPIKE)
    if beside is not None:
        beside.cancel()
        await asyncio.wait([beside])
        if not beside.cancelled() and (fault := beside.exception()) is not None:
            raise fault
        found["ingested_per_s"] = b.ingested / (time.perf_counter() - began)
    await b.store.close()
    await b.db.close()
    return found


async def plant(b: Bench) -> dict[str, float]:
    """What a minute, a quarter and an hour of the plant cost."""
    found: dict[str, float] = {}
    start_ms = b.now_ms // HOUR_MS * HOUR_MS
    for minute in range(16):
        b.now_ms = start_ms + minute * MINUTE_MS
        for s in range(60 if minute in (13, 14) else 1):
            await b.write(second(b.now_ms + s * 1000))
        b.now_ms += MINUTE_MS + 15_000
        took = await timed(b.roller.work())
        if minute in (13, 14):  # with the second one a quarter is over
            found["minute_of_10000_tags_s" if minute == 13 else "minute_and_quarter_of_10000_tags_s"] = took
    return found


async def _ingest(b: Bench, rate: int) -> None:
    """Until cancelled: samples of the plant, and the roller as it is."""
    rolling = asyncio.create_task(b.roller.run())
    per_round = max(1, rate // 10 // TAGS)
    try:
        while True:
            round_s = time.perf_counter()
            b.now_ms += 100
            batches = second(b.now_ms, min(DEVICES, per_round))
            await b.write(batches)
            b.ingested += len(batches) * TAGS
            await asyncio.sleep(max(0.0, 0.1 - (time.perf_counter() - round_s)))
    finally:
        rolling.cancel()
        await asyncio.wait([rolling])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart_queries", description=__doc__)
    parser.add_argument("--store", choices=STORES, default="duckdb")
    parser.add_argument("--days", type=int, default=365, help="of one tag at 1 Hz (365)")
    parser.add_argument("--ingest", type=int, default=0, metavar="N", help="samples a second beside the questions (0)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        server = InfluxDB(Path(name) / "influxdb") if given.store == "influxdb" else None
        if server is not None:
            server.start()
        try:
            found = asyncio.run(measure(Path(name), server, given.days, given.ingest))
        finally:
            if server is not None:
                server.stop()
    load = f"_ingest{given.ingest}" if given.ingest else ""
    keep(f"chart_queries_{given.store}_{given.days}d{load}", {name: round(x, 3) for name, x in found.items()})


if __name__ == "__main__":
    main()
