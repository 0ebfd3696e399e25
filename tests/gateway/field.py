"""A tiny Modbus TCP device on a real socket, and sites, windows and Blocks for the gateway's tests."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from agent.pipeline import Taken
from wire.block import Block, Quality
from wire.tag import Datatype, Tag, TagTable

FLOW = Tag("flow", "pump", Datatype.FLOAT, "m3/h")
COUNT = Tag("count", "pump", Datatype.UINT16)
SPEED = Tag("speed", "fan", Datatype.FLOAT, "1/min")
PUMP = TagTable([FLOW, COUNT])
FAN = TagTable([SPEED])
TAGS = {"pump": [FLOW, COUNT], "fan": [SPEED]}
LINES = ["plc"]


def block(ts_ms: int, table: TagTable = PUMP, value: float = 1.5) -> Block:
    """A GOOD Block; whole numbers in every column but the first."""
    n = len(table)
    values = np.array([value, *[float(ts_ms % 1000)] * (n - 1)])
    return Block(ts_ms, table, values, np.full(n, Quality.GOOD, np.uint8), np.zeros(n, np.uint8))


def taken(*blocks: Block, suppressed: dict[str, int] | None = None, line: str = "plc", at: int | None = None) -> Taken:
    polled = at if at is not None else max((b.ts_ms for b in blocks), default=0)
    return Taken(line, polled, blocks, suppressed or {})


@asynccontextmanager
async def modbus_device(registers: list[int]) -> AsyncIterator[int]:
    """Answers reads of holding registers from the list; yields its port. The list may change meanwhile."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                function, address, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
                if function == 3 and address + count <= len(registers):
                    words = registers[address : address + count]
                    body = struct.pack(f">BB{count}H", function, 2 * count, *words)
                else:
                    body = struct.pack(">BB", function | 0x80, 2)
                writer.write(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def site_yaml(folder: Path, broker: str, port: int, period_s: float = 0.05, more: str = "") -> Path:
    path = folder / "site.yaml"
    path.write_text(
        f"""group: plant
gateway: gw
broker: {broker}
outbox: {{path: outbox.db, commit_ms: 50, max_mb: 20}}
lines:
  - {{name: plc, driver: modbus-tcp, host: 127.0.0.1, port: {port}, timeout_s: 0.3}}
devices:
  - id: pump
    line: plc
    period_s: {period_s}
    tags:
      - {{name: flow, table: holding, address: 0, type: float32, unit: m3/h}}
      - {{name: count, table: holding, address: 2, type: uint16}}
{more}"""
    )
    return path
