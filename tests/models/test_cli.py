"""`gaugeline models` as a person types it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.cli import main
from models.manifest import read
from tests.models.conftest import normal_rows, write_csv

ROOT = Path(__file__).parents[2]


def train(folder: Path, out: Path, data: str = "normal.csv") -> int:
    call = ["train", "--config", str(folder / "pump.yaml"), "--data", str(folder / data), "--out", str(out)]
    return main([*call, "--no-plots"])


def test_train_writes_the_file_and_its_card(
    folder: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder, tmp_path / "pump.onnx") == 0
    assert (tmp_path / "pump.onnx").read_bytes() == model_file.read_bytes()
    assert (tmp_path / "pump.md").read_text().startswith("# pump_1, version 1")
    told = capsys.readouterr().out
    assert f"threshold {read(model_file).threshold:g} for one false alarm per 5000 rows" in told
    assert "held out: " in told


def test_inspect_shows_what_the_file_says(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model_file)]) == 0
    told = capsys.readouterr().out
    for word in ("pump_1 version 1", "flow [m3/h]", "one false alarm per 5000 rows", "SHA-256", "signature     none"):
        assert word in told


def test_inspect_json_can_be_read_by_programs(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model_file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in said["inputs"]] == ["flow", "pressure", "current"]
    assert said["threshold"] == read(model_file).threshold


def test_score_writes_a_line_a_row_and_tells_its_alarms(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = normal_rows(300, seed=12)
    rows[100:150, 0] -= 15
    rows[200, 1] = np.nan
    data = write_csv(tmp_path / "rows.csv", rows)
    assert main(["score", str(model_file), "--data", str(data)]) == 0
    told = capsys.readouterr()
    lines = list(csv.DictReader(told.out.splitlines()))
    assert len(lines) == 300
    assert [line["warming"] for line in lines[:11]] == ["1"] * 10 + ["0"]
    assert 100 < next(i for i, line in enumerate(lines) if line["anomaly"] == "1") < 110
    assert lines[200]["score"] != "" and lines[200]["share/pressure"] == ""
    assert float(lines[200]["threshold"]) < float(lines[199]["threshold"])
    assert "flow 35 % lower than current and pressure suggest (85 % of the score)" in told.err
    assert "ended at" in told.err
    assert told.err.endswith("300 rows, 1 alarms\n")
    assert main(["score", str(model_file), "--data", str(data), "--language", "zh"]) == 0
    assert "flow 比根据 current 和 pressure 推算的值低 35 %（占得分的 85 %）" in capsys.readouterr().err


def test_an_alarm_that_has_not_ended_is_said_to_be_on(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_csv(tmp_path / "rows.csv", normal_rows(60, seed=12) - np.array([15, 0, 0]))
    assert main(["score", str(model_file), "--data", str(data)]) == 0
    assert capsys.readouterr().err.endswith("1 alarms, the last one still on\n")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "--config", "gone.yaml", "--data", "x.csv", "--out", "x.onnx"], "error: gone.yaml: cannot be read"),
        (["train", "--config", "{}/pump.yaml", "--data", "gone.csv", "--out", "x.onnx"], "error: gone.csv: cannot be"),
        (["train", "--config", "{}/pump.yaml", "--data", "x.csv", "--out", "x.bin"], "must end in .onnx"),
        (["train", "--config", "{}/pump.yaml", "--data", "x.csv", "--out", "no/x.onnx"], "there is no folder no"),
        (["inspect", "{}/pump.yaml"], "pump.yaml: not an ONNX file, or a truncated one"),
        (["inspect", "pump_7"], "error: model 'pump_7': no such file in ., and no packaged model of that name"),
        (["score", "{}/pump.onnx", "--data", "gone.csv"], "error: gone.csv: cannot be read"),
    ],
)
def test_a_users_fault_is_told_in_a_line_without_traceback(
    model_file: Path, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([each.format(model_file.parent) for each in arguments]) == 1
    told = capsys.readouterr()
    assert word in told.err
    assert told.out == ""


def test_all_faults_of_a_configuration_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pump.yaml").write_text("name: a\nsource: b\nperiod_s: 0\ncolour: red\n")
    assert train(tmp_path, tmp_path / "x.onnx") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"error: {tmp_path}/pump.yaml:") for line in lines)


def test_a_wrong_call_is_2_and_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        main(["train"])
    assert wrong.value.code == 2
    with pytest.raises(SystemExit) as asked:
        main(["train", "--help"])
    assert asked.value.code == 0
    assert "false_alarm_every_rows" in capsys.readouterr().out


def test_the_configuration_that_help_shows_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from models.settings import read_settings

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out.split("A configuration:\n")[1].split("\noptions:")[0]
    (tmp_path / "help.yaml").write_text("\n".join(line.removeprefix("  ") for line in shown.splitlines()) + "\n")
    assert read_settings(tmp_path / "help.yaml").only_where == "running"


def test_without_onnx_training_says_what_to_install(folder: Path) -> None:
    call = ["train", "--config", str(folder / "pump.yaml"), "--data", str(folder / "normal.csv"), "--out", "x.onnx"]
    code = f"import sys; sys.modules['onnx'] = None; from models.cli import main; sys.exit(main({call!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == (
        "error: this needs the package 'onnx': pip install 'gaugeline[train]' (scoring does not need it)\n"
    )


def test_a_reader_that_stops_early_is_no_fault(model_file: Path, folder: Path) -> None:
    call = [sys.executable, "gaugeline.py", "models", "score", str(model_file), "--data", str(folder / "normal.csv")]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as scoring:
        assert scoring.stdout is not None
        assert scoring.stderr is not None
        scoring.stdout.readline()
        scoring.stdout.close()
        assert b"Traceback" not in scoring.stderr.read()
