"""The demo machine's model: rebuilt to the same bytes from the simulator, and right where it matters."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from models import history, runtime
from models.cli import main
from models.manifest import read
from models.runtime import Score

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "models/packaged"
# NAB labels 2014-02-07 14:55 to 2014-02-09 14:05; a row is five minutes: rows 245 to 812 of the demo.


def exported(out: Path, begin: str, rows: int) -> Path:
    call = ["gaugeline.py", "sim", "export", "demo", "--device", "machine-plc"]
    call += ["--rows", str(rows), "--from", begin, "--out", str(out)]
    subprocess.run([sys.executable, *call], cwd=ROOT, check=True, capture_output=True)
    return out


def scores(data: Path) -> list[Score]:
    model = runtime.load(PACKAGED / "demo_machine.onnx")
    running = model.start()
    return [running.score(row) for row in history.read_csv(data, "t_s", model.manifest.input_names).rows]


def raised_at(course: list[Score]) -> list[int]:
    flags = [False, *(each.anomaly for each in course)]
    return [i for i in range(len(course)) if flags[i + 1] and not flags[i]]


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("week") / "normal.csv", "2014-01-30 00:00", 2016)


def test_it_is_rebuilt_to_the_same_bytes(week: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo_machine.onnx"
    config = str(PACKAGED / "demo_machine.yaml")
    assert main(["train", "--config", config, "--data", str(week), "--out", str(out), "--no-plots"]) == 0
    assert out.read_bytes() == (PACKAGED / "demo_machine.onnx").read_bytes()
    assert out.with_suffix(".md").read_bytes() == (PACKAGED / "demo_machine.md").read_bytes()


def test_it_takes_what_the_demo_site_gives() -> None:
    said = read(PACKAGED / "demo_machine.onnx")
    assert [(each.name, each.unit) for each in said.inputs] == [
        ("temperature", "[degF]"),
        ("motor_current", "A"),
        ("vibration_rms", "mm/s"),
        ("speed_rpm", "1/min"),
    ]
    assert said.period_s == 0.1
    assert said.warm_up_rows <= 50


def test_its_source_names_the_command_that_made_its_data(week: Path) -> None:
    said = read(PACKAGED / "demo_machine.onnx").training
    assert 'gaugeline sim export demo --device machine-plc --rows 2016 --from "2014-01-30 00:00"' in said.source
    assert said.sha256 == history.read_csv(week, "t_s", []).sha256


def test_the_day_and_a_half_before_the_failure_has_no_false_alarm(tmp_path: Path) -> None:
    """2014-02-06 00:00 to 02-07 14:55: not in the training, and a cool-down to 56 degF in it."""
    course = scores(exported(tmp_path / "before.csv", "2014-02-06 00:00", 467))
    assert raised_at(course) == []


def test_in_the_demo_the_failure_latches_within_40_s_inside_the_labelled_window(tmp_path: Path) -> None:
    """As the demo plays it: from 2014-02-06 18:30, ten rows a second."""
    course = scores(exported(tmp_path / "demo.csv", "2014-02-06 18:30", 3_700))
    label = range(245, 812)
    raised = raised_at(course)
    assert len(raised) == 1
    assert raised[0] in label
    assert raised[0] / 10 < 40
    assert all(each.anomaly for each in course[raised[0] : label.stop - 20])
    # The tag that failed is the one that is blamed first.
    assert course[raised[0]].shares.argmax() == 0
    assert course[raised[0]].deviations[0] < -2


def test_on_weeks_that_it_has_not_seen_it_keeps_its_rate(tmp_path: Path) -> None:
    """2014-01-06 20:00 to 01-26, no labelled failure: 2.8 alarms are due, one standstill is found."""
    data = exported(tmp_path / "january.csv", "2014-01-06 20:00", 5_600)
    with data.open() as file:
        running = [row["running"] == "1" for row in csv.DictReader(file)]
    course = scores(data)
    raised = raised_at(course)
    assert len(raised) <= 3
    assert any(not all(running[at : at + 30]) for at in raised)
