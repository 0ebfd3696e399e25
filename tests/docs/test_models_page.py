"""docs/models.md as a person follows it: every command of it is run, in its order, in one folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import gaugeline
from tests.docs.test_docs import ROOT, blocks

PAGE = ROOT / "docs/models.md"


def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (settings,) = blocks(PAGE, "yaml")
    (tmp_path / "machine.yaml").write_text(settings)
    said: dict[str, str] = {}
    for block in blocks(PAGE, "sh"):
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "gaugeline"
            code = gaugeline.main(words)
            told = capsys.readouterr()
            assert code == 0, f"{line}: {told.err}"
            said[" ".join(words[1:3])] = told.out + told.err
    assert {"machine.onnx", "machine.md", "machine.score.png", "models"} <= {each.name for each in tmp_path.iterdir()}
    assert (tmp_path / "models/machine/current.onnx").read_bytes() == (tmp_path / "machine.onnx").read_bytes()
    assert "missing tag   left out, and said: up to 2 of temperature" in said["inspect machine.onnx"]
    assert "2016 rows" in said["score machine.onnx"]


def test_the_page_names_every_setting_of_training_or_the_help_does() -> None:
    from models.cli import _TRAIN
    from models.settings import Settings

    text = PAGE.read_text() + _TRAIN
    missing = [key for key in Settings.model_fields if not re.search(rf"\b{key}\b", text)]
    assert not missing
