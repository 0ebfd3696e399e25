"""CSV columns onto registers: time stamps, speed, and what comes after the last row."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_sim.errors import ScenarioError
from firmware_sim.replay import Replay, ReplaySettings
from firmware_sim.scenario import load
from firmware_sim.simulation import Simulation
from firmware_sim.truth import Truth
from tests.firmware_sim.running import running_text, truth
from tests.firmware_sim.wire import answers, ask, connected

CSV = """\
when;flow;level
2026-01-01T00:00:00;1.5;10
2026-01-01T00:00:10;2.5;
2026-01-01T00:00:40;3.5;30
2026-01-01T00:00:50;4.5;40
"""
SCENARIO = """\
name: s
lines: [{name: l, kind: modbus-tcp}]
devices:
  - id: d
    model: registers
    line: l
    step_s: 0.01
    replay: {file: rec.csv, time: when, delimiter: ";", speed: 100, at_end: stop}
    signals:
      - {name: flow, address: 0, type: float32, source: {kind: csv, column: flow}}
      - {name: level, address: 2, source: {kind: csv, column: level}}
"""


def replay(folder: Path, text: str = CSV, **keys: object) -> Replay:
    (folder / "rec.csv").write_text(text)
    settings = {"file": folder / "rec.csv", "time": "when", "delimiter": ";", **keys}
    return Replay(ReplaySettings.model_validate(settings))


def test_rows_come_at_their_own_time_and_begin_again(tmp_path: Path) -> None:
    played = replay(tmp_path)
    assert [played.row(t_s) for t_s in (0, 9.9, 10, 39, 40, 50, 59.9, 60, 69.9, 70)] == [0, 0, 1, 1, 2, 3, 3, 0, 0, 1]
    assert played.end_s is None
    assert played.column("level") == [10, 10, 30, 40]  # an empty cell keeps the value before it


def test_speed_and_the_end(tmp_path: Path) -> None:
    played = replay(tmp_path, speed=10, at_end="stop")
    assert [played.row(t_s) for t_s in (0, 0.9, 1, 4, 5, 99)] == [0, 0, 1, 2, 3, 3]
    assert played.end_s == 6.0


def test_rows_without_stamps_are_evenly_apart(tmp_path: Path) -> None:
    played = replay(tmp_path, "a,b\n1,2\n3,4\n", time=None, row_s=5, delimiter=",")
    assert [played.row(t_s) for t_s in (0, 4.9, 5, 9.9, 10)] == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        (CSV.replace("00:00:40", "00:00:05"), "flow", "rec.csv:4: its time stamp is not after the one before it"),
        (CSV.replace("2026-01-01T00:00:10", "noon"), "flow", "rec.csv:3: 'noon' is neither an ISO 8601 time"),
        (CSV.replace("2.5", "wet"), "flow", "rec.csv:3: 'flow' must be a number (got 'wet')"),
        (CSV, "depth", "has no column 'depth'; there are: when, flow, level"),
        ("a;b\n1;2\n", "b", "has no column 'when'; there are: a, b"),
        ("when;b\n", "b", "has no rows"),
    ],
)
def test_files_that_cannot_be_played_name_their_line(tmp_path: Path, text: str, column: str, told: str) -> None:
    with pytest.raises(ScenarioError) as fault:
        replay(tmp_path, text).column(column)
    assert told in str(fault.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    for content, told in ((None, "cannot read it"), (b"when;flow\xe9;level\n", "is not UTF-8 text")):
        if content is not None:
            (tmp_path / "rec.csv").write_bytes(content)
        with pytest.raises(ScenarioError, match=told):
            Simulation(load(str(tmp_path / "scenario.yaml")), Truth(None)).prepare()


async def test_a_recording_beside_the_scenario_is_served_and_ends(tmp_path: Path) -> None:
    (tmp_path / "rec.csv").write_text(CSV)
    async with running_text(tmp_path, SCENARIO) as at, connected(at["d"]) as wire:
        found = []
        for _ in range(9):
            wire.send(ask(at["d"], "03 0000 0003"))
            found += answers(at["d"], await wire.bytes(0.1))
    rows = [(each["values"]["flow"], each["values"]["level"]) for each in truth(tmp_path, "served")]
    assert rows == sorted(rows) and set(rows) <= {(1.5, 10), (2.5, 10), (3.5, 30), (4.5, 40)} and len(set(rows)) >= 2
    assert 2 <= len(found) <= 7  # 60 recorded seconds last 0.6 s, then nobody answers
    assert truth(tmp_path, "fault", "d")[0]["name"] == "recording ended"
