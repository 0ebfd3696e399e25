"""The dashboards are what their script makes, are sound, and each of their queries finds data in a real InfluxDB."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from ruamel.yaml import YAML

from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch
from tests.servers import InfluxDB
from wire.block import Quality, Reason, Sample
from wire.ids import NodeId
from wire.tag import Datatype

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))
T0 = 1_700_000_040_000 // 3_600_000 * 3_600_000  # the beginning of an hour
TO = T0 + 3_600_000
TAGS = ("flow", "share/flow (a+b)", "level")
BUILT_IN = {"timeFilter", "__interval", "__all"}


def loaded() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in FILES}


def test_what_is_committed_is_what_the_script_makes(tmp_path: Path) -> None:
    script = runpy.run_path(str(FOLDER / "make.py"))
    assert {path.name: path.read_text() for path in FILES} == script["dashboards"]()
    script["main"](tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_dashboard_is_sound(path: Path) -> None:
    board = json.loads(path.read_text())
    assert {"uid", "title", "panels", "templating", "time", "schemaVersion", "refresh"} <= set(board)
    assert len(board["uid"]) <= 40
    assert re.fullmatch(r"[\w-]+", board["uid"])
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) > 3
    taken: set[tuple[int, int]] = set()
    for p in board["panels"]:
        at = p["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, p["title"]
        taken |= cells
        references = [t["refId"] for t in p["targets"]]
        assert len(references) == len(set(references)) > 0
        assert p["type"] in {"stat", "table", "timeseries", "bargauge"}
    names = [v["name"] for v in board["templating"]["list"]]
    assert len(names) == len(set(names))
    for i, v in enumerate(board["templating"]["list"]):
        used = set(re.findall(r"\$(\w+)", v["query"])) - BUILT_IN
        assert used <= set(names[:i]), "a list is asked for once those before it are known"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) - BUILT_IN
    assert {name for name in used if not name.startswith("tag_")} <= set(names)
    aliases = [(t["alias"], t["query"]) for p in board["panels"] for t in p["targets"]]
    for alias, query in aliases:
        for tag in re.findall(r"\$tag_(\w+)", alias):
            assert f'"{tag}"' in query.rpartition("GROUP BY")[2]


def test_every_panel_asks_the_data_source_that_is_provisioned() -> None:
    sources = YAML(typ="safe").load(FOLDER / "provisioning" / "datasources" / "gaugeline.yaml")["datasources"]
    providers = YAML(typ="safe").load(FOLDER / "provisioning" / "dashboards" / "gaugeline.yaml")["providers"]
    assert [(s["uid"], s["type"], s["jsonData"]["dbName"]) for s in sources] == [("gaugeline", "influxdb", "gaugeline")]
    assert providers[0]["options"]["path"].startswith("/")
    asked = re.findall(r'"datasource": ({[^}]*})', "".join(path.read_text() for path in FILES))
    assert len(asked) > 30
    assert {(s := json.loads(text))["uid"] + s["type"] for text in asked} == {"gaugelineinfluxdb"}
    assert len({board["uid"] for board in loaded().values()}) == len(FILES) == 3


def test_the_line_for_influxdb_2_is_a_data_source_too() -> None:
    text = (FOLDER / "provisioning" / "datasources" / "gaugeline.yaml").read_text()
    commented = text[text.index("  # - name: Gaugeline") :]
    found = YAML(typ="safe").load("datasources:\n" + re.sub(r"^  # ", "  ", commented, flags=re.M))["datasources"]
    assert found[0]["jsonData"]["httpHeaderName1"] == "Authorization"
    assert found[0]["uid"] == "gaugeline"


def rollup(window: str, start_ms: int, node: NodeId, tag: str, owner: int, **fields: str) -> str:
    escaped = tag.replace(" ", "\\ ")
    said = ",".join(f"{name}={value}" for name, value in fields.items())
    where = f"device=pump-1,group={node.group},node={node.node},tag={escaped}"
    return f"rollup_{window},{where} {said} {start_ms * 1_000_000 + owner}"


@pytest.fixture(scope="module")
def database(influxdb: InfluxDB) -> str:
    """An hour of two gateways, written by our store; roll-ups with a row that a newer one has taken the place of."""
    name = f"grafana-{uuid4().hex}"
    lines = asyncio.run(written(influxdb, name))
    answer = httpx.post(f"{influxdb.url}/write", params={"db": name}, content="\n".join(lines), trust_env=False)
    answer.raise_for_status()
    return name


async def written(influxdb: InfluxDB, name: str) -> list[str]:
    """Samples by the store; what is left to write are the lines of the roll-ups."""
    store = InfluxStore(InfluxHttp(influxdb.url, name))
    await store.open()
    reasons = [r for r in Reason if r]
    lines = []
    for node in (NodeId("plant-1", "gw-1"), NodeId("plant-2", "gw-2")):
        samples = []
        for i in range(60):
            quality = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD)[i % 3]
            reason = Reason.NONE if quality is Quality.GOOD else reasons[i // 3 % len(reasons)]
            value = float(i) if quality is not Quality.BAD else None
            samples += [Sample(t, Datatype.FLOAT, T0 + 60_000 * i, quality, value, reason) for t in TAGS]
        assert await store.write([Batch(node, "pump-1", tuple(samples))]) == []
        for window, length_ms in (("1m", 60_000), ("15m", 900_000), ("1h", 3_600_000)):
            for start_ms in range(T0, TO, length_ms):
                for tag in TAGS:
                    old = {
                        "count": "9i",
                        "good": "0i",
                        "num": "9i",
                        "mean": "0",
                        "min": "-99",
                        "max": "999",
                        "last": "0",
                    }
                    new = {"count": "4i", "good": "3i", "num": "4i", "mean": "2", "min": "1", "max": "5", "last": "3"}
                    lines.append(rollup(window, start_ms, node, tag, 3, **old))
                    lines.append(rollup(window, start_ms, node, tag, 7, **new))
    await store.close()
    return lines


def interpolated(text: str, values: dict[str, str]) -> str:
    """As Grafana does with InfluxQL: what stands in a regular expression is escaped by it already."""
    text = text.replace("$timeFilter", f"time >= {T0}ms and time <= {TO - 1}ms").replace("$__interval", "20m")
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    assert "$" not in re.sub(r"\$/", "", text), text
    return text


def quoted(*values: str) -> str:
    escaped = [re.sub(r"([\\^$*+?.()|{}\[\]/])", r"\\\1", v) for v in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def choices() -> Iterator[dict[str, str]]:
    one = {"group": "plant-1", "node": quoted("gw-1"), "device": quoted("pump-1"), "tag": quoted(TAGS[1])}
    yield {**one, "window": "1m"}
    several = {**one, "group": quoted("plant-1", "plant-2"), "node": quoted("gw-1", "gw-2"), "tag": quoted(*TAGS)}
    yield {**several, "window": "15m"}
    yield {**dict.fromkeys(one, ".*"), "window": "1h"}


@pytest.mark.parametrize("values", choices(), ids=["one", "several", "all"])
def test_every_query_finds_data(values: dict[str, str], database: str, influxdb: InfluxDB) -> None:
    asked = 0
    with httpx.Client(base_url=influxdb.url, trust_env=False) as http:

        def rows(text: str) -> list[list[Any]]:
            nonlocal asked
            asked += 1
            answer = http.get("/query", params={"db": database, "q": interpolated(text, values), "epoch": "ms"})
            (result,) = answer.json()["results"]
            assert "error" not in result, (text, result)
            assert result.get("series"), text
            return [row for series in result["series"] for row in series["values"]]

        for board in loaded().values():
            for v in board["templating"]["list"]:
                if v["type"] == "query":
                    assert {row[0] for row in rows(v["query"])} == {v["name"]}
            for p in board["panels"]:
                for t in p["targets"]:
                    found = rows(t["query"])
                    assert any(value is not None for row in found for value in row[1:]), (p["title"], t["query"])
                    if t["alias"] in ("min", "max", "mean"):
                        wanted = {"min": 1, "max": 5, "mean": 2}[t["alias"]]
                        assert {row[1] for row in found} == {wanted}, "of a window the newest row counts"
                    if p["title"] == "Share of GOOD samples":
                        assert {row[1] for row in found} == {75}
                    if p["title"] == "Gateways that delivered":
                        assert found[0][1] == (1 if values["group"] == "plant-1" else 2)
                    if p["title"] == "Samples in each interval":
                        per_window = 4 * len(TAGS)
                        n = {"1m": 60, "15m": 4, "1h": 1}[values["window"]]
                        gateways = 1 if values["group"] == "plant-1" else 2
                        assert sum(row[1] for row in found) == per_window * n * gateways
    assert asked > 30
