"""Folders that nobody has seen: what lies beside the recordings, how programs have saved them, what is not in them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models import runtime
from models.evaluate import cmapss, nab, skab
from tests.models.single_series import rhythm
from tests.models.test_evaluate_nab import text
from tests.models.test_evaluate_skab import alarms_of, pump_rows, write
from wire.errors import ConfigError, ModelError

FAULT = slice(550, 650)


def judged(folder: Path, content: str, name: str = "valve1/0.csv") -> tuple[list[str], list[int]]:
    """The alarms of one file with this content."""
    (folder / "data" / name).parent.mkdir(parents=True)
    (folder / "data" / name).write_text(content, newline="")
    (only,) = skab.run(folder / "data", folder / "out")
    assert only.rows == 300
    return alarms_of(folder / "out" / only.file)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("published") / "0.csv"
    write(file, pump_rows(700, 1, FAULT), FAULT)
    return file.read_text()


@pytest.fixture(scope="module")
def usual(published: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[int]]:
    found = judged(tmp_path_factory.mktemp("usual"), published)
    assert 80 < sum(found[1]) < 200
    return found


def turned(content: str) -> str:
    """The columns from the last to the first."""
    return "\n".join(";".join(line.split(";")[::-1]) for line in content.splitlines())


def without(content: str, rows: range, cell: str, column: int = 4) -> str:
    """With another cell in these rows."""
    lines = [line.split(";") for line in content.splitlines()]
    for i in rows:
        lines[i + 1][column] = cell
    return "\n".join(";".join(cells) for cells in lines)


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param(turned, id="columns in another order"),
        pytest.param(lambda content: content.replace(";", ","), id="commas"),
        pytest.param(lambda content: content.replace(";", "\t"), id="tabs"),
        pytest.param(lambda content: content.replace("\n", "\r\n") + "\r\n  \r\n", id="CRLF and empty lines"),
        pytest.param(lambda content: "\ufeff" + content.replace("anomaly", "label"), id="byte order mark, no labels"),
        pytest.param(lambda content: without(content, range(450, 460), "", 9), id="labels with holes"),
    ],
)
def test_what_a_program_made_of_a_recording_changes_no_alarm(
    published: str, usual: tuple[list[str], list[int]], tmp_path: Path, saved: Callable[[str], str]
) -> None:
    assert judged(tmp_path, saved(published)) == usual


def test_a_recording_may_lie_in_the_folder_itself(
    published: str, usual: tuple[list[str], list[int]], tmp_path: Path
) -> None:
    assert judged(tmp_path, published, "7.csv") == usual


def test_what_else_lies_in_the_folder_is_passed_over_and_told(
    published: str, usual: tuple[list[str], list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for junk in ("valve2/._0.csv", ".ipynb_checkpoints/0.csv", "__MACOSX/valve1/0.csv"):
        (data / junk).parent.mkdir(parents=True)
        (data / junk).write_bytes(b"\xff\xfe\x00")
    (data / "leaderboard.csv").write_text("algorithm,f1\n")
    assert judged(tmp_path, published) == usual
    assert f"warning: {data / 'leaderboard.csv'}: passed over, it has no column datetime" in capsys.readouterr().err
    # The alarms of the last run are no recordings, wherever they lie.
    (again,) = skab.run(data, data / "out")
    (again,) = skab.run(data, data / "out")
    assert again.file == "valve1/0.csv"


def test_a_packed_twin_of_a_recording_is_told(published: str, tmp_path: Path) -> None:
    (tmp_path / "valve1").mkdir()
    (tmp_path / "valve1/0.csv").write_text(published)
    (tmp_path / "valve1/0.csv.gz").write_bytes(gzip.compress(published.encode()))
    with pytest.raises(ModelError, match=r"0\.csv\.gz: valve1/0\.csv lies beside it"):
        list(skab.run(tmp_path, tmp_path / "out"))


@pytest.mark.parametrize("cell", ["", "NA", "nan", "inf", "null"])
def test_a_sensor_that_fails_later_leaves_no_row_unjudged_and_the_fault_is_found(
    published: str, tmp_path: Path, cell: str
) -> None:
    _times, alarms = judged(tmp_path, without(published, range(420, 700), cell))
    assert sum(alarms[:140]) == 0 and sum(alarms[150:250]) > 80


def test_a_sensor_without_values_is_left_out_and_told(
    published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _times, alarms = judged(tmp_path, without(published, range(700), ""))
    assert "warning: valve1/0.csv: judged without Pressure" in capsys.readouterr().err
    assert runtime.load(tmp_path / "out/valve1/0.onnx").manifest.input_names == tuple(
        name for name in skab.COLUMNS if name != "Pressure"
    )
    assert sum(alarms[150:250]) > 80


def test_a_recording_without_any_value_is_told(published: str, tmp_path: Path) -> None:
    lines = [line.split(";") for line in published.splitlines()]
    empty = "\n".join(";".join([cells[0], *[""] * (len(cells) - 1)]) for cells in lines[1:])
    with pytest.raises(ModelError, match=r"valve1/0\.csv: no column has values in the first 400 rows"):
        judged(tmp_path, ";".join(lines[0]) + "\n" + empty)


def test_a_pump_that_stands_still_gives_no_alarm(published: str, tmp_path: Path) -> None:
    head, first, *others = published.splitlines()
    still = [";".join([line.split(";")[0], *first.split(";")[1:]]) for line in (first, *others)]
    assert sum(judged(tmp_path, "\n".join([head, *still]))[1]) == 0


def series(folder: Path, content: str, name: str = "g/x.csv") -> str:
    """The scores of one series with this content."""
    file = folder / "data" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, newline="")
    assert nab.run(folder / "data", folder / "out") == 0
    return (folder / "out" / name).read_text()


def test_a_series_with_other_columns_beside_is_read_by_their_names(tmp_path: Path) -> None:
    plain = text(rhythm(700, 2))
    head, *rows = plain.splitlines()
    assert head == "timestamp,value"
    wider = "\r\n".join(["label,value,timestamp", *(f"0,{row.split(',')[1]},{row.split(',')[0]}" for row in rows), " "])
    assert series(tmp_path / "wider", wider) == series(tmp_path / "plain", plain)


def test_a_table_among_the_series_is_passed_over_and_a_result_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/.cache").mkdir(parents=True)
    (tmp_path / "data/.cache/x.csv").write_bytes(b"\xff")
    (tmp_path / "data/notes.csv").write_text("name,unit\n")
    series(tmp_path, text(rhythm(700, 2)))
    assert "notes.csv:1: the header must be timestamp,value (got 'name,unit'): passed over" in capsys.readouterr().err
    (tmp_path / "data/g/x.csv").unlink()
    with pytest.raises(ConfigError, match="the header must be"):
        nab.run(tmp_path / "data", tmp_path / "out")
    (tmp_path / "data/r.csv").write_text("timestamp,value,anomaly_score,label\n")
    with pytest.raises(ConfigError, match=r"r\.csv:1: the header must be timestamp,value"):
        nab.run(tmp_path / "data", tmp_path / "out")


@pytest.mark.parametrize("wild", [1e19, 1e38, 1e300, -1e300])
def test_a_wild_value_leaves_no_score_that_is_none(tmp_path: Path, wild: float) -> None:
    values = rhythm(900, 2)
    values[700] = wild
    scores = [line.split(",")[1] for line in series(tmp_path, text(values)).splitlines()[1:]]
    assert len(scores) == 900 and float(scores[700]) > 0.04
    assert all(np.isfinite(float(score)) for score in scores)
    assert any(float(score) > 0.04 for score in scores[701:])


def test_a_package_that_is_damaged_inside_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"1 1 " * 500))
    packed[12:30] = b"\xff" * 18
    (tmp_path / "train.txt.gz").write_bytes(bytes(packed))
    with pytest.raises(ModelError, match="cannot be read"):
        cmapss.read(tmp_path / "train.txt.gz")


def test_a_place_for_predictions_that_is_a_folder_is_told_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "FD001.csv").mkdir()
    with pytest.raises(ModelError, match="cannot be written"):
        cmapss.run(tmp_path / "train.txt", tmp_path / "test.txt", tmp_path / "FD001.csv")
