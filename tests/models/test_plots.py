"""The pictures of a card: there, linked, not empty, and the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from models import plots
from models.cli import main
from models.train import Trained

PICTURES = ("score", "shares", "calibration")


def test_training_draws_three_pictures_and_the_card_shows_them(
    folder: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pump.onnx"
    call = ["train", "--config", str(folder / "pump.yaml"), "--data", str(folder / "normal.csv"), "--out", str(out)]
    assert main(call) == 0
    assert "with pump.score.png, pump.shares.png, pump.calibration.png" in capsys.readouterr().out
    (tmp_path / "again").mkdir()
    assert list(plots.draw(trained, tmp_path / "again/pump.onnx").values()) == [f"pump.{name}.png" for name in PICTURES]
    card = out.with_suffix(".md").read_text()
    for name in PICTURES:
        file = out.with_name(f"pump.{name}.png")
        assert f"]({file.name})" in card
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
        pixels = image.imread(file)
        assert pixels.shape[:2] == (360, 900)
        inked = float(np.mean(pixels[..., :3].min(axis=2) < 0.9))
        assert 0.01 < inked < 0.9, "something is drawn, and not all over"
