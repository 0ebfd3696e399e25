"""Folders of killed simulators go at the next start; anybody else's stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware_sim import own_folder


def simulator(scenario: Path, temporary: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A running simulator, and the link of its serial line."""
    run = subprocess.Popen(
        [sys.executable, "-m", "gaugeline", "sim", "run", str(scenario)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert run.stdout is not None
    return run, Path(json.loads(run.stdout.readline())["devices"][0]["port"])


def test_what_a_killed_simulator_left_is_swept_by_the_next_one_and_a_living_ones_line_stays(tmp_path: Path) -> None:
    scenario, temporary = tmp_path / "road.yaml", tmp_path / "tmp"
    temporary.mkdir()
    scenario.write_text(
        "name: road\nlines: [{name: road, kind: serial-text}]\ndevices: [{id: road, model: road_detector, line: road}]"
    )
    runs = []
    try:
        killed, left = simulator(scenario, temporary)
        runs.append(killed)
        living, line = simulator(scenario, temporary)
        runs.append(living)
        killed.kill()
        killed.wait(60)
        assert left.is_symlink(), "kill -9 cleans nothing up"
        third, own = simulator(scenario, temporary)
        runs.append(third)
        assert not left.parent.exists()
        assert line.exists() and own.exists()
        for run in (living, third):
            run.send_signal(signal.SIGTERM)
            assert run.wait(60) == 0
        assert list(temporary.iterdir()) == []
    finally:
        for run in runs:
            run.kill()
            run.wait(60)


def owned(folder: Path, **changes: object) -> Path:
    """A folder whose owner is this process, but for the changes."""
    found = own_folder.make(folder)
    owner = json.loads((found / own_folder.OWNER).read_text())
    (found / own_folder.OWNER).write_text(json.dumps(owner | changes))
    return found


def test_only_folders_whose_owner_has_surely_ended_are_swept(tmp_path: Path) -> None:
    stays = [
        owned(tmp_path),
        owned(tmp_path, started=1, boot="another"),
        owned(tmp_path, started=1, namespace="pid:[1]"),
        tmp_path / "gaugeline-sim-without-owner",
        tmp_path / "another-program",
    ]
    for folder in stays[3:]:
        folder.mkdir()
    half_written = owned(tmp_path)
    (half_written / own_folder.OWNER).write_text('{"pid": 1')
    link = tmp_path / "gaugeline-sim-link"
    reused = owned(tmp_path, started=1)  # our process id, taken by another process before
    link.symlink_to(reused)
    assert own_folder.sweep(tmp_path) == [reused]
    assert all(folder.is_dir() for folder in [*stays, half_written])
    assert link.is_symlink()


def test_a_process_that_ended_unreaped_owns_nothing(tmp_path: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", "pass"])
    until = time.monotonic() + 120
    while Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.01)
    folder = owned(tmp_path, pid=zombie.pid)
    try:
        assert own_folder.sweep(tmp_path) == [folder]
    finally:
        zombie.wait(60)


def test_where_nothing_is_known_of_processes_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = owned(tmp_path, started=1)
    monkeypatch.setattr(own_folder, "_owner", lambda pid: None)
    assert own_folder.sweep(tmp_path) == []
    anonymous = own_folder.make(tmp_path)
    assert folder.is_dir() and list(anonymous.iterdir()) == []
