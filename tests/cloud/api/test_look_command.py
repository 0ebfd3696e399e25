"""`gaugeline cloud sites | tags | values | series | ledger | disk` ask the running host."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from cloud.cli import main
from tests.cloud.api.conftest import BATCHES, NODES, Plant
from tests.cloud.small_gateway import T0

FLOW = "plant-1/gw-1/pump-1/flow"


@pytest.fixture
def said(plant: Plant, capfdbinary: pytest.CaptureFixture[bytes]):  # type: ignore[no-untyped-def]
    def ask(*words: str) -> tuple[int, str]:
        code = main([words[0], "--url", plant.url, *words[1:]])
        told = capfdbinary.readouterr()
        return code, (told.out + told.err).decode()

    return ask


def test_sites_tags_values_and_ledger_as_tables_and_as_json(said) -> None:  # type: ignore[no-untyped-def]
    code, text = said("sites")
    assert (code, "plant-1" in text, "plant-2" in text, "gone" in text) == (0, True, True, True)
    assert json.loads(said("sites", "--json")[1])[0]["gateways"][0]["balance"]["lost"] == 0
    code, text = said("tags", "--site", "plant-1")
    assert (code, FLOW in text, "bar" in text, "plant-2" in text) == (0, True, True, False)
    assert "BAD (stale)" in text
    assert len(json.loads(said("tags", "--json", "--name", "FLOW")[1])) == 4
    assert "there are more: --limit N or --all" in said("tags", "--limit", "1")[1]
    assert "there are more" not in said("values", "--all")[1]
    code, text = said("values", "--device", "fan-1")
    assert (code, f"{1.0 - BATCHES}" in text) == (0, True)
    assert "no such tag was ever born" in said("values", "--asset", "nothing")[1]
    code, text = said("ledger", "--site", "plant-1", "--gateway", "gw-1", "--epoch", "epoch1", "--numbers", "1", "2")
    assert (code, len(text.splitlines()), "pump-1" in text, "fan-1" in text) == (0, 3, True, True)
    entries = json.loads(said("ledger", "--from", "2023-11-14T22:13:20Z", "--to", "2023-11-14T22:13:21Z", "--json")[1])
    assert {e["first_ms"] for e in entries} == {T0}
    assert "no such batch is stored" in said("ledger", "--epoch", "x")[1]


def test_a_series_as_points_and_every_row_as_csv(said) -> None:  # type: ignore[no-untyped-def]
    time = ("--from", "2023-11-14", "--to", "2023-11-16")
    code, text = said("series", FLOW, *time, "--points", "100")
    assert (code, "source: raw" in text, "2023-11-14T22:13:20.000Z  0.0" in text) == (0, True, True)
    few = json.loads(said("series", FLOW, *time, "--points", "6", "--json")[1])
    assert (few["source"], len(few["v"]) <= 6) == ("15m", True), "from roll-ups"
    assert (min(few["v"]), max(few["v"])) == (0.0, BATCHES - 1.0)
    assert json.loads(said("series", FLOW, *time, "--json")[1])["v"] == [float(i) for i in range(BATCHES)]
    code, text = said("series", FLOW, *time, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (code, [float(r["value"]) for r in rows]) == (0, [float(i) for i in range(BATCHES)])
    assert [int(r["ts_ms"]) for r in rows] == [T0 + 1000 * i for i in range(BATCHES)]
    assert "no samples in this time" in said("series", FLOW)[1]


def test_what_the_database_takes_and_writing_its_file_anew(said) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(said("disk", "--json")[1])
    assert found["rows"] == 2 * BATCHES * len(NODES)
    assert found["bytes_per_million_samples"] * found["rows"] <= found["bytes"] * 1_000_000
    code, text = said("disk", "--compact")
    assert code == 0
    use = rf"[\d.,]+ MB(, [\d.,]+ MB of it empty)?; {found['rows']} samples\n"
    assert re.fullmatch(f"before: {use}after: {use}", text), "so few say nothing of a million"
    assert json.loads(said("disk", "--json")[1])["rows"] == found["rows"]


def test_wrong_calls_are_told(said) -> None:  # type: ignore[no-untyped-def]
    code, text = said("series", "plant-1/gw-1/flow")
    assert (code, "GROUP/GATEWAY/DEVICE/TAG" in text) == (2, True)
    assert "later than" in said("series", FLOW, "--from", "-1h", "--to", "-2h", "--csv")[1]
    assert said("series", FLOW, "--points", "1")[0] == 2
    assert said("tags", "--limit", "0")[0] == 2
    for command in ("sites", "tags", "values", "series", "ledger"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert main([command, *([FLOW] if command == "series" else []), "--url", "http://127.0.0.1:1"]) == 1
    assert main(["series", FLOW, "--csv", "--url", "http://127.0.0.1:1"]) == 1
