"""The page of retention: its settings are read, and its patterns fit what it says."""

from __future__ import annotations

from pathlib import Path

from cloud.config import load_config
from cloud.retention.classes import fits
from tests.docs.test_docs import ROOT, blocks


def test_the_settings_of_the_page_are_valid_and_mean_what_it_says(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs/retention.md", "yaml")
    (tmp_path / "cloud.yaml").write_text(text)
    found = load_config(tmp_path / "cloud.yaml", {}).retention
    assert found is not None
    assert [(one.name, one.hot_days) for one in found.all_classes] == [
        ("vibration", 30), ("energy", 1825), ("default", 400),
    ]  # fmt: skip
    assert (found.archive_first, found.restored_days, found.rollups["1h"]) == (True, 7, None)


def test_the_patterns_of_the_page_fit_what_it_says() -> None:
    page = (ROOT / "docs/retention.md").read_text()
    for pattern, tag in {
        "vibration_*": "vibration_x", "*/vibration_*": "vibration_x", "pump-?/flow": "flow", "gw-1/*/*": "flow",
        "plant-1/*/*/motor/speed": "motor/speed",
    }.items():  # fmt: skip
        assert f"`{pattern}`" in page
        assert fits(pattern, ("plant-1", "gw-1", "pump-1", tag))
        assert not fits(pattern, ("plant-2", "gw-2", "fan-10", "other"))
