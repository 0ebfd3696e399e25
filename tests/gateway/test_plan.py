"""`gaugeline gateway plan` and what `check` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.spec import Illegal
from gateway.cli import main
from gateway.illegal import IllegalFile, illegal_path
from gateway.reload import checked
from wire.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

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


def test_a_plan_shows_requests_and_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", site(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "line bus: modbus-rtu, /dev/ttyUSB0, 19200 baud 8E1",
        "  device    unit  asks            count  bytes  every     wire",
        "  meter-1   1     03 holding 0-4      5   8+15    1 s  22.2 ms",
        "    a, b",
        "    reads through 2-3",
        "  meter-2   2     01 coil 7           1    8+6   60 s  17.0 ms",
        "    c",
        "line bus: 2 requests, cycle 0.02 s of 1.00 s, load 2 %",
        "  reserve for one silent device 0.57 s, 0.59 s of 1.00 s with it",
        "",
        "line road: serial-text, /dev/ttyUSB1, 9600 baud 8N1",
        "  d speaks by itself: a frame in 1 s or sooner; the device sets the pace",
        "    x",
        "line road: 1 device listened to, nothing is asked",
    ]
    assert main(["plan", "--json", str(tmp_path / "site.yaml")]) == 0
    found, road = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["requests"][0] == {
        "device": "meter-1", "unit": "1", "asks": None, "function": 3, "table": "holding", "address": 0, "count": 5,
        "through": [[2, 3]], "request_bytes": 8, "answer_bytes": 15, "exact": True, "period_s": 1.0,
        "wire_s": 0.022187, "tags": ["a", "b"],
    }  # fmt: skip
    assert found["cycle_s"] == pytest.approx(0.022187 + found["requests"][1]["wire_s"] / 60, abs=1e-6)
    assert found["fault_reserve"] is True and road["requests"] == []
    heard = {"device": "d", "tags": ["x"], "frame_bytes": None, "period_s": 1.0, "bytes_per_s": None}
    assert road["listens"] == [heard]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_plan_of_every_example_fits_the_screen(
    example: Path, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["plan", str(example)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width and lines[0].startswith("line ")


def test_long_names_give_way_to_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = Path(site(tmp_path))
    tags = ", ".join(f"{{name: temperature-of-bearing-{i}, table: input, address: {3 * i}}}" for i in range(12))
    name = "meter-of-the-long-hall-behind-the-canteen"
    path.write_text(path.read_text() + f"  - {{id: {name}, line: bus, unit_id: 247, tags: [{tags}]}}\n")
    assert main(["plan", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if "meter-of" in line)
    assert max(map(len, lines)) <= 80 and ".." in row and row.endswith("55.4 ms")
    assert "    temperature-of-bearing-0, temperature-of-bearing-1 and 10 more" in lines
    assert "    reads through 1-2, 4-5, 7-8, 10-11, 13-14, 16-17, 19-20, 22-23 and 3 more" in lines


def test_polled_serial_devices_and_meters_have_a_plan_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", str(EXAMPLES / "meters.yaml")]) == 0
    meters = json.loads(capsys.readouterr().out)
    assert len(meters["requests"]) == 7 and meters["exact"] and meters["reserve_s"] == 0.65
    assert main(["plan", str(EXAMPLES / "weighing.yaml")]) == 0
    out = capsys.readouterr().out
    assert "  scale-1  'SI\\r\\n'  4+<=20  0.5 s  30.0 ms" in out.replace("scale-1   ", "scale-1  ")
    assert "cycle 0.01 to 0.03 s of 0.50 s, load 2 to 6 %" in out and "max_length" in out
    assert main(["plan", str(EXAMPLES / "barrier.yaml")]) == 0
    assert "barriers speaks by itself: events; the device sets the pace" in capsys.readouterr().out


def test_what_devices_refused_is_planned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site(tmp_path)
    IllegalFile(illegal_path(tmp_path / "outbox.db")).learned("meter-1", "/dev/ttyUSB0/1", [Illegal("holding", 2, 4)])
    assert main(["plan", path]) == 0
    assert "line bus: 3 requests" in capsys.readouterr().out


def test_a_plan_that_cannot_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site(tmp_path, baud=300)
    for command in ("check", "plan", "run"):
        assert main([command, path]) == 1
        told = capsys.readouterr().err
        assert "site.yaml: line bus: 2 requests: cycle 1.12 s of 1.00 s, load 112 %; to make it fit, set" in told


def test_no_room_for_a_fault_is_refused_and_can_be_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(site(tmp_path, timeout_s=1))
    for command in ("check", "plan", "run"):
        assert main([command, str(path)]) == 1
        told = capsys.readouterr().err
        assert "line bus: no room for a fault: cycle 0.02 s + reserve 1.07 s for one silent device = 1.09 s" in told
        assert "set period_s to at least 1.1, or set timeout_s to at most 0.9, or" in told
    path.write_text(path.read_text().replace("timeout_s: 1}", "timeout_s: 1, fault_reserve: false}"))
    assert main(["check", str(path)]) == 0
    assert "warning: line bus: no room for a fault" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no room for a fault"):
        checked(Path(site(tmp_path, timeout_s=1)))
