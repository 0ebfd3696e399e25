"""Scenarios: what is right, and what each wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_sim.devices.machine import MachineSettings
from firmware_sim.errors import ScenarioError
from firmware_sim.lines import RtuLine, TcpLine, TextLine
from firmware_sim.scenario import load, packaged
from tests.firmware_sim.running import LINES, scenario_file


def problems(path: Path, text: str, *changes: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ScenarioError) as fault:
        load(str(path), changes)
    return [each.removeprefix(f"{path}:") for each in fault.value.problems]


def test_every_packaged_scenario_is_right() -> None:
    assert "demo" in packaged()
    for name in packaged():
        assert load(name).name == name


def test_the_demo_is_the_site_that_was_agreed() -> None:
    demo = load("demo")
    assert [(each.id, each.model, each.line, each.unit_id) for each in demo.devices] == [
        ("machine-plc", "machine", "plc-tcp", 1),
        ("meter-rtu-7", "energy_meter", "meter-rtu", 7),
        ("road-detector", "road_detector", "road-serial", 1),
        ("parking-plc", "car_park", "parking-tcp", 1),
    ]
    plc, meter, road, _ = demo.lines
    assert isinstance(plc, TcpLine) and plc.port == 0
    assert isinstance(meter, RtuLine) and (meter.baud, meter.parity, meter.bits_per_char) == (19200, "E", 11)
    assert isinstance(road, TextLine) and (road.baud, road.parity, road.bits_per_char) == (9600, "N", 10)


def test_all_problems_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
name: bench
sede: 3
lines:
  - {name: tcp, kind: modbus-tcp, port: 70000}
  - name: bus
    kind: modbus-rtu
    baud: 19201
    speed: 5
devices:
  - {id: a, model: machine, line: tcp, unit_id: 0}
  - {id: b, model: toaster, line: tcp}
  - {id: c, model: car_park}
faults:
  - {device: a, kind: silent, at_s: -1, for_s: 2}
  - {device: a, kind: sleepy, at_s: 1, for_s: 2}
"""
    told = problems(tmp_path / "s.yaml", text)
    assert sorted(told) == sorted(
        [
            "2: sede: unknown key (got 3)",
            "4: lines.tcp.port: Input should be less than or equal to 65535 (got 70000)",
            "7: lines.bus.baud: Input should be 1200, 2400, 4800, 9600, 19200, 38400, 57600 or 115200 (got 19201)",
            "8: lines.bus.speed: unknown key (got 5)",
            "10: devices.a.unit_id: Input should be greater than or equal to 1 (got 0)",
            "11: devices.b.model: must be machine|energy_meter|car_park|road_detector|registers|pump|compressor|motor"
            "|traffic_detector|weighing|barrier|parking_controller|dlt645_meter (got 'toaster')",
            "12: devices.c.line: Field required",
            "14: faults.0.at_s: Input should be greater than or equal to 0 (got -1)",
            "15: faults.1.kind: must be silent|late|overtaking|refused|garbled|split|merged|wrong_unit|restart|stuck"
            "|drift|spike|noise|step|dropped|half_open|one_connection|write_ignored|write_clamped (got 'sleepy')",
        ]
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: bus", "name: tcp", "4: lines.tcp.name: 'tcp' is used twice"),
        ("id: second", "id: meter", "10: devices.meter.id: 'meter' is used twice"),
        ("unit_id: 8", "unit_id: 7", "10: devices.second.unit_id: 'bus' has another device at this place"),
        ("line: text", "line: tcp", "11: devices.road.line: road_detector needs a serial-text line"),
        ("line: bus, unit_id: 8", "line: text", "10: devices.second.line: energy_meter needs a Modbus line"),
        ("line: text", "line: txt", "11: devices.road.line: no line 'txt'; there are: tcp, bus, text"),
    ],
)
def test_contradictions(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert any(each.startswith(told) for each in problems(tmp_path / "s.yaml", LINES.replace(old, new, 1)))


def test_two_lines_cannot_share_a_port_or_a_path(tmp_path: Path) -> None:
    text = LINES.replace("lines:\n", "lines:\n  - {name: tcp2, kind: modbus-tcp, port: 5020}\n")
    told = problems(tmp_path / "s.yaml", text, "lines.tcp.port=5020", "lines.bus.port=/tmp/x", "lines.text.port=/tmp/x")
    assert [each.partition(": ")[2] for each in told] == [
        "lines.tcp.port: '127.0.0.1:5020' is used twice",
        "lines.text.port: '/tmp/x' is used twice",
    ]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("{device: ghost, kind: silent, at_s: 0, for_s: 1}", "faults.0.device: no device 'ghost'"),
        ("{device: machine, kind: garbled, at_s: 0, for_s: 1}", "'garbled' does not exist on a modbus-tcp line"),
        ("{device: road, kind: refused, at_s: 0, for_s: 1}", "'refused' does not exist on a serial-text line"),
        ("{device: meter, kind: dropped, at_s: 0, for_s: 1}", "'dropped' does not exist on a modbus-rtu line"),
        ("{device: machine, kind: overtaking, at_s: 0, for_s: 1}", "'overtaking' does not exist on a modbus-tcp line"),
        ("{device: road, kind: write_ignored, at_s: 0, for_s: 1}", "does not exist on a serial-text line"),
        ("{device: meter, kind: late, at_s: 0, for_s: 1, signals: [power]}", "'late' is no fault of values"),
        ("{device: road, kind: late, at_s: 0, for_s: 2, every_s: 1}", "every_s (1) must be longer than for_s (2)"),
    ],
)
def test_faults_that_cannot_be(tmp_path: Path, fault: str, told: str) -> None:
    [problem] = problems(tmp_path / "s.yaml", f"{LINES}faults:\n  - {fault}\n")
    assert told in problem and problem.startswith("13: faults.0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "not YAML"),
        ("name: a\nname: b\n", "2: not YAML: found duplicate key"),
        ("- 1\n", "1: a scenario is a mapping"),
        ("", "1: a scenario is a mapping"),
    ],
)
def test_what_is_no_scenario_at_all(tmp_path: Path, text: str, told: str) -> None:
    [problem] = problems(tmp_path / "s.yaml", text)
    assert told in problem


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'nowhere': neither a file nor one of: .*demo"):
        load("nowhere")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ScenarioError, match="is not UTF-8 text"):
        load(str(tmp_path / "latin.yaml"))
    with pytest.raises(ScenarioError, match="cannot read it"):
        load(str(tmp_path))


