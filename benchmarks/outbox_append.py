"""Samples a second into the gateway's outbox: encoding, digest, one transaction and one sync to the disk a window.

Windows as a gateway of 1,000 and of 10,000 tags at 1 Hz makes them (a quarter of a second each).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from agent.pipeline import Taken
from benchmarks.result import keep
from gateway.config.convert import OutboxSettings
from gateway.outbox.store import Outbox
from wire.block import Block, Quality
from wire.ids import NodeId
from wire.tag import Datatype, Tag, TagTable

WINDOWS = 60
T0 = 1_700_000_000_000


def table(device: str, tags: int) -> TagTable:
    return TagTable([Tag(f"tag{i}", device, Datatype.FLOAT, "kW") for i in range(tags)])


async def measure(folder: Path, devices: int, tags: int) -> dict[str, object]:
    """A window holds one Block of `tags` samples of each device."""
    tables = [table(f"device{i}", tags) for i in range(devices)]
    settings = OutboxSettings(folder / f"outbox-{devices}.db", commit_ms=250, max_bytes=2_000_000_000)
    now = iter(range(T0, T0 + 10**9))
    outbox = Outbox(settings, NodeId("bench", "gw"), ["host"], lambda: next(now))
    await outbox.open({t.device: list(t) for t in tables}, ["line"])
    quality, reason = np.full(tags, Quality.GOOD, np.uint8), np.zeros(tags, np.uint8)
    took = 0.0
    for window in range(WINDOWS):
        stamp = T0 + window * 250
        values = [np.random.default_rng(window).normal(50, 1, tags).astype(np.float32).astype(float) for _ in tables]
        blocks = tuple(Block(stamp, t, v, quality, reason) for t, v in zip(tables, values, strict=True))
        began = time.perf_counter()
        outbox.append(Taken("line", stamp, blocks, {}))
        await outbox.flush()
        took += time.perf_counter() - began
    samples = WINDOWS * devices * tags
    status = await outbox.status()
    produced = sum(entry["produced"] for entry in status["devices"].values())
    if produced != samples:
        raise RuntimeError(f"{produced} of {samples} samples were counted")
    size = status["outbox"]["bytes"] / samples
    p99_ms = outbox.commit_p99_ms
    await outbox.close(clean=True)
    return {
        f"samples_per_s_windows_of_{devices * tags}": round(samples / took),
        f"commit_ms_p99_windows_of_{devices * tags}": round(p99_ms, 1),
        f"bytes_per_sample_windows_of_{devices * tags}": round(size, 1),
    }


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        small = await measure(Path(name), devices=10, tags=25)
        large = await measure(Path(name), devices=25, tags=100)
    rss_mb = psutil.Process().memory_info().rss / 1e6
    keep("outbox_append", {**small, **large, "rss_mb": round(rss_mb, 1)})


if __name__ == "__main__":
    asyncio.run(main())
