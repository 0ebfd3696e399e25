"""The recordings, their labels, and the papers that lie beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import pairwise

import pytest

from firmware_sim import recording

FOLDER = files("firmware_sim") / "recordings"


def test_labels_are_nabs_windows_with_both_ends() -> None:
    machine = recording.load("machine_temperature_system_failure")
    [_, (first, after)] = machine.windows
    assert (machine.times[first], machine.times[after - 1]) == (
        datetime(2014, 2, 7, 14, 55),
        datetime(2014, 2, 9, 14, 5),
    )
    assert after - first == 567


def test_the_machines_excerpt_has_a_row_every_five_minutes_but_for_one_hour_that_comes_twice() -> None:
    machine = recording.load("machine_temperature_system_failure")
    steps = Counter(after - before for before, after in pairwise(machine.times))
    assert steps == {timedelta(minutes=5): len(machine.times) - 2, timedelta(minutes=-55): 1}


def test_aligned_recordings_share_their_times() -> None:
    occupancy, speed = recording.aligned(recording.load("occupancy_t4013"), recording.load("speed_t4013"))
    assert occupancy.times == speed.times
    assert len(occupancy.times) > 2000
    assert list(occupancy.times) == sorted(set(occupancy.times))
    assert [len(each.windows) for each in (occupancy, speed)] == [2, 2]


@pytest.mark.parametrize("name", ["machine_temperature_system_failure", "occupancy_t4013", "speed_t4013"])
def test_every_recording_stands_in_the_papers(name: str) -> None:
    assert f"`{name}.csv`" in (FOLDER / "SOURCE.md").read_text()
    assert "Permission is hereby granted, free of charge" in (FOLDER / "LICENSE").read_text()
    assert "MIT licence" in (FOLDER / "SOURCE.md").read_text()


def test_nothing_lies_here_that_the_papers_do_not_name() -> None:
    named = (FOLDER / "SOURCE.md").read_text()
    for file in FOLDER.iterdir():
        assert file.name in ("SOURCE.md", "LICENSE") or f"`{file.name}`" in named


def test_the_recordings_are_the_bytes_that_were_copied() -> None:
    digest = hashlib.sha256((FOLDER / "machine_temperature_system_failure.csv").read_bytes()).hexdigest()
    assert digest == "1af045ccaf1648e65b1a3e85158dd827546f6032872bacc630c6df3e2e493c3c"
