"""Rows a second into both stores through the port, with ledger entries, and against ready-made lines into InfluxDB:
the same lines, in bodies of the same size over as many connections.

Rounds of 20,000 rows (200 batches of 100 tags). The InfluxDB is one of this script's own, ended at the end.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import ready_lines
from benchmarks.result import keep
from cloud.ledger import Ledger, entry_of
from cloud.state.db import StateDb
from cloud.state.ledger import SqlLedger
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import MOST_LINES, InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.line_protocol import Prefixes, body
from cloud.store.port import Batch, TelemetryStore
from tests.servers import InfluxDB
from wire.block import Quality, Sample
from wire.ids import NodeId
from wire.tag import Datatype

ROUNDS, BATCHES, TAGS = 15, 200, 100
NODE = NodeId("bench", "gw")
T0 = 1_700_000_000_000


def round_of(number: int) -> list[Batch]:
    """One commit of the collector: 200 devices' batches of 100 tags at one time each."""
    found = []
    for device in range(BATCHES):
        ts_ms = T0 + number * 1000
        samples = tuple(
            Sample(f"tag{i}", Datatype.DOUBLE, ts_ms, Quality.GOOD, 20.0 + i + number / 7) for i in range(TAGS)
        )
        key = number * BATCHES + device
        found.append(Batch(NODE, f"device{device}", samples, "e", key, f"{key:032x}", first_ms=ts_ms, last_ms=ts_ms))
    return found


async def rows_per_s(store: TelemetryStore, ledger: Ledger) -> float:
    await store.open()
    await ledger.open()
    await write(store, ledger, round_of(0))
    rounds = [round_of(i) for i in range(1, ROUNDS + 1)]
    began = time.perf_counter()
    for batches in rounds:
        await write(store, ledger, batches)
    took = time.perf_counter() - began
    await store.close()
    return ROUNDS * BATCHES * TAGS / took


async def write(store: TelemetryStore, ledger: Ledger, batches: list[Batch]) -> None:
    async with store.transaction():
        await store.write(batches)
        await ledger.add([entry_of(b) for b in batches])


async def ready_lines_per_s(url: str) -> float:
    """What the same InfluxDB takes of the same lines, ready-made: the limit of any writer."""
    prefixes = Prefixes()
    lines = [body(b.node, b.device, b.samples, prefixes) for i in range(ROUNDS) for b in round_of(i)]
    together = MOST_LINES // TAGS
    ready = [b"\n".join(lines[i : i + together]) for i in range(0, len(lines), together)]
    return ROUNDS * BATCHES * TAGS / await ready_lines.write(url, "ready", ready)


async def measure(folder: Path, server: InfluxDB) -> dict[str, object]:
    embedded = EmbeddedStore(folder / "samples.duckdb")
    duck = await rows_per_s(embedded, EmbeddedLedger(embedded.file))
    size = (folder / "samples.duckdb").stat().st_size / ((ROUNDS + 1) * BATCHES * TAGS)
    db = StateDb(folder / "state.db")
    await db.open()
    influx = await rows_per_s(InfluxStore(InfluxHttp(server.url, "bench")), SqlLedger(db))
    await db.close()
    raw = await ready_lines_per_s(server.url)
    return {
        "duckdb_rows_per_s": round(duck),
        "duckdb_bytes_per_row": round(size, 1),
        "influxdb_rows_per_s": round(influx),
        "influxdb_ready_made_lines_per_s": round(raw),
        "influxdb_ratio_to_ready_made_lines": round(influx / raw, 2),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = InfluxDB(folder / "influxdb")
        server.start()
        try:
            keep("store_write", asyncio.run(measure(folder, server)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
