"""Takes out of a store what is due, piece by piece, until it is killed: python -m tests.cloud.retention.victim ..."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cloud.retention.embedded import EmbeddedRemoval
from cloud.retention.influx import InfluxRemoval
from cloud.retention.port import Cut, Removal
from cloud.state.db import StateDb
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.whole_rows import TagId
from tests.cloud.archive.keeping import NEXT, NODE


async def main(folder: Path, influx: str, database: str) -> None:
    db = StateDb(folder / "state.db")
    await db.open()
    removal: Removal
    if influx:
        store = InfluxStore(InfluxHttp(influx, database))
        await store.open()
        removal = InfluxRemoval(db, store.server)
    else:
        embedded = EmbeddedStore(folder / "samples.duckdb")
        await embedded.open()
        removal = EmbeddedRemoval(embedded.file)
    await removal.settle()
    print("ready", flush=True)
    for tag in sorted(await removal.oldest(NEXT.to_ms)):
        for day in sorted(await removal.per_day([TagId(NODE, "pump-1", tag.tag)], NEXT.to_ms)):
            await removal.remove(Cut(day, "all", (tag.tag,), day.from_ms, day.to_ms))
            print("gone", flush=True)
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:4]))
