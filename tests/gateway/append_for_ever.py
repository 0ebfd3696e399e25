"""Appends to an outbox until it is killed; prints each batch once it is durable. Run by test_outbox."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from gateway.config.convert import OutboxSettings
from gateway.outbox.rows import Committed
from gateway.outbox.store import Outbox
from tests.gateway.field import LINES, TAGS, block, taken
from wire.ids import NodeId


async def main(path: Path) -> None:
    outbox = Outbox(
        OutboxSettings(path, 10, 50_000_000), NodeId("plant", "gw"), ["gaugeline"], lambda: time.time_ns() // 1_000_000
    )

    def told(commit: Committed) -> None:
        for batch in commit.batches:
            sys.stdout.write(f"{batch.id} {batch.digest}\n")
        sys.stdout.flush()

    outbox.on_commit = told
    await outbox.open(TAGS, LINES)
    running = asyncio.create_task(outbox.run())
    ts_ms = (await outbox.high_water()).get("pump", 1000)
    while not running.done():
        ts_ms += 1
        outbox.append(taken(block(ts_ms)))
        await asyncio.sleep(0.001)
    await running


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
