"""An outbox under load; prints figures as JSON. Run by test_outbox_disk under strace, which delays the disk's syncs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from gateway.config.convert import OutboxSettings
from gateway.outbox.store import Outbox
from tests.gateway.field import LINES, TAGS, block, taken
from wire.ids import NodeId


async def main(path: Path, seconds: float) -> None:
    outbox = Outbox(OutboxSettings(path, 20, 50_000_000), NodeId("plant", "gw"), ["gaugeline"], _now, max_pending=300)
    await outbox.open(TAGS, LINES)
    running = asyncio.create_task(outbox.run())
    lags, appended, ts_ms = [], 0, 1_000_000
    end = time.monotonic() + seconds
    stalled, committed_at, commits = 0.0, time.monotonic(), 0
    while time.monotonic() < end:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        lags.append(time.monotonic() - began - 0.005)
        if outbox.commits != commits:
            commits, committed_at = outbox.commits, time.monotonic()
        stalled = max(stalled, time.monotonic() - committed_at)
        for _ in range(5):
            ts_ms += 1
            appended += 2
            outbox.append(taken(block(ts_ms)))
    outbox.stop()
    await running
    await outbox.flush()
    pump = (await outbox.status())["devices"]["pump"]
    # The commits of a disk that is quick again.
    began = time.monotonic()
    outbox.append(taken(block(ts_ms + 1)))
    await outbox.flush()
    print(
        json.dumps(
            {
                "lag_ms": round(1000 * max(lags), 1),
                "stalled_ms": round(1000 * stalled, 1),
                "last_commit_ms": round(1000 * (time.monotonic() - began), 1),
                "appended": appended,
                "produced": pump["produced"],
                "refused": pump["refused"],
            }
        )
    )
    await outbox.close(clean=True)


def _now() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
