"""Versions in a folder: one is current, by one rename, and there is a way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models import manifest
from models.cli import main
from models.registry import Registry
from tests.models.small import MANIFEST, write
from wire.errors import ModelError


def made(folder: Path, version: str, threshold: float = 5.0) -> Path:
    return write(folder / f"new-{version}.onnx", replace(MANIFEST, version=version, threshold=threshold))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Versions 1, 2 and 3; who and when are counted."""
    times = iter(f"2026-01-01T00:00:{i:02}+00:00" for i in range(60))
    registry = Registry(tmp_path / "models", "ann", lambda: next(times))
    for version in ("1", "2", "3"):
        registry.add(made(tmp_path, version))
    return registry


def current(folder: Path) -> str:
    return manifest.read(folder / "models/small/current.onnx").version


def test_promoting_makes_a_version_current_and_rollback_the_one_before(registry: Registry, tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        assert registry.promote("small", version).version == version
        assert current(tmp_path) == version
    assert registry.rollback("small").version == "2" == current(tmp_path)
    assert registry.rollback("small").version == "1" == current(tmp_path)
    with pytest.raises(ModelError, match="no version was current before 1"):
        registry.rollback("small")
    registry.promote("small", "3")
    assert registry.rollback("small").version == "1"
    said = [(entry.what, entry.version, entry.who) for entry in registry.log("small")][3:]
    assert said == [
        ("promote", "1", "ann"), ("promote", "2", "ann"), ("promote", "3", "ann"), ("rollback", "2", "ann"),
        ("rollback", "1", "ann"), ("promote", "3", "ann"), ("rollback", "1", "ann"),
    ]  # fmt: skip
    assert registry.log("small")[0].when == "2026-01-01T00:00:00+00:00"


def test_the_list_says_which_is_current_since_when_and_by_whom(registry: Registry) -> None:
    registry.promote("small", "2")
    (versions,) = registry.versions().values()
    assert [(v.manifest.version, v.current, v.who) for v in versions] == [
        ("1", False, ""),
        ("2", True, "ann"),
        ("3", False, ""),
    ]
    assert versions[1].since == "2026-01-01T00:00:03+00:00"
    assert registry.versions("other") == {}


def test_the_card_and_the_pictures_come_along(tmp_path: Path) -> None:
    file = made(tmp_path, "7")
    file.with_suffix(".md").write_text("card")
    (tmp_path / "new-7.score.png").write_bytes(b"png")
    Registry(tmp_path / "models").add(file)
    names = sorted(each.name for each in (tmp_path / "models/small").iterdir())
    assert names == ["7.md", "7.onnx", "7.score.png"]


def test_what_cannot_be_is_refused_in_words(registry: Registry, tmp_path: Path) -> None:
    refused: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: registry.add(made(tmp_path, "1")), "small version 1 is in .* already"),
        (lambda: registry.add(made(tmp_path, "1", threshold=6.0)), "has another small version 1"),
        (lambda: registry.add(made(tmp_path, "current")), "its version cannot be 'current'"),
        (lambda: registry.add(write(tmp_path / "x.onnx", replace(MANIFEST, version="a/b"))), "version id 'a/b'"),
        (lambda: registry.promote("small", "9"), "no small version 9; there are: 1, 2, 3"),
        (lambda: registry.promote("../small", "1"), "model id"),
        (lambda: registry.rollback("small"), "no version was current before now"),
        (lambda: registry.add(tmp_path / "gone.onnx"), "cannot be read"),
    )
    for call, word in refused:
        with pytest.raises(ModelError, match=word):
            call()
    registry.promote("small", "1")
    with pytest.raises(ModelError, match="version 1 is current already"):
        registry.promote("small", "1")


def power_goes(self: Path, target: Path) -> Path:
    raise OSError(5, "power went")


def test_a_crash_between_log_and_rename_changes_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote("small", "1")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_goes)
        with pytest.raises(ModelError, match="cannot be written"):
            registry.promote("small", "2")
    assert current(tmp_path) == "1"
    with pytest.raises(ModelError, match="no version was current before 1"):
        registry.rollback("small")
    registry.promote("small", "3")
    assert [entry.what for entry in registry.log()][-2:] == ["void", "promote"]
    assert registry.rollback("small").version == "1", "2 never was current"


def test_a_torn_line_of_the_log_costs_only_itself(registry: Registry, tmp_path: Path) -> None:
    registry.promote("small", "1")
    log = tmp_path / "models/log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"when": "2026')
    assert len(registry.log()) == 4
    registry.promote("small", "2")
    assert [entry.version for entry in registry.log()] == ["1", "2", "3", "1", "2"]
    assert registry.rollback("small").version == "1"


def test_the_command_does_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--folder", str(tmp_path / "store")]
    for version in ("1", "2"):
        assert main(["registry", *folder, "add", str(made(tmp_path, version))]) == 0
        assert main(["registry", "promote", "small", version, *folder]) == 0
    assert main(["registry", "rollback", "small", *folder]) == 0
    assert "small version 1 is current" in capsys.readouterr().out
    assert main(["registry", "list", *folder]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "small" and told[1].startswith("  * 1 ") and told[2].startswith("    2 ")
    assert main(["registry", "list", "--json", *folder]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(each["version"], each["current"], each["signed"]) for each in said] == [
        ("1", True, False),
        ("2", False, False),
    ]
    assert main(["registry", "list", "small", "--log", *folder]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["registry", "list", "small", "--log", "--json", *folder]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["what"] == "rollback"
    assert main(["registry", "promote", "small", "9", *folder]) == 1
    assert "error: " in capsys.readouterr().err
