"""A plain writer of ready-made lines into an InfluxDB 1.x: a process of benchmarks.host_ingest and store_write.

The lines are those that the host would write of the same samples (benchmarks.ready_gateways: as many series, the same
datatypes and values, a second apart), made and joined before the clock starts, in bodies of as many lines as the host's
and over as many connections. Says the lines a second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

import httpx
import numpy as np

from benchmarks.ready_gateways import KINDS
from cloud.store.influx import CONNECTIONS, MOST_LINES
from cloud.store.line_protocol import Prefixes, body
from wire.block import Quality, Reason
from wire.columns import Columns, Fields
from wire.ids import NodeId
from wire.tag import Datatype


def bodies(gateways: int, devices: int, tags: int, batches: int) -> list[bytes]:
    """batches: messages of each gateway, of one device and one time each."""
    names = tuple(f"machine/part{i:03}/reading" for i in range(tags))
    kinds = tuple(KINDS[i % len(KINDS)] for i in range(tags))
    good, none = (Quality.GOOD,) * tags, (Reason.NONE,) * tags
    end_ms, prefixes, dice = int(time.time() * 1000), Prefixes(), np.random.default_rng(batches)
    found = []
    for number in range(1, batches + 1):
        stamps = (end_ms - (batches - number) // devices * 1000,) * tags
        for g in range(gateways):
            values = [_value(kind, x) for kind, x in zip(kinds, dice.normal(50.0, 12.0, tags).round(2), strict=True)]
            samples = Columns(Fields(names, kinds, stamps, good, values, none), b"", plain=True, distinct=True)
            found.append(body(NodeId("bench", f"gw{g:02}"), f"device{number % devices:02}", samples, prefixes))
    together = max(1, MOST_LINES // tags)
    return [b"\n".join(found[i : i + together]) for i in range(0, len(found), together)]


def _value(kind: Datatype, x: float) -> float | int | bool:
    """As a gateway sends it: a 32-bit float has other digits than the number that it was made of."""
    if kind is Datatype.BOOLEAN:
        return bool(x > 50)
    if kind is Datatype.INT32:
        return round(float(x) * 100)
    return float(np.float32(x)) if kind is Datatype.FLOAT else float(x)


async def write(url: str, database: str, ready: Sequence[bytes]) -> float:
    """Seconds."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        (await http.post("/query", params={"q": f"CREATE DATABASE {database}"})).raise_for_status()
        waiting = iter(ready)

        async def one() -> None:
            for content in waiting:
                parameters = {"db": database, "precision": "ms"}
                (await http.post("/write", params=parameters, content=content)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        return time.perf_counter() - began


def main(arguments: Sequence[str]) -> None:
    url, database, *shape = arguments
    gateways, devices, tags, batches = map(int, shape)
    took_s = asyncio.run(write(url, database, bodies(gateways, devices, tags, batches)))
    print(gateways * tags * batches / took_s)


if __name__ == "__main__":
    main(sys.argv[1:])
