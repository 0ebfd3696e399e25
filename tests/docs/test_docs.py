"""The docs say what is: links lead somewhere, commands exist, examples work."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_sim.demo.processes import Child, gaugeline

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0].endswith("gaugeline"):
                    found.append((page.name, words[1:]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_only_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for block in blocks(page, "sh"):
            assert set(re.findall(r"^make ([a-z]+)", block, re.M)) <= targets


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda x: " ".join(x) if isinstance(x, list) else x)
def test_commands_of_the_docs_exist(page: str, words: list[str]) -> None:
    """Each command is understood up to its options: `--help` behind the sub-commands names every option used."""
    sub = [w for w in words[:2] if not w.startswith("-")]
    answer = subprocess.run(
        [sys.executable, "-m", "gaugeline", *sub, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for option in (w.split("=")[0] for w in words if w.startswith("--")):
        assert option in answer.stdout, f"{page}: {' '.join(words)}: no option {option}"


def test_the_first_site_of_the_readme_reads_a_real_device(tmp_path: Path) -> None:
    """README's site.yaml as it stands, but for the address of the device."""
    (text,) = blocks(ROOT / "README.md", "yaml")
    assert len(text.splitlines()) <= 10
    site = tmp_path / "site.yaml"
    simulator = Child("simulator", gaugeline("sim", "run", "demo"), tmp_path, read_stdout=True)
    simulator.start()
    try:
        ready = json.loads(simulator.stdout.readline())
        machine = next(entry for entry in ready["devices"] if entry["id"] == "machine-plc")
        site.write_text(text.replace("host: 192.168.1.20", f"host: 127.0.0.1, port: {machine['port']}"))
        check = subprocess.run(gaugeline("gateway", "check", str(site)), capture_output=True, text=True, check=False)
        assert check.returncode == 0, check.stderr
        command = gaugeline("gateway", "read", str(site), "--json", "--cycles", "3")
        read = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        simulator.end()
    assert read.returncode == 0, read.stderr
    rows = [json.loads(line) for line in read.stdout.splitlines()]
    assert [row["tag"] for row in rows] == ["flow"] * 3
    assert all(row["quality"] == "GOOD" and 20 < row["value"] < 120 and row["unit"] == "m3/h" for row in rows), rows
    assert rows[0]["ts_ms"] < rows[1]["ts_ms"] < rows[2]["ts_ms"]


def test_the_site_of_the_settings_page_is_a_valid_one(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs/site-yaml.md", "yaml")
    (tmp_path / "site.yaml").write_text(text)
    (tmp_path / "broker.password").write_text("secret\n")
    check = subprocess.run(
        gaugeline("gateway", "check", str(tmp_path / "site.yaml")), capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_the_settings_page_names_every_key() -> None:
    from gateway.config import site

    page = (ROOT / "docs/site-yaml.md").read_text()
    for model in (
        site.LineConfig,
        site.DeviceConfig,
        site.TagConfig,
        site.AssetConfig,
        site.OutboxConfig,
        site.BrokerConfig,
        site.MetricsConfig,
    ):
        missing = [key for key in model.model_fields if not re.search(rf"[`{{ ]{key}[:`]", page)]
        assert not missing, f"docs/site-yaml.md does not name {missing} of {model.__name__}"
