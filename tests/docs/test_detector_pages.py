"""The pages of detectors, baseline, single series and remaining life: their commands are run on small made-up data."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import gaugeline
from models import detectors
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.settings import AlarmSetting, BaselineSetting, read_settings
from tests.docs.test_docs import ROOT, blocks
from tests.models import test_evaluate_nab, test_evaluate_skab
from tests.models.conftest import CONFIG
from tests.models.lives import QUICK, cut, engines, write
from tests.models.single_series import rhythm


def run_page(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What each command of the page said."""
    monkeypatch.chdir(folder)
    said = []
    for block in blocks(ROOT / "docs" / page, "sh"):
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "gaugeline"
            if words[0] != "models":
                continue  # what a running gateway is asked: tests/gateway/test_baselines.py
            code = gaugeline.main(words)
            told = capsys.readouterr()
            assert code == 0, f"{line}: {told.err}"
            said.append(told.out)
    return said


def test_the_page_of_the_baseline_judges_pumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = slice(550, 620)
    rows = test_evaluate_skab.pump_rows(700, 1, fault)
    test_evaluate_skab.write(tmp_path / "SKAB/data/valve1/0.csv", rows, fault)
    whole, dropped = run_page("baseline.md", tmp_path, monkeypatch, capsys)
    assert "all labelled files: F1" in whole
    assert '"drop": 40' in dropped
    assert (tmp_path / "skab-40/valve1/0.onnx").is_file()


def test_the_page_of_single_series_judges_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "NAB/data").mkdir(parents=True)
    (tmp_path / "NAB/data/calm.csv").write_text(test_evaluate_nab.text(np.round(rhythm(700, 2), 3)))
    plain, by_range = run_page("evaluate-nab.md", tmp_path, monkeypatch, capsys)
    assert "detector seasonal_novelty, threshold 0.04 (frozen)" in plain
    assert '"detector": "novelty"' in by_range
    assert (tmp_path / "nab-range/calm.csv").is_file()


def test_the_page_of_remaining_life_learns_from_engines_and_inspects_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.life_train.Plan", lambda: QUICK)
    write(engines(30, seed=1), tmp_path / "train_FD001.txt")
    write(cut(engines(6, seed=2), seed=3)[0], tmp_path / "test_FD001.txt")
    _, inspected = run_page("remaining-life.md", tmp_path, monkeypatch, capsys)
    assert "remaining life in cycles" in inspected
    assert "interval held in" in inspected


def test_the_sections_that_the_page_shows_are_taken_and_hold_every_key(tmp_path: Path) -> None:
    alarm, baseline = (block for block in blocks(ROOT / "docs/baseline.md", "text") if ":" in block)
    file = tmp_path / "m.yaml"
    file.write_text(CONFIG.replace("name: current", "name: oil_temperature") + alarm + baseline)
    settings = read_settings(file)
    assert settings.rule.settle_rows == 80
    assert settings.baseline_rule == BaselineRule(5000, ("oil_temperature",), 2000, 33, 2000)
    text = (ROOT / "docs/baseline.md").read_text()
    missing = [key for key in (*AlarmSetting.model_fields, *BaselineSetting.model_fields) if key not in text]
    assert not missing
    assert AlarmSetting().rule() == AlarmRule()


def test_the_table_has_every_detector_with_all_its_settings() -> None:
    text = (ROOT / "docs/models.md").read_text()
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` \|.*$", text, re.M)}
    for name in detectors.DETECTORS:
        missing = [key for key in detectors.parameters(name) if f"`{key}`" not in rows[name]]
        assert not missing, name
