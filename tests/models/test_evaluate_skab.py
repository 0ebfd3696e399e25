"""`gaugeline models evaluate skab`: on a made-up folder always, on the real data where it is at hand."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from models import cli, runtime
from models.evaluate import skab
from models.evaluate.skab_figures import rates
from wire.block import FloatArray
from wire.errors import ModelError

HEADER = ["datetime", *skab.COLUMNS]
REAL = Path(os.environ.get("GAUGELINE_BENCHMARK_DATA", Path(__file__).parents[3] / "shared" / "data")) / "skab"
CENTRES = np.array([0.03, 0.04, 1.0, 0.1, 70.0, 25.0, 230.0, 32.0])
NOISE = np.array([3e-4, 4e-4, 0.2, 0.2, 0.3, 0.02, 8.0, 0.4])


def pump_rows(n: int, seed: int, fault: slice | None = None) -> FloatArray:
    """Eight sensors of a made-up pump; in a fault the flow falls by two litres a minute."""
    rows = CENTRES + NOISE * np.random.default_rng(seed).normal(size=(n, 8))
    if fault is not None:
        rows[fault, 7] -= 2.0
    return rows


def write(path: Path, rows: FloatArray, fault: slice | None = None) -> None:
    """As SKAB writes it; with labels where there is a fault."""
    truth = np.zeros(len(rows), int)
    if fault is not None:
        truth[fault] = 1
    begin = datetime(2020, 3, 9, 10, 0, 0)
    lines = [";".join([*HEADER, *(["anomaly", "changepoint"] if fault else [])])]
    for i, row in enumerate(rows):
        labels = [f"{truth[i]}.0", "0.0"] if fault else []
        lines.append(";".join([str(begin + timedelta(seconds=i)), *(f"{x:.6g}" for x in row), *labels]))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skab")
    fault = slice(550, 650)
    write(folder / "valve1" / "0.csv.gz", pump_rows(800, 1, fault), fault)
    write(folder / "anomaly-free" / "part1.csv", pump_rows(700, 2))
    (folder / "leaderboard.csv").write_text("algorithm,f1\n")
    return folder


def alarms_of(file: Path) -> tuple[list[str], list[int]]:
    with file.open(newline="") as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["datetime", "alarm"]
    return [row[0] for row in rows[1:]], [int(row[1]) for row in rows[1:]]


def test_every_row_after_the_calibration_is_judged_and_the_fault_is_found(data: Path, tmp_path: Path) -> None:
    free, valve = list(skab.run(data, tmp_path))
    assert (free.file, valve.file) == ("anomaly-free/part1.csv", "valve1/0.csv")
    times, alarms = alarms_of(tmp_path / "valve1" / "0.csv")
    assert (times[0], len(times)) == ("2020-03-09 10:06:40", 400)
    assert not any(alarms[:150])
    assert all(alarms[160:250])
    assert not any(alarms[290:])
    assert (free.rows, free.alarm_rows, free.counts) == (300, 0, None)
    assert (valve.rows, valve.alarms) == (400, 1)
    assert valve.counts is not None
    assert valve.counts.hits + valve.counts.missed == 100
    assert valve.counts.hits + valve.counts.false == valve.alarm_rows == sum(alarms)
    assert valve.counts.hits > 90


def test_the_file_beside_the_alarms_gives_them_again_with_the_shipped_runtime(data: Path, tmp_path: Path) -> None:
    list(skab.run(data, tmp_path))
    model = runtime.load(tmp_path / "valve1" / "0.onnx")
    running, rows = model.start(), pump_rows(800, 1, slice(550, 650))
    again = [int(running.score(np.round(row, 12)).anomaly) for row in rows[340:]][60:]
    assert again == alarms_of(tmp_path / "valve1" / "0.csv")[1]
    assert model.manifest.baseline == skab.BASELINE
    assert model.manifest.input_names == tuple(skab.COLUMNS)


def test_labels_and_what_comes_later_change_no_alarm(data: Path, tmp_path: Path) -> None:
    rows = pump_rows(800, 1, slice(550, 650))
    write(tmp_path / "data" / "valve1" / "0.csv", rows[:620], slice(10, 20))
    list(skab.run(data, tmp_path / "whole"))
    list(skab.run(tmp_path / "data", tmp_path / "cut"))
    whole, cut = (alarms_of(tmp_path / name / "valve1" / "0.csv")[1] for name in ("whole", "cut"))
    assert cut == whole[:220]


def test_a_dropped_start_is_neither_fitted_nor_judged(data: Path, tmp_path: Path) -> None:
    list(skab.run(data, tmp_path, drop=80))
    times, alarms = alarms_of(tmp_path / "valve1" / "0.csv")
    assert (times[0], len(times)) == ("2020-03-09 10:08:00", 320)
    assert all(alarms[80:170])


def test_json_counts_over_all_labelled_files(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "skab", "--data", str(data), "--out", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    free, valve = said["per_file"]
    assert said["f1"] == valve["f1"] > 0.9
    assert said["mar"] == pytest.approx(100 * valve["missed"] / 100)
    assert said["far"] == pytest.approx(100 * valve["false"] / 300, abs=1e-4)
    assert (free["f1"], free["alarm_percent"], said["drop"]) == (None, 0.0, 0)
    assert said["model_bytes"] > 1000


def test_the_text_names_each_file_and_the_whole(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "skab", "--data", str(data), "--out", str(tmp_path), "--drop", "40"]) == 0
    told = capsys.readouterr().out
    assert "anomaly-free/part1.csv" in told
    assert "all labelled files: F1 0.9" in told


def test_missing_values_are_passed_over(tmp_path: Path) -> None:
    rows = pump_rows(700, 3)
    rows[[100, 500], [2, 3]] = np.nan
    write(tmp_path / "data" / "other" / "2.csv", rows)
    text = (tmp_path / "data" / "other" / "2.csv").read_text()
    (tmp_path / "data" / "other" / "2.csv").write_text(text.replace("nan", ""))
    (judged,) = skab.run(tmp_path / "data", tmp_path / "out")
    assert (judged.rows, judged.alarm_rows) == (300, 0)


def test_a_folder_that_is_not_there_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        list(skab.run(tmp_path / "nowhere", tmp_path))
    with pytest.raises(ModelError, match=r"no group/n\.csv"):
        list(skab.run(tmp_path, tmp_path / "out"))
    with pytest.raises(ModelError, match="would replace the recordings"):
        list(skab.run(tmp_path, tmp_path))


def test_too_few_rows_name_the_files_and_how_many_are_needed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"anomaly-free/part1.csv has 700; needed are more than 750 \(350 to drop"):
        list(skab.run(data, tmp_path, drop=350))


def test_without_the_packages_of_training_it_says_what_to_install(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert cli.main(["evaluate", "skab", "--data", str(data), "--out", str(tmp_path)]) == 1
    assert "pip install 'gaugeline[train]'" in capsys.readouterr().err


def test_a_negative_drop_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "skab", "--data", str(data), "--out", str(tmp_path), "--drop", "-1"]) == 1
    assert "--drop must be 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("datetime;Current\n", "no column 'Accelerometer1RMS'"),
        ("datetime,Current\n", "separated by semicolons, commas or tabs"),
        (";".join(HEADER) + "\n2020-03-09 10:00:00;1;2\n", "3 columns, the header has 9"),
        (
            ";".join(HEADER) + "\n2020-03-09 10:00:00;a;1;1;1;1;1;1;1\n",
            "Accelerometer1RMS: must be a number with a decimal point, or empty",
        ),
        (";".join(HEADER) + "\nyesterday;1;1;1;1;1;1;1;1\n", "must be a time such as"),
        (";".join(HEADER) + "\n", "1.csv has 0; needed are more than 400"),
    ],
)
def test_a_file_that_is_no_recording_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.csv").write_text(text)
    with pytest.raises(ModelError, match=told):
        list(skab.run(tmp_path, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("1.csv.gz", gzip.compress(b"datetime;")[:-4], "cannot be read", id="cut"),
        pytest.param("1.csv.gz", gzip.compress(b"datetime;" * 99)[:20] + b"\xff" * 40, "cannot be read", id="damaged"),
        pytest.param("1.csv", b"\xff\xfe;", "not a CSV file in UTF-8", id="utf-16"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_bytes(content)
    with pytest.raises(ModelError, match=told):
        list(skab.run(tmp_path, tmp_path / "out"))


def test_an_out_that_cannot_be_written_is_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ModelError, match="cannot be written"):
        list(skab.run(data, tmp_path / "out"))


def test_a_calibration_full_of_holes_says_how_many_rows_it_needs() -> None:
    rows = pump_rows(400, 1)
    rows[150:, 0] = np.nan
    with pytest.raises(ModelError, match=r"of its first 400 rows 150 are whole; it needs 220 rows \(got 150\)"):
        skab.model_of(rows, 1.0, "other/2.csv")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the SKAB data is not at {REAL} (GAUGELINE_BENCHMARK_DATA)")
def test_two_files_of_the_real_benchmark(tmp_path: Path) -> None:
    for name in ("valve1/4.csv.gz", "other/9.csv.gz"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        shutil.copy(REAL / name, tmp_path / "data" / name)
    judged = list(skab.run(tmp_path / "data", tmp_path / "out"))
    found = rates(judged)
    assert [each.alarms for each in judged] == [1, 1]
    assert (found["f1"] or 0.0) > 0.94
    assert (found["far"] or 0.0) < 10.0
