"""`make evaluate`: what is not there is said, and the table goes to its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import evaluate
from benchmarks.evaluate import BEGIN, END, Line, Skipped

LINES = [
    Line("SKAB", "Gaugeline", "F1 0.800", True, 0.8, "17 files"),
    Line("SKAB", "Null", "F1 0.000", False, 0.0),
    Line("SKAB", "Perfect", "F1 1.000", False, 1.0),
    Line("C-MAPSS", "Gaugeline", "RMSE 13.00", True, -13.0),
]


def test_missing_folders_are_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data/cmapss").mkdir(parents=True)
    page = tmp_path / "page.md"
    assert evaluate.main(["--data", str(tmp_path / "data"), "--page", str(page)]) == 1
    told = capsys.readouterr().out
    for words in (
        f"SKIPPED skab: there is no folder {tmp_path}/data/skab",
        "SKIPPED nab: there is no folder",
        "has no train_FD001.txt, test_FD001.txt, RUL_FD001.txt",
        "nothing was measured",
    ):
        assert words in told
    assert not page.exists()


def test_a_missing_or_failing_scorer_is_told(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="there is no scorer"):
        evaluate.judged(tmp_path / "score.py")
    (tmp_path / "score.py").write_text("import sys; sys.exit('no prediction for x.csv')")
    with pytest.raises(Skipped, match=r"score\.py ended with 1: no prediction for x\.csv"):
        evaluate.judged(tmp_path / "score.py")
    (tmp_path / "score.py").write_text("import json, sys; print(json.dumps({'f1': sys.argv[2]}))")
    assert evaluate.judged(tmp_path / "score.py", "--data", 3) == {"f1": "3"}


def test_a_command_that_fails_is_told_with_its_last_word(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match=r"`gaugeline models evaluate .*` ended with"):
        evaluate.gaugeline("no-such-benchmark", "--data", tmp_path)


def test_the_table_has_each_benchmark_in_the_order_of_its_score() -> None:
    rows = evaluate.table(LINES).splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["Perfect", "**Gaugeline**", "Null", "**Gaugeline**"]
    assert "| 17 files |" in rows[1]


def test_the_table_replaces_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A\n{BEGIN}\nyesterday\n{END}\nrest\n")
    for _ in range(2):
        evaluate.write(page, LINES, {"nab": "gone"})
    text = page.read_text()
    assert text.count("**F1 0.800**") == 1 and "yesterday" not in text
    assert text.startswith("# A\n") and text.endswith(f"{END}\nrest\n")
    assert "Not measured: nab." in text and "at commit " in text
    evaluate.write(tmp_path / "none.md", LINES, {})
    assert "has no place for the table" in capsys.readouterr().out


def test_the_page_of_the_docs_has_a_place_for_it() -> None:
    text = evaluate.PAGE.read_text()
    assert text.index(BEGIN) < text.index(END)
