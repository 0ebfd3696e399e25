"""What the outbox writes to the card: bytes a sample and MB a day at 1,000 tags at 1 Hz, as the kernel counts them.

40 devices of 25 tags, a commit every 250 ms, each batch confirmed a little later: inserts, deletes, counters and
checkpoints. write_bytes of /proc/self/io counts what goes to the block device (proc_pid_io(5)).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from agent.pipeline import Taken
from benchmarks.outbox_append import table
from benchmarks.result import keep
from gateway.config.convert import OutboxSettings
from gateway.outbox.rows import Batch, Committed
from gateway.outbox.store import Outbox
from wire.block import Block, Quality
from wire.delivery import Confirmation, confirmed_ranges
from wire.ids import NodeId

DEVICES, TAGS = 40, 25
SECONDS = 120  # of the plant; run as fast as the disk takes them
SECONDS_A_DAY = 86_400
T0 = 1_700_000_000_000


def written() -> int:
    """Bytes that this process had written to the block device. Raises OSError where the kernel does not count."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


async def measure(folder: Path, commit_ms: int) -> dict[str, object]:
    settings = OutboxSettings(folder / f"outbox-{commit_ms}.db", commit_ms=commit_ms, max_bytes=512_000_000)
    tables = [table(f"device{i}", TAGS) for i in range(DEVICES)]
    now = iter(range(T0, T0 + 10**9))
    outbox = Outbox(settings, NodeId("bench", "gw"), ["host"], lambda: next(now))
    await outbox.open({t.device: list(t) for t in tables}, ["line"])
    fresh: list[Batch] = []

    def told(commit: Committed) -> None:
        fresh.extend(commit.batches)

    outbox.on_commit = told
    quality, reason = np.full(TAGS, Quality.GOOD, np.uint8), np.zeros(TAGS, np.uint8)
    dice = np.random.default_rng(1)
    windows = SECONDS * 1000 // commit_ms
    each = max(1, DEVICES * commit_ms // 1000)  # devices that answer within a window
    os.sync()
    before, began = written(), time.perf_counter()
    samples = 0
    for window in range(windows):
        stamp = T0 + window * commit_ms
        chosen = [tables[(window * each + k) % DEVICES] for k in range(min(each, DEVICES))]
        rounds = max(1, commit_ms // 1000)
        blocks = tuple(
            Block(stamp + 1000 * i, t, dice.normal(50, 1, TAGS).astype(np.float32).astype(float), quality, reason)
            for i in range(rounds)
            for t in chosen
        )
        samples += TAGS * len(blocks)
        outbox.append(Taken("line", stamp, blocks, {}))
        await outbox.flush()
        if window % 2:
            digests = {b.number: b.digest for b in fresh}
            fresh.clear()
            await outbox.confirm(Confirmation("host", outbox.epoch, confirmed_ranges(digests)))
    took = time.perf_counter() - began
    await outbox.close(clean=True)
    size = written() - before
    per_sample = size / samples
    return {
        f"written_bytes_per_sample_commit_{commit_ms}_ms": round(per_sample, 1),
        f"written_mb_per_day_commit_{commit_ms}_ms": round(per_sample * DEVICES * TAGS * SECONDS_A_DAY / 1e6),
        f"seconds_for_{SECONDS}_s_commit_{commit_ms}_ms": round(took, 1),
    }


async def main() -> None:
    figures: dict[str, object] = {}
    # Beside the project: /tmp may be memory, where nothing is written at all.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        for commit_ms in (250, 1000, 5000):
            figures |= await measure(Path(name), commit_ms)
    figures["tags_at_1_hz"] = DEVICES * TAGS
    keep("outbox_wear", figures)


if __name__ == "__main__":
    asyncio.run(main())
