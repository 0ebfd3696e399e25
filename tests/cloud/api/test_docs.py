"""The examples of docs/api.md work as they stand there, but for the host's port."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from cloud.cli import main
from tests.cloud.api.conftest import BATCHES, Plant
from tests.cloud.hosts import ROOT
from tests.cloud.small_gateway import T0

PAGE = (ROOT / "docs" / "api.md").read_text()
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


def test_every_route_stands_on_the_page(plant: Plant) -> None:
    paths = httpx.get(f"{plant.url}/openapi.json", trust_env=False).json()["paths"]
    nouns = {"/".join(path.split("/")[:3]) for path in paths}
    assert {noun for noun in nouns if noun not in PAGE} == set()


def test_the_examples_with_curl_give_what_the_page_says(plant: Plant, tmp_path: Path) -> None:
    found = {}
    for line in (line for line in LINES if line.startswith("curl")):
        words = shlex.split(line.replace("http://127.0.0.1:8080", plant.url))
        if "-N" in words:
            words += ["--max-time", "2"]
        answer = subprocess.run(
            [*words, "--fail-with-body", "--silent", "--show-error", "--noproxy", "*"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == (28 if "-N" in words else 0), (line, answer.stdout, answer.stderr)
        found[re.search(r"/api/([\w-]+)", line)[1]] = answer.stdout  # type: ignore[index]
    assert len(found) >= 8
    assert json.loads(found["series"])["v"] == [float(i) for i in range(BATCHES)]
    windows = json.loads(found["aggregates"])["windows"]
    assert [(w["count"], w["min"], w["max"]) for w in windows] == [(BATCHES, 0.0, BATCHES - 1.0)]
    assert len(json.loads(found["tags"])["items"]) == 2
    assert json.loads(found["dead-letters"])["items"][0]["kind"] == "sample"
    assert found["events"].startswith("event: live\n")
    with (tmp_path / "flow.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["ts_ms"]) for row in rows] == [T0 + 1000 * i for i in range(BATCHES)]
    with pa.OSFile(str(tmp_path / "flow.arrow")) as source:
        table = pa.ipc.open_stream(source).read_all()
    assert table.column("value").to_pylist() == [float(row["value"]) for row in rows]


def test_the_commands_of_the_page_answer(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    asked = 0
    for line in (line for line in LINES if line.startswith("gaugeline")):
        words = shlex.split(line)[2:]
        assert main([words[0], "--url", plant.url, *words[1:]]) == 0
        asked += 1
        assert capsys.readouterr().out
    assert asked == 5
