"""Reading rows from CSV files as people have them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.history import check_period, read_csv
from wire.errors import ModelError


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "d.csv"
    path.write_text(text)
    return path


def test_columns_come_in_the_order_asked_for_with_holes_as_nan(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "b,t_s,a\n1,0,10\n,1,20\n3,2,inf\n\n")
    found = read_csv(path, "t_s", ["a", "b"])
    np.testing.assert_array_equal(found.rows, [[10, 1], [20, np.nan], [np.nan, 3]])
    assert found.times == ("0", "1", "2")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_clock_times_count_in_seconds(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "timestamp,a\n2014-03-30 01:55:00,1\n2014-03-30 02:00:00,2\n2014-03-30T02:05:00+00:00,3\n")
    assert np.diff(read_csv(path, "timestamp", ["a"]).seconds).tolist() == [300, 300]


def test_stretches_end_at_holes_and_at_gaps_in_time(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "t_s,a\n0,1\n1,2\n2,\n3,4\n9,5\n10,6\n10.9,7\n")
    pieces = read_csv(path, "t_s", ["a"]).pieces(1.0)
    assert [piece[:, 0].tolist() for piece in pieces] == [[1, 2], [4], [5, 6, 7]]


def test_rows_to_leave_out_are_left_out(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "t_s,a,running\n0,1,1\n1,2,0\n2,3,true\n3,4,False\n4,5,\n")
    found = read_csv(path, "t_s", ["a"], only_where="running")
    np.testing.assert_array_equal(found.rows[:, 0], [1, np.nan, 3, np.nan, np.nan])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", r"d\.csv:1: no column 't_s', 'a'; the file has: nothing"),
        ("t_s,b\n0,1\n", r"no column 'a'; the file has: t_s, b"),
        ("t_s,a\n", "a header, but no rows"),
        ("t_s,a\n0,1,2\n", r"d\.csv:2: 3 columns, the header has 2"),
        ("t_s,a\n0,1\n1,high\n", r"d\.csv:3: a: must be a number or empty \(got 'high'\)"),
        ("t_s,a\nnoon,1\n", r"d\.csv:2: t_s: neither seconds nor a time"),
        ("t_s,a\nnan,1\n", r"d\.csv:2: t_s: must be a time"),
        ("t_s,a\n1,1\n0,2\n", r"d\.csv:3: t_s: 0 does not come after 1; sort the rows by time"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        read_csv(csv_of(tmp_path, text), "t_s", ["a"])


def test_a_condition_that_is_neither_true_nor_false_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"d\.csv:2: on: must be 1 or 0"):
        read_csv(csv_of(tmp_path, "t_s,a,on\n0,1,maybe\n"), "t_s", ["a"], only_where="on")


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_csv(tmp_path / "gone.csv", "t_s", ["a"])
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not a CSV file in UTF-8"):
        read_csv(tmp_path / "x.csv", "t_s", ["a"])


def test_a_period_that_fits_within_a_tenth_is_taken(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "t_s,a\n0,1\n1.05,2\n2.1,3\n")
    found = read_csv(path, "t_s", ["a"])
    check_period(found, 1.0, path)
    with pytest.raises(ModelError, match=r"1\.05 s apart"):
        check_period(found, 2.0, path)