def test_changes_reach_keys_by_name_and_by_position(tmp_path: Path) -> None:
    path = str(scenario_file(tmp_path))
    changed = load(
        path, ["lines.tcp.port=5020", "lines.1.baud=9600", "devices.machine.start=2014-01-30 00:00", "seed=9"]
    )
    tcp, bus, _ = changed.lines
    assert isinstance(tcp, TcpLine) and tcp.port == 5020
    assert isinstance(bus, RtuLine) and bus.baud == 9600
    machine = changed.device("machine")
    assert isinstance(machine, MachineSettings) and str(machine.start) == "2014-01-30 00:00:00"
    assert changed.seed == 9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("lines.tcp.port", "write KEY=VALUE"),
        ("lines.ghost.port=1", "the scenario has no 'ghost' in 'lines.ghost.port'"),
        ("name.deeper.still=1", "the scenario has no 'deeper'"),
        ("lines.x=1", "lines holds no keys"),
        ("seed=[", "'[' is not a value"),
        ("lines.tcp.prot=1", "lines.tcp.prot: unknown key (got 1)"),
        ("lines.tcp.port=many", "lines.tcp.port: Input should be a valid integer (got 'many')"),
    ],
)
def test_changes_that_cannot_be(tmp_path: Path, change: str, told: str) -> None:
    with pytest.raises(ScenarioError) as fault:
        load(str(scenario_file(tmp_path)), [change])
    assert told in str(fault.value)
