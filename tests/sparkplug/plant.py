"""Six Modbus devices on one line, and a foreign edge node, for the scenario."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.sparkplug.recording import Json

DEVICES = ("pump", "fan", "mill", "kiln", "saw", "press")
SETPOINT = 61_000  # more than any count
STRANGE = ("plant", "strange")


class Field:
    """Modbus TCP: float32 at 0, uint16 at 2, uint32 at 3, a constant at 5, a set point at 6; every unit alike.

    silent: units that do not answer. The values move with every answer, but for the last two.
    """

    def __init__(self) -> None:
        self.silent: set[int] = set()
        self.setpoint = 1
        self._answers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                function, address, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
                if unit in self.silent:
                    continue
                self._answers += 1
                n = self._answers
                words = struct.pack(">fHIHH", 1.5 + n % 100, n % 60_000, 3_000_000_000 + n, 77, self.setpoint)
                part = words[2 * address : 2 * (address + count)]
                body = struct.pack(">BB", function, len(part)) + part
                writer.write(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def modbus() -> AsyncIterator[tuple[Field, int]]:
    field = Field()
    server = await asyncio.start_server(field.serve, "127.0.0.1", 0)
    try:
        yield field, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def site_yaml(folder: Path, broker_port: int, modbus_port: int) -> Path:
    devices = "".join(
        f"""  - id: {name}
    line: plc
    unit_id: {unit}
    period_s: 0.05
    tags:
      - {{name: flow, table: holding, address: 0, type: float32, unit: m3/h}}
      - {{name: count, table: holding, address: 2, type: uint16}}
      - {{name: total, table: holding, address: 3, type: uint32}}
      - {{name: limit, table: holding, address: 5, type: uint16, deadband: 0.1}}
      - {{name: setpoint, table: holding, address: 6, type: uint16, deadband: 0.1}}
"""
        for unit, name in enumerate(DEVICES, 1)
    )
    path = folder / "site.yaml"
    path.write_text(
        f"""group: plant
gateway: gw
broker: {{url: "mqtt://127.0.0.1:{broker_port}", keepalive_s: 5}}
outbox: {{path: outbox.db, commit_ms: 50, max_mb: 20}}
lines:
  - name: plc
    driver: modbus-tcp
    host: 127.0.0.1
    port: {modbus_port}
    timeout_s: 0.15
    quiet_s: 0.01
    silent_polls: 2
    probe_s: 0.2
devices:
{devices}"""
    )
    return path


# Every datatype that has a number, a truth or a text as its value.
VALUES: dict[str, Any] = {
    "Int8": -8, "Int16": -16_000, "Int32": -2_000_000_000, "UInt8": 200, "UInt16": 60_000, "UInt32": 4_000_000_000,
    "Int64": -(2**52), "UInt64": 2**52, "Float": 1.5, "Double": 2.25, "Boolean": True, "String": "s", "Text": "t",
    "DateTime": 1_700_000_000_000,
}  # fmt: skip


def strange_births(now_ms: int, bd_seq: int = 7) -> list[tuple[str, Json]]:
    """NBIRTH and DBIRTH as a foreign edge node says them: no aliases, every datatype."""
    own = [
        {"name": "bdSeq", "type": "Int64", "value": bd_seq, "timestamp": now_ms},
        {"name": "Node Control/Rebirth", "type": "Boolean", "value": False, "timestamp": now_ms},
        {"name": "uptime", "type": "Int32", "value": 1, "timestamp": now_ms},
    ]
    tags = [{"name": n, "type": n, "value": v, "timestamp": now_ms} for n, v in VALUES.items()]
    return [
        ("NBIRTH", {"timestamp": now_ms, "seq": 0, "metrics": own}),
        ("DBIRTH", {"timestamp": now_ms, "seq": 1, "metrics": tags}),
    ]


def strange_data(seq: int, now_ms: int) -> tuple[str, Json]:
    metric = {"name": "Double", "type": "Double", "value": float(seq), "timestamp": now_ms}
    return "DDATA", {"timestamp": now_ms, "seq": seq, "metrics": [metric]}


def strange_death(bd_seq: int, now_ms: int) -> tuple[str, Json]:
    metric = {"name": "bdSeq", "type": "Int64", "value": bd_seq, "timestamp": now_ms}
    return "NDEATH", {"timestamp": now_ms, "metrics": [metric]}
