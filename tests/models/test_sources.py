"""Normal operation from Parquet and from a running host; and data that cannot be learnt from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from models import sources, train
from models.align import Course, aligned
from models.cli import main
from models.history import Asked
from models.manifest import read
from models.settings import Settings, read_settings
from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.models.conftest import normal_rows, write_csv
from tests.servers import Mosquitto, free_port
from wire.block import FloatArray
from wire.errors import ModelError
from wire.ids import NodeId

NAMES = ("flow", "pressure", "current")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path)
    return path


def stamps(n: int, from_s: int = 0) -> Any:
    begin_us = int(BEGIN.timestamp() * 1e6)
    return pyarrow.array([begin_us + 1_000_000 * (from_s + i) for i in range(n)], pyarrow.timestamp("us", "UTC"))


def wide(rows: FloatArray, from_s: int = 0) -> dict[str, Any]:
    return {"ts": stamps(len(rows), from_s), **{name: rows[:, i] for i, name in enumerate(NAMES)}}


def long(rows: FloatArray) -> dict[str, Any]:
    """One value a row, as a store keeps them."""
    n = len(rows)
    return {
        "ts_ms": np.tile(1000 * np.arange(n), 3),
        "tag": [name for name in NAMES for _ in range(n)],
        "value": np.concatenate([rows[:, i] for i in range(3)]),
    }


def test_a_parquet_file_teaches_the_same_model_as_its_csv(folder: Path, settings: Settings, tmp_path: Path) -> None:
    rows = np.array([[float(f"{x:.6g}") for x in row] for row in normal_rows(4000, seed=1)])
    for data in (
        parquet(tmp_path / "wide.parquet", wide(rows)),
        parquet(tmp_path / "long.parquet", long(rows)),
        write_csv(tmp_path / "rows.csv", rows),
    ):
        found = sources.read(Asked(str(data)), settings)
        np.testing.assert_array_equal(found.rows, rows)
        np.testing.assert_allclose(np.diff(found.seconds), 1.0, atol=1e-3)


def test_a_folder_of_files_is_read_in_the_order_of_time(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(60, seed=1)
    parquet(tmp_path / "days/day=2/a.parquet", wide(rows[:30]))
    parquet(tmp_path / "days/day=1/b.parquet", wide(rows[30:], from_s=30))
    found = sources.read(Asked(str(tmp_path / "days")), settings)
    np.testing.assert_array_equal(found.rows, rows)
    assert found.times[0] == "2026-01-01 00:00:00.000+00:00"
    assert found.sha256 == sources.read(Asked(str(tmp_path / "days")), settings).sha256


def test_bad_quality_foreign_assets_and_rows_to_leave_out_are_left_out(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(20, seed=1)
    columns = long(rows)
    quality = np.full(60, 192)
    quality[5] = 0
    columns |= {"quality": quality, "asset": ["pump"] * 60, "device": ["plc"] * 60}
    twice = {key: [*value, *value] for key, value in columns.items()}
    twice["asset"] = ["pump"] * 60 + ["other"] * 60
    twice["value"] = [*columns["value"], *(0 * columns["value"])]
    found = sources.read(Asked(str(parquet(tmp_path / "x.parquet", twice)), asset="pump"), settings)
    assert np.isnan(found.rows[5, 0]) and not np.isnan(found.rows[6]).any()
    np.testing.assert_array_equal(found.rows[6:], rows[6:])
    on = {**wide(rows), "running": pyarrow.array([i >= 10 for i in range(20)])}
    only = settings.model_copy(update={"only_where": "running"})
    assert np.isnan(sources.read(Asked(str(parquet(tmp_path / "on.parquet", on))), only).rows[:10]).all()


def test_a_value_stands_until_the_next_one_as_long_as_it_may() -> None:
    courses = {
        "a": Course(np.array([0.0, 1.0, 2.0, 3.0, 8.0]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])),
        "b": Course(np.array([0.4, 8.0]), np.array([7.0, np.nan])),
    }
    short = aligned(courses, ["a", "b"], "", 1.0, None, "x")
    assert short.rows[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 4.0, 5.0]
    np.testing.assert_array_equal(short.rows[:, 1], [7.0, 7.0, np.nan, np.nan, np.nan, np.nan])
    held = aligned(courses, ["a", "b"], "", 1.0, 5.0, "x")
    np.testing.assert_array_equal(held.rows[:, 1], [7.0] * 6 + [np.nan] * 3)
    with pytest.raises(ModelError, match="no tag 'c'; there are: a, b"):
        aligned(courses, ["c"], "", 1.0, None, "x")
    with pytest.raises(ModelError, match="are too many"):
        aligned(courses, ["a"], "", 1e-8, None, "x")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t | {"flow": ["high"] * 20}, r"flow: must be numbers \(is string\)"),
        (lambda t: {k: v for k, v in t.items() if k != "ts"}, "no column of the time: neither 't_s' nor one of ts"),
        (lambda t: {k: v for k, v in t.items() if k != "flow"}, "no column 'flow', nor columns tag and value; it has:"),
        (lambda t: t | {"ts": stamps(10).to_pylist() + stamps(10).to_pylist()}, "row 11: ts: .* does not come after"),
        (lambda t: t | {"ts": [*stamps(19).to_pylist(), None]}, "ts: 1 rows have no time"),
        (lambda t: {k: v[:0] for k, v in t.items()}, "no rows"),
    ],
)
def test_parquet_that_cannot_be_read_is_told(settings: Settings, tmp_path: Path, change: Any, word: str) -> None:
    data = parquet(tmp_path / "x.parquet", change(wide(normal_rows(20, seed=1))))
    with pytest.raises(ModelError, match=word):
        sources.read(Asked(str(data)), settings)


def test_files_that_are_no_parquet_are_told(settings: Settings, tmp_path: Path) -> None:
    whole = parquet(tmp_path / "x.parquet", wide(normal_rows(20, seed=1))).read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / "cut.parquet").write_bytes(content)
        with pytest.raises(ModelError, match=r"cut\.parquet: not Parquet, truncated"):
            sources.read(Asked(str(tmp_path / "cut.parquet")), settings)
    with pytest.raises(ModelError, match="cannot be read"):
        sources.read(Asked(str(tmp_path / "gone.parquet")), settings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no \*\.parquet in this folder"):
        sources.read(Asked(str(tmp_path / "empty")), settings)
    columns = {key: [*value, *value] for key, value in long(normal_rows(20, seed=1)).items()}
    columns["device"] = ["a"] * 60 + ["b"] * 60
    data = parquet(tmp_path / "two.parquet", columns)
    with pytest.raises(ModelError, match=r"stands for several devices \(a, b\)"):
        sources.read(Asked(str(data)), settings)
    with pytest.raises(ModelError, match="the data has no column asset"):
        sources.read(Asked(str(data), asset="pump"), settings)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (Asked("http://127.0.0.1:1"), "a host needs --asset and --from"),
        (Asked("http://127.0.0.1:1", "pump", "soon"), "--from soon: must be a time such as"),
        (Asked("http://127.0.0.1:1", "pump", "2026-02-01", "2026-01-01"), "--to 2026-01-01 must come after"),
        (Asked("http://127.0.0.1:1", "pump", "2026-01-01"), "no answer .*: does `gaugeline cloud run` listen there"),
        (Asked("rows.csv", from_="2026-01-01"), "are for a host"),
        (Asked("rows.csv", asset="pump"), "--asset is for a host, or for Parquet"),
    ],
)
def test_what_does_not_go_together_is_told(settings: Settings, asked: Asked, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        sources.read(asked, settings)


async def test_a_running_host_teaches_the_same_model_as_the_file(
    mosquitto: Mosquitto, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.array([[float(f"{x:.6g}") for x in row] for row in normal_rows(600, seed=1)])
    host = HostProcess(tmp_path, ["--broker", mosquitto.url])
    host.start()
    try:
        async with SmallGateway(NodeId("plant", "gw-1"), tags("pump-1", *NAMES)).connected(mosquitto.port) as gateway:
            for begin in range(0, 600, 100):
                samples = [
                    row(T0 + 1000 * i, rows[i, column], name)
                    for i in range(begin, begin + 100)
                    for column, name in enumerate(NAMES)
                ]
                await gateway.publish(gateway.put("pump-1", samples))
            await gateway.drain()
        first, last = (datetime.fromtimestamp(T0 / 1000 + s, UTC).isoformat() for s in (0, 600))
        call = ["train", "--config", str(folder / "pump.yaml"), "--data", host.url, "--asset", "pump-1"]
        call += ["--from", first, "--to", last, "--out", str(tmp_path / "pump.onnx"), "--no-plots"]
        assert await asyncio.to_thread(main, call) == 0, capsys.readouterr().err
        settings = read_settings(folder / "pump.yaml")
        wrong = Asked(host.url, "pump-9", first)
        with pytest.raises(ModelError, match="no asset 'pump-9'; there are: pump-1"):
            await asyncio.to_thread(sources.read, wrong, settings)
        more = settings.model_copy(update={"only_where": "running"})
        with pytest.raises(ModelError, match="asset pump-1 has no tag 'running'; it has: current, flow, pressure"):
            await asyncio.to_thread(sources.read, Asked(host.url, "pump-1", first), more)
        with pytest.raises(ModelError, match="no values of flow, pressure, current in this time"):
            await asyncio.to_thread(sources.read, Asked(host.url, "pump-1", "2020-01-01", "2020-01-02"), settings)
    finally:
        host.stop()
    data = write_csv(tmp_path / "rows.csv", rows)
    of_file = train.train(settings, sources.read(Asked(str(data)), settings), data).manifest
    of_host = read(tmp_path / "pump.onnx")
    assert (of_host.threshold, of_host.inputs) == (of_file.threshold, of_file.inputs)
    assert of_host.training.rows == 600


def test_a_page_that_is_no_host_is_told(settings: Settings, tmp_path: Path) -> None:
    import http.server
    import threading

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(ModelError, match="/api/assets answered 404"):
            sources.read(Asked(f"http://127.0.0.1:{server.server_port}", "pump", "2026-01-01"), settings)
    finally:
        server.shutdown()
        server.server_close()
