"""The training file: read whole, or all its faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.alarm_logic import AlarmRule
from models.settings import Settings, read_settings
from tests.models.conftest import CONFIG
from wire.errors import ConfigError


def faults(folder: Path, text: str) -> list[str]:
    file = folder / "m.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        read_settings(file)
    return [problem.replace(f"{folder}/", "") for problem in told.value.problems]


def test_the_usual_values_are_those_of_the_alarm_logic(settings: Settings) -> None:
    assert settings.alarm.rule() == AlarmRule()
    assert [each.name for each in settings.inputs] == ["flow", "pressure", "current"]


def test_all_faults_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
name: "pump 1"
source: x
period_s: -1
inputs:
  - {name: flow, unit: m3/h}
  - name: pressure
    unti: bar
false_alarm_every_rows: 10
alarm: {raise_rows: 0}
colour: red
"""
    told = faults(tmp_path, text)
    assert [each.split(": ")[0:2] for each in sorted(told)] == [
        ["m.yaml:10", "colour"],
        ["m.yaml:1", "name"],
        ["m.yaml:3", "period_s"],
        ["m.yaml:7", "inputs.1.unti"],
        ["m.yaml:8", "false_alarm_every_rows"],
        ["m.yaml:9", "alarm.raise_rows"],
    ]
    assert any("unknown key" in each for each in told)
    assert any("got 'pump 1'" in each for each in told)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "m.yaml:1: expected `key: value` lines"),
        ("- a\n", "m.yaml:1: expected `key: value` lines"),
        ("name: [\n", "m.yaml:2: not YAML"),
        (CONFIG.replace("name: pump_1\n", ""), "m.yaml:1: name: is missing"),
        (CONFIG.replace("name: pressure", "name: flow"), "m.yaml:4: inputs: named twice: flow"),
        (CONFIG.replace("name: pressure", "name: 'a b'"), "m.yaml:6: inputs.1.name: tag name 'a b'"),
        (CONFIG + "detector: oracle\n", "m.yaml:10: detector: must be one of robust_distance"),
        (CONFIG.replace("period_s: 1", "period_s: soon"), "m.yaml:3: period_s: Input should be a valid number"),
    ],
)
def test_each_fault_says_what_is_wrong(tmp_path: Path, text: str, word: str) -> None:
    assert faults(tmp_path, text)[0].startswith(word)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "gone.yaml")
