"""The pictures of a card: there, linked, not empty, and the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from models.cli import main

PICTURES = ("score", "shares", "calibration")


def test_training_draws_three_pictures_and_the_card_shows_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[list[bytes]] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        out = tmp_path / name / "pump.onnx"
        call = ["train", "--config", str(folder / "pump.yaml"), "--data", str(folder / "normal.csv")]
        assert main([*call, "--out", str(out)]) == 0
        files = [out.with_name(f"pump.{picture}.png") for picture in PICTURES]
        drawn.append([file.read_bytes() for file in files])
        card = out.with_suffix(".md").read_text()
        assert all(f"]({file.name})" in card for file in files)
        for file in files:
            pixels = image.imread(file)
            assert pixels.shape[:2] == (360, 900)
            assert 0.01 < float(np.mean(pixels[..., :3].min(axis=2) < 0.9)) < 0.9, (
                "something is drawn, and not all over"
            )
    assert drawn[0] == drawn[1]
    assert "with pump.score.png, pump.shares.png, pump.calibration.png" in capsys.readouterr().out
