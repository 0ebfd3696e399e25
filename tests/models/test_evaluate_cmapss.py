"""The turbofan benchmark: from two files to predictions through the exported file, and a word for a wrong file."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from models import life
from models.evaluate import cmapss
from models.life_train import Plan
from tests.models.lives import QUICK, cut, engines, write
from wire.errors import ModelError

REAL = Path(os.environ.get("GAUGELINE_BENCHMARK_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cmapss"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """train and test, the second one packed; unit 2 of the test has only four rows."""
    folder = tmp_path_factory.mktemp("cmapss")
    lives, _ = cut(engines(12, seed=2), seed=3)
    lives[2] = lives[2][:4]
    return write(engines(30, seed=1), folder / "train_FD009.txt"), write(lives, folder / "test_FD009.txt.gz")


@pytest.fixture(scope="module")
def predictions(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "FD009.csv"
    assert cmapss.run(*files, out, plan=QUICK) == 0
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def test_every_test_unit_gets_one_line_with_its_interval(predictions: Path) -> None:
    said = rows_of(predictions)
    assert list(said[0]) == ["unit", "rul", "lower", "upper"]
    assert [row["unit"] for row in said] == [str(unit) for unit in range(1, 13)]
    assert all(0 <= float(row["lower"]) <= float(row["rul"]) <= float(row["upper"]) for row in said)


def test_the_predictions_are_those_of_the_file_beside_them(files: tuple[Path, Path], predictions: Path) -> None:
    model = life.load(predictions.with_suffix(".onnx"))
    assert model.manifest.name == "cmapss_fd009"
    assert model.manifest.training.source == "train_FD009.txt"
    lives = cmapss.read(files[1])
    for row in rows_of(predictions):
        assert float(row["rul"]) == pytest.approx(model.after(lives[int(row["unit"])]).rul, abs=0.006)


def test_it_says_how_good_it_is_and_which_unit_is_too_short(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cmapss.run(*files, tmp_path / "a.csv", as_json=True, plan=QUICK)
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["units"] == 12
    assert report["short_units"] == [2]
    assert report["regimes"] == 1
    assert report["model_bytes"] == (tmp_path / "a.onnx").stat().st_size < 100_000
    assert report["held_out"]["units"] == 30
    assert "unit 2 has only 4 rows, 8 are needed" in said.err


def test_the_truth_is_never_looked_for(files: tuple[Path, Path], predictions: Path, tmp_path: Path) -> None:
    for each in files:
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / "RUL_FD009.txt").write_text("no numbers here\n")
    cmapss.run(*(tmp_path / each.name for each in files), tmp_path / "b.csv", plan=QUICK)
    assert (tmp_path / "b.csv").read_text() == predictions.read_text()


def test_the_sub_command_says_what_it_needs(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    cmapss.add_to(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["cmapss", "--help"])
    help_text = capsys.readouterr().out
    assert "unit,rul,lower,upper" in help_text
    call = parser.parse_args(
        ["cmapss", "--train", str(tmp_path / "none.txt"), "--test", str(files[1]), "--out", str(tmp_path / "c.csv")]
    )
    with pytest.raises(ModelError, match=r"none\.txt: cannot be read: No such file"):
        call.run(call)


def test_called_alone_it_tells_what_is_wrong_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["cmapss", "--train", str(tmp_path / "none.txt"), "--test", "x", "--out", str(tmp_path / "c.csv")]
    assert cmapss.main(call) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_gateway_without_what_training_needs_is_told_how_to_get_it(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ModelError, match=r"pip install 'gaugeline\[train\]'"):
        cmapss.run(*files, tmp_path / "d.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1 1 0 0 100\n", r"a\.txt:1: 5 columns, expected 26"),
        ("1 1 " + "x " * 24 + "\n", r"a\.txt:1: must hold numbers only"),
        ("1 1 " + "0 " * 24 + "\n1 3 " + "0 " * 24 + "\n", r"a\.txt:2: unit 1 has cycle 3 after 1 rows"),
        ("\n", "no rows"),
        ("é", "not a text file"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=words):
        cmapss.read(tmp_path / "a.txt")


def test_a_cut_off_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"1 1 0 0 100\n" * 50)[:-20])
    with pytest.raises(ModelError, match="cannot be read"):
        cmapss.read(tmp_path / "a.txt.gz")


@pytest.mark.parametrize(("out", "words"), [("a.txt", "must end in .csv"), ("no/a.csv", "there is no folder")])
def test_a_place_that_cannot_be_written_is_told_first(
    files: tuple[Path, Path], out: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        cmapss.run(*files, tmp_path / out)


def test_missing_values_are_read_as_missing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 1 " + "nan " * 23 + "inf\n")
    assert np.isnan(cmapss.read(tmp_path / "a.txt")[1]).all()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the C-MAPSS files are not in {REAL} (GAUGELINE_BENCHMARK_DATA)")
def test_nasas_engines_are_told_well_even_by_a_hurried_model(tmp_path: Path) -> None:
    hurried = Plan(caps=(0.84,), nets=3, trial_nets=1, hidden=(12, 8), rounds=12, copies=0, folds=3, most_rows=6000)
    out = tmp_path / "FD001.csv"
    cmapss.run(REAL / "train_FD001.txt.gz", REAL / "test_FD001.txt.gz", out, plan=hurried)
    said = rows_of(out)
    true = np.loadtxt(REAL / "RUL_FD001.txt")
    error = np.array([float(row["rul"]) for row in said]) - true
    assert float(np.sqrt((error**2).mean())) < 17.0
    inside = [float(row["lower"]) <= left <= float(row["upper"]) for row, left in zip(said, true, strict=True)]
    assert 0.8 <= np.mean(inside) <= 1.0
