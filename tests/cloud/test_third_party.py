"""An edge node that is not ours: its payloads come from an encoder of the test's own, written from the specification.

Field numbers: Eclipse Sparkplug B 3.0, "Google Protocol Buffer schema" (sparkplug_b.proto); wire types: protobuf.dev,
"Encoding". Nothing of wire/ has a part in what is sent.
"""

from __future__ import annotations

import struct
from pathlib import Path

import aiomqtt
import pytest

from cloud.config import InfluxV1
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import T0
from tests.servers import Mosquitto
from wire.ids import NodeId

INT32, INT64, DOUBLE, BOOLEAN, STRING = 3, 4, 10, 11, 12


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def value_of(datatype: int, value: float | str) -> bytes:
    """int_value = 10, long_value = 11, double_value = 13, boolean_value = 14, string_value = 15."""
    if datatype == DOUBLE:
        return varint(13 << 3 | 1) + struct.pack("<d", value)
    if datatype == STRING:
        return block(15, str(value).encode())
    field = {INT32: 10, INT64: 11, BOOLEAN: 14}[datatype]
    return number(field, int(value) % (2**32 if datatype == INT32 else 2**64))  # two's complement


def metric(datatype: int, value: float | str | None, ts_ms: int = T0, name: str = "", alias: int = 0) -> bytes:
    """name = 1, alias = 2, timestamp = 3, datatype = 4, is_null = 7; fields in descending order, as any encoder may."""
    said = number(7, 1) if value is None else value_of(datatype, value)
    said += number(4, datatype) + number(3, ts_ms)
    said += number(2, alias) if alias else b""
    return said + (block(1, name.encode()) if name else b"")


def payload(seq: int | None, *metrics: bytes) -> bytes:
    """timestamp = 1, metrics = 2, seq = 3, uuid = 4, body = 5; an unknown field on top."""
    said = b"".join(block(2, m) for m in metrics) + block(4, b"someone-else") + block(99, b"of a later version")
    return number(1, T0) + said + (number(3, seq) if seq is not None else b"")


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_what_an_encoder_of_somebody_else_says_is_stored_as_it_was_meant(
    tmp_path: Path, mosquitto: Mosquitto, kind: str, request: pytest.FixtureRequest
) -> None:
    influx = None
    if kind == "influxdb":
        influx = InfluxV1(request.getfixturevalue("influxdb").url, f"third-{T0}-{mosquitto.port}")
    node, at = NodeId("Werk 7", "SPS-ü"), "spBv1.0/Werk 7/{}/SPS-ü"
    born = {"level": (DOUBLE, 1), "count": (INT64, 2), "offset": (INT32, 3), "on": (BOOLEAN, 4), "mode": (STRING, 5)}
    told: dict[str, float | str] = {"level": -0.1, "count": 2**53 + 1, "offset": -7, "on": True, "mode": "Läuft"}
    async with running(tmp_path, mosquitto.port, influx) as host:
        dead = aiomqtt.Will(at.format("NDEATH"), payload(None, metric(INT64, 3, name="bdSeq")), qos=1)
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, will=dead) as theirs:
            rebirth = metric(BOOLEAN, 0, name="Node Control/Rebirth")
            await theirs.publish(at.format("NBIRTH"), payload(0, metric(INT64, 3, name="bdSeq"), rebirth))
            device = [metric(kind_, None, name=name, alias=alias) for name, (kind_, alias) in born.items()]
            await theirs.publish(f"{at.format('DBIRTH')}/Tank", payload(1, *device))
            for i in range(10):  # report by exception: by alias alone
                changed = [
                    metric(born[name][0], value, T0 + 1000 * (i + 1), alias=born[name][1])
                    for name, value in told.items()
                ]
                await theirs.publish(f"{at.format('DDATA')}/Tank", payload(2 + i, *changed))
            await until(lambda: host.stats.counters["samples_stored"] >= 50)
            # Before a birth is complete every value is null: BAD rows without value, told once per tag.
            stored = {v.sample.name: v.sample for v in await host.kept.store.last_values() if v.device == "Tank"}
            assert {name: s.value for name, s in stored.items()} == told
            assert {s.ts_ms for s in stored.values()} == {T0 + 10_000}
            found = await host.kept.store.series(node, "Tank", "level", T0 + 1, T0 + 11_000)
            assert found.v == [-0.1] * 10
            assert (await host.balance()).ok
            live = {t.name: t.value for t in host.host.live.tags() if t.device == "Tank"}
            assert live == told
            # What is cut off costs nothing but itself.
            await theirs.publish(f"{at.format('DDATA')}/Tank", payload(12)[:-3])
            await until(lambda: host.stats.counters["rejected"] == 1)
        assert host.stats.problems == {}
