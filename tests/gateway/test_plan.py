"""`gaugeline gateway plan` and what `check` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.spec import Illegal
from gateway.cli import main
from gateway.illegal import IllegalFile, illegal_path

SITE = """\
group: g
gateway: w
broker: mqtt://127.0.0.1
lines:
  - {{name: bus, driver: modbus-rtu, port: /dev/ttyUSB0, baud: {baud}, parity: E, timeout_s: {timeout_s}}}
  - {{name: road, driver: serial-text, port: /dev/ttyUSB1}}
devices:
  - id: meter-1
    line: bus
    unit_id: 1
    tags: [{{name: a, table: holding, address: 0, type: float32}}, {{name: b, table: holding, address: 4}}]
  - {{id: meter-2, line: bus, unit_id: 2, tags: [{{name: c, table: coil, address: 7, period_s: 60}}]}}
  - {{id: d, line: road, frame: {{pattern: "(?P<x>.)"}}, tags: [{{name: x, field: x}}]}}
"""


def site(folder: Path, baud: int = 19200, timeout_s: float = 0.5) -> str:
    path = folder / "site.yaml"
    path.write_text(SITE.format(baud=baud, timeout_s=timeout_s))
    return str(path)


def test_a_plan_shows_requests_and_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", site(tmp_path)]) == 0
    out, err = capsys.readouterr()
    first, second, total = out.splitlines()
    assert "meter-1" in first and "holding 0-4" in first and "2 tags every 1 s" in first and "22.19 ms" in first
    assert "coil 7" in second and "every 60 s" in second and err == ""
    assert total == "line bus: 2 requests, cycle 0.02 s of 1.00 s, load 2 %, reserve for one fault 0.57 s"
    assert main(["plan", "--json", str(tmp_path / "site.yaml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"][0] == {
        "device": "meter-1", "unit_id": 1, "table": "holding", "address": 0, "count": 5, "period_s": 1.0,
        "wire_s": 0.022187, "tags": ["a", "b"],
    }  # fmt: skip
    assert found["cycle_s"] == pytest.approx(0.022187 + found["requests"][1]["wire_s"] / 60, abs=1e-6)


def test_what_devices_refused_is_planned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site(tmp_path)
    IllegalFile(illegal_path(tmp_path / "outbox.db")).learned("meter-1", "/dev/ttyUSB0/1", [Illegal("holding", 2, 4)])
    assert main(["plan", path]) == 0
    assert "line bus: 3 requests" in capsys.readouterr().out


def test_a_plan_that_cannot_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site(tmp_path, baud=300)
    for command in ("check", "plan"):
        assert main([command, path]) == 1
        assert "site.yaml: line bus: 2 requests need 1.12 s of every 1 s (load 112 %); set" in capsys.readouterr().err


def test_no_room_for_a_fault_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", site(tmp_path, timeout_s=1)]) == 0
    assert "warning: line bus: no room for a fault" in capsys.readouterr().err
