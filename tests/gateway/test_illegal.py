"""What devices refused is remembered where and as long as it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.spec import Illegal
from gateway.illegal import IllegalFile, illegal_path

FOUND = [Illegal("holding", 3, 6), Illegal("coil", 8, 8)]


def test_it_outlives_a_restart_and_holds_for_its_place_only(tmp_path: Path) -> None:
    path = illegal_path(tmp_path / "outbox.db")
    IllegalFile(path).learned("pump-1", "127.0.0.1:502/1", FOUND)
    again = IllegalFile(path)
    assert again.illegal("pump-1", "127.0.0.1:502/1") == FOUND
    assert again.illegal("pump-1", "127.0.0.1:502/2") == () == again.illegal("pump-2", "127.0.0.1:502/1")
    again.learned("pump-1", "127.0.0.1:502/1", [])
    assert IllegalFile(path).illegal("pump-1", "127.0.0.1:502/1") == []
    assert [p.name for p in tmp_path.iterdir()] == ["outbox.db.illegal.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"d": 5}', '{"d": {"place": "p", "illegal": [[1]]}}', '{"d": {"place": "p"}}'],
)
def test_a_broken_file_is_learned_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert list(IllegalFile(path).illegal("d", "p")) == []


def test_nonsense_in_it_is_left_out_and_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    rows = [["holding", 1, 2], ["holdng", 1, 2], ["input", 5, 4], ["coil", 0, 70_000]]
    path.write_text(json.dumps({"d": {"place": "p", "illegal": rows}}))
    assert list(IllegalFile(path).illegal("d", "p")) == [Illegal("holding", 1, 2)]
    IllegalFile(tmp_path / "none" / "x.json").learned("d", "p", FOUND)
