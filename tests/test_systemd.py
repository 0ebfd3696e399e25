"""The units of deploy/systemd, judged by systemd itself: what it does not know, or would not start, it says.

No systemd runs where the tests run; so they are loaded and checked, and the user is made in a folder of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
PROGRAM = "/opt/gaugeline/bin/gaugeline"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


def complaints(folder: Path, name: str, text: str) -> str:
    """What systemd has to say of a unit, whose program stands in this folder. '' when it would start it."""
    program = folder / "gaugeline"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (folder / name).write_text(text.replace(PROGRAM, str(program)))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder / name)], capture_output=True, check=False, text=True
    )
    said = "\n".join(line for line in answer.stderr.splitlines() if name.removesuffix(".service") in line)
    assert answer.returncode == 0 or said, answer.stderr
    return said


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_has_nothing_to_say_against_a_unit(tmp_path: Path, name: str) -> None:
    assert complaints(tmp_path, name, (UNITS / name).read_text()) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Restart=on-failure", "Restart=sometimes"),
        ("ProtectSystem=strict", "ProtectSystems=strict"),
        (PROGRAM, "/nowhere/gaugeline"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@no-such-set"),
    ],
)
def test_systemd_finds_a_mistake_in_a_unit(tmp_path: Path, right: str, wrong: str) -> None:
    for name in SERVICES:
        text = (UNITS / name).read_text()
        assert right in text
        assert complaints(tmp_path, name, text.replace(right, wrong)) != ""


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_of_a_unit_is_one_that_the_program_knows(name: str) -> None:
    (start,) = [line for line in (UNITS / name).read_text().splitlines() if line.startswith("ExecStart=")]
    program, *arguments = start.removeprefix("ExecStart=").split()
    assert program == PROGRAM
    missing = [word if not word.startswith("/") else "/nowhere/at/all.yaml" for word in arguments]
    answer = subprocess.run(
        [sys.executable, "-m", "gaugeline", *missing], capture_output=True, check=False, text=True, timeout=60
    )
    assert answer.returncode == 1, "2 would be a call that it does not know"
    assert "/nowhere/at/all.yaml" in answer.stderr


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None or os.geteuid() != 0, reason="no systemd-sysusers here, or not root"
)
def test_the_user_is_made_with_the_right_to_serial_ports(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()
    (tmp_path / "etc" / "group").write_text("dialout:x:20:\n")
    source = tmp_path / "usr" / "lib" / "sysusers.d" / "gaugeline.conf"
    source.parent.mkdir(parents=True)
    shutil.copy(UNITS / "gaugeline.sysusers", source)
    answer = subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, check=False, text=True)
    assert answer.returncode == 0, answer.stderr
    users = dict(line.split(":", 1) for line in (tmp_path / "etc" / "passwd").read_text().splitlines())
    groups = dict(line.split(":", 1) for line in (tmp_path / "etc" / "group").read_text().splitlines())
    assert users["gaugeline"].endswith("nologin")
    assert "gaugeline" in groups
    assert groups["dialout"] == "x:20:gaugeline"
