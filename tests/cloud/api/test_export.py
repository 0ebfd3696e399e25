"""One tag's rows as CSV and Arrow: exactly those of the store, and never many of them in memory at once."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI

from cloud.api import export, problems
from cloud.store import whole_rows
from cloud.store.embedded import EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch, TelemetryStore
from tests.servers import InfluxDB
from wire.block import Quality, Sample
from wire.ids import NodeId
from wire.tag import Datatype

T0 = 1_700_000_000_000
NODE = NodeId("plant", "gw")
ROWS = 1_000
AT_ONCE = 100


@pytest.fixture(params=["duckdb", "influxdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TelemetryStore]:
    found: TelemetryStore
    if request.param == "influxdb":
        server: InfluxDB = request.getfixturevalue("influxdb")
        found = InfluxStore(InfluxHttp(server.url, f"db-{uuid4().hex}"))
    else:
        found = EmbeddedStore(tmp_path / "s.duckdb")
    await found.open()
    yield found
    await found.close()


async def test_a_tag_is_given_whole_and_in_small_pieces(store: TelemetryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_rows, "MOST_ROWS", AT_ONCE)
    monkeypatch.setattr(whole_rows, "MOST_ANSWERED", AT_ONCE)
    wanted = [
        Sample("flow", Datatype.DOUBLE, T0 + 10 * i, Quality.BAD if i % 7 == 0 else Quality.GOOD,
               None if i % 7 == 0 else i / 3)
        for i in range(ROWS)
    ]  # fmt: skip
    other = [Sample("level", Datatype.DOUBLE, T0 + 10 * i, Quality.GOOD, 1.0) for i in range(ROWS)]
    async with store.transaction():
        assert await store.write([Batch(NODE, "pump-1", tuple(wanted)), Batch(NODE, "pump-1", tuple(other))]) == []
    sizes: list[int] = []
    real = store.samples

    async def counted(*asked: Any) -> AsyncIterator[Any]:
        async for batch in real(*asked):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(store, "samples", counted)
    app = FastAPI()
    problems.add(app)
    app.include_router(export.router(store), prefix="/api")
    asked = {"group": "plant", "node": "gw", "device": "pump-1", "tag": "flow", "from_ms": T0, "to_ms": T0 + 10 * ROWS}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as http:
        text = (await http.get("/api/export", params=asked)).text
        found = [(int(r["ts_ms"]), r["value"], r["quality"]) for r in csv.DictReader(io.StringIO(text))]
        assert found == [(s.ts_ms, "" if s.value is None else repr(s.value), s.quality.name) for s in wanted]
        stream = (await http.get("/api/export", params={**asked, "format": "arrow"})).content
        table = pa.ipc.open_stream(stream).read_all()
        assert table.column("ts_ms").to_pylist() == [s.ts_ms for s in wanted]
        assert table.column("value").to_pylist() == [s.value for s in wanted]
        assert set(table.column("tag").to_pylist()) == {"flow"}
        part = {**asked, "from_ms": T0 + 50, "to_ms": T0 + 70}
        text = (await http.get("/api/export", params=part)).text
        assert [r["ts_ms"] for r in csv.DictReader(io.StringIO(text))] == [str(T0 + 50), str(T0 + 60)]
    assert sum(sizes) == 2 * ROWS + 2
    assert max(sizes) <= AT_ONCE
