"""`gaugeline models inspect`: both kinds of model files, with detector, alarm rule, baseline and curve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models import card
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.cli import main
from models.export import export
from models.life import Cap, HeldOut, LifeManifest
from models.manifest import Input, Training
from tests.models.small import MANIFEST, largest, write

FOLLOWING = replace(
    MANIFEST,
    alarm=AlarmRule(2, 80, 10, 0.4, 0.3, 60, 0.8),
    baseline=BaselineRule(
        120, slow=("b",), slow_follow_rows=50, settle_follow_rows=33, spread_rows=2000, own_rows=400, own_reach=9
    ),
)
LIFE = LifeManifest(
    name="engine",
    version="3",
    inputs=(Input("t24", "Cel", 642.0, 0.5), Input("ps30", "bar", 47.5, 0.3)),
    life_unit="cycles",
    cap=126.0,
    caps=(Cap(105.0, 11.5, 190.0), Cap(126.0, 10.3, 150.0)),
    horizon=150.0,
    level=0.9,
    warm_up_rows=15,
    longest=362.0,
    regimes=1,
    held_out=HeldOut(100, 4876, 10.3, 150.0, 0.93, 30.0),
    training=Training("FD001", "100 units", 20_631, "0" * 64),
    ignored={"nf_dmd": "never changes"},
)


def test_it_says_how_alarms_end_and_how_the_baseline_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(write(tmp_path / "m.onnx", FOLLOWING))]) == 0
    told = capsys.readouterr().out
    for words in (
        "detector      small; a row every 1 s",
        "alarm         after 2 rows, at least 80, ends after 10 rows below 0.4 of the threshold",
        "or, of each tag, below 0.3 of the most",
        "for 60 rows after it only what is above 0.8 of its peak",
        "baseline      follows in 120 rows, by at most 3 spreads; told from 10 on",
        "b in 50 rows",
        "while an alarm settles in 33 rows",
        "the spread in 2000 rows, to 2 times the model's",
        "learns its own centre from 400 rows, within 9 spreads",
        "or            5 for one in 16.7 minutes",
    ):
        assert words in told
    assert main(["inspect", str(write(tmp_path / "m.onnx")), "--json"]) == 0
    still = json.loads(capsys.readouterr().out)
    assert (still["kind"], still["baseline"]) == ("score", None)


def test_the_card_tells_the_same_and_nothing_more_where_nothing_follows() -> None:
    told = card.card(FOLLOWING, "m.onnx")
    assert "- for 60 rows after it only" in told and "- baseline: b in 50 rows\n" in told
    assert "baseline" not in card.card(MANIFEST, "m.onnx")


def test_a_remaining_life_file_is_inspected_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.onnx"
    file.write_bytes(export(largest(), LIFE))
    assert main(["inspect", str(file)]) == 0
    told = capsys.readouterr().out
    for words in (
        "engine version 3",
        "remaining life in cycles",
        "t24 [Cel]",
        "ignored       nf_dmd: never changes",
        "up to 126 cycles",
        "100 machines at 4876 points: off by 10.3 cycles",
        "the 90 % interval held in 93.0 %, 30 cycles wide",
        "cap           105: off by 11.5",
        "trained on    FD001",
    ):
        assert words in told
    assert main(["inspect", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["life_unit"], said["held_out"]["units"]) == ("life", "cycles", 100)


def test_a_damaged_remaining_life_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.onnx"
    content = export(largest(), LIFE)
    file.write_bytes(content.replace(b"cycles", b"months"))
    assert main(["inspect", str(file)]) == 1
    assert "truncated or damaged" in capsys.readouterr().err
