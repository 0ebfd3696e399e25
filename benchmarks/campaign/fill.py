"""Fills an outbox as a gateway without a broker does, faster than time goes: `python -m benchmarks.campaign.fill`.

Real are the outbox, its encoding, digests, commits and syncs, and the size of every batch (one answer of a device a
second). Not real are the field, and the clock: a second takes as long as it takes to commit it, in one commit
instead of four.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

import numpy as np

from agent.pipeline import Taken
from gateway.config.convert import OutboxSettings
from gateway.outbox.store import Outbox
from wire.block import Block, Quality
from wire.ids import NodeId
from wire.tag import Datatype, Tag, TagTable

VALUES = 4096


def value(column: int, second: int) -> int:
    """What tag number `column` of any device was at a second."""
    return (31 * column + second) % VALUES


async def fill(path: Path, node: NodeId, tables: list[TagTable], begin_ms: int, seconds: int, max_mb: float) -> int:
    """Samples committed, at 1 Hz from begin_ms on."""
    clock = [begin_ms]
    settings = OutboxSettings(path, commit_ms=250, max_bytes=int(max_mb * 1_000_000))
    outbox = Outbox(settings, node, ["gaugeline"], lambda: clock[0])
    await outbox.open({t.device: list(t) for t in tables}, ["filled"])
    done = 0
    for second in range(seconds):
        clock[0] = begin_ms + 1000 * second
        blocks = []
        for t in tables:
            n = len(t)
            values = np.array([value(i, second) for i in range(n)], float)
            good = np.full(n, Quality.GOOD, np.uint8)
            blocks.append(Block(clock[0], t, values, good, np.zeros(n, np.uint8)))
            done += n
        outbox.append(Taken("filled", clock[0], tuple(blocks), {}))
        await outbox.flush()
        if second % 600 == 599:
            sys.stderr.write(f"{second + 1} of {seconds} s\n")
    await outbox.close(clean=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outbox", type=Path)
    parser.add_argument("--tags", help="JSON: device -> names", required=True)
    parser.add_argument("--node", nargs=2, required=True)
    parser.add_argument("--begin-ms", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--max-mb", type=float, required=True)
    given = parser.parse_args()
    tables = [
        TagTable([Tag(name, device, Datatype.FLOAT, "") for name in names])
        for device, names in json.loads(given.tags).items()
    ]
    node = NodeId(*given.node)
    done = asyncio.run(fill(given.outbox, node, tables, given.begin_ms, given.seconds, given.max_mb))
    print(json.dumps({"committed": done}))


if __name__ == "__main__":
    main()
