"""The command as a person or a script meets it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_sim.cli import main
from tests.firmware_sim.running import scenario_file, truth


@contextmanager
def sim(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`gaugeline sim run` as a process, and its ready line."""
    command = [sys.executable, "-m", "gaugeline", "sim", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def export(tmp_path: Path, *arguments: str) -> bytes:
    out = tmp_path / "out.csv"
    assert main(["export", "demo", *arguments, "--out", str(out)]) == 0
    return out.read_bytes()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_run_says_ready_when_all_listen_and_ends_cleanly(tmp_path: Path, end: signal.Signals) -> None:
    links = {"lines.meter-rtu.port": tmp_path / "meter", "lines.road-serial.port": tmp_path / "road"}
    changes = [word for key, path in links.items() for word in ("--set", f"{key}={path}")]
    with sim("demo", "--truth", str(tmp_path / "truth.jsonl"), *changes) as (process, ready):
        assert ready["event"] == "ready"
        devices = {each["id"]: each for each in ready["devices"]}
        assert {name: each["kind"] for name, each in devices.items()} == {
            "machine-plc": "modbus-tcp",
            "meter-rtu-7": "modbus-rtu",
            "road-detector": "serial-text",
            "parking-plc": "modbus-tcp",
        }
        for name in ("machine-plc", "parking-plc"):
            socket.create_connection((devices[name]["host"], devices[name]["port"]), timeout=30).close()
        assert devices["meter-rtu-7"]["port"] == str(tmp_path / "meter")
        with serial.Serial(devices["road-detector"]["port"], 9600, timeout=30) as port:
            assert port.read_until(b"\r\n").endswith(b"\r\n")
        process.send_signal(end)
        assert process.wait(60) == 0
        assert process.stderr is not None and process.stderr.read() == ""
    assert not any(path.is_symlink() for path in links.values())
    assert truth(tmp_path, "served", "road-detector")


def test_after_kill_9_the_truth_is_whole_and_the_same_command_works_again(tmp_path: Path) -> None:
    arguments = ["demo", "--truth", str(tmp_path / "truth.jsonl")]
    arguments += ["--set", f"lines.road-serial.port={tmp_path / 'road'}", "--set", "devices.road-detector.row_s=0.1"]
    for run in (1, 2):
        with sim(*arguments) as (process, ready):
            arguments += ["--set", f"lines.plc-tcp.port={ready['devices'][0]['port']}"] if run == 1 else []
            with serial.Serial(str(tmp_path / "road"), 9600, timeout=30) as port:
                heard = [port.read_until(b"\r\n") for _ in range(4)][1:]
            os.kill(process.pid, signal.SIGKILL)
            process.wait(60)
        assert len(truth(tmp_path, "run")) == run
        served = {f"{each['values']['occupancy']:06.2f}" for each in truth(tmp_path, "served", "road-detector")}
        assert {line[7:13].decode() for line in heard} <= served


def test_an_export_has_the_same_bytes_for_the_same_seed_only(tmp_path: Path) -> None:
    normal = ["--device", "machine-plc", "--rows", "300", "--from", "2014-01-06 20:00"]
    first = export(tmp_path, *normal)
    assert export(tmp_path, *normal) == first
    assert export(tmp_path, *normal, "--seed", "2") != first
    rows = list(csv.DictReader(first.decode().splitlines()))
    assert list(rows[0]) == [
        "t_s",
        "temperature",
        "motor_current",
        "vibration_rms",
        "speed_rpm",
        "run_hours",
        "running",
    ]
    assert [rows[at]["t_s"] for at in (0, 1, 299)] == ["0.000", "0.100", "29.900"]
    assert float(rows[0]["temperature"]) == pytest.approx(86.0763, abs=1e-3)
    assert rows[0]["running"] == "1"


def test_an_export_says_what_the_wire_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "demo", "--device", "road-detector", "--rows", "2"]) == 0
    assert capsys.readouterr().out == "t_s,occupancy,speed,flow\n0.000,13.56,63.0,2115\n0.500,8.33,63.0,1299\n"
    [row] = list(csv.DictReader(export(tmp_path, "--device", "meter-rtu-7", "--rows", "1").decode().splitlines()))
    assert len(row["voltage"].partition(".")[2]) <= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere"], "error: no scenario 'nowhere'"),
        (["run", "demo", "--set", "lines.plc-tcp.colour=red"], "lines.plc-tcp.colour: unknown key (got 'red')"),
        (["run", "demo", "--seed", "-1"], "seed: Input should be greater than or equal to 0 (got -1)"),
        (["run", "demo", "--set", "devices.machine-plc.start=1999-01-01"], "1999-01-01 00:00 is outside the recording"),
        (["run", "demo", "--truth", "/nowhere/truth.jsonl"], "--truth: cannot write /nowhere/truth.jsonl"),
        (
            ["export", "demo", "--device", "ghost", "--rows", "1"],
            "no device 'ghost' in scenario 'demo'; there are: mach",
        ),
        (["export", "demo", "--device", "machine-plc", "--rows", "0"], "--rows: must be at least 1 (got 0)"),
        (["export", "demo", "--device", "machine-plc", "--rows", "99999"], "--rows: the recording has only 3708 rows"),
        (
            ["export", "demo", "--device", "machine-plc", "--rows", "1", "--from", "noon"],
            "--from: 'noon' is not a time",
        ),
        (["export", "demo", "--device", "parking-plc", "--rows", "1", "--from", "2014-01-30"], "replays no recording"),
        (["export", "demo", "--device", "parking-plc", "--rows", "1", "--out", "/nowhere/x"], "--out: cannot write"),
    ],
)
def test_faults_of_the_user_are_one_clear_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert told in shown.err and shown.out == ""
    assert all(line.startswith("error: ") for line in shown.err.splitlines())


def test_a_port_in_use_ends_the_run_and_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["run", "demo", "--set", f"lines.parking-tcp.port={port}"]) == 1
    assert f"error: lines.parking-tcp.port: 127.0.0.1:{port} is in use" in capsys.readouterr().err


def test_a_wrong_call_is_argparses() -> None:
    for arguments in ([], ["dance"], ["export", "demo"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_list_names_scenarios_and_every_signals_register(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["list", "demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "machine-plc  (machine, line plc-tcp, unit id 1)" in lines
    assert any(
        line.split() == ["run_hours", "holding", "5", "uint32", "CDAB", "x", "0.1", "h", "physics"] for line in lines
    )
    assert any(
        line.split() == ["temperature", "holding", "0", "float32", "ABCD", "[degF]", "recording"] for line in lines
    )


def test_list_may_be_cut_short_by_its_reader() -> None:
    command = f"{sys.executable} -m gaugeline sim list demo | head -1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ended.stderr == "" and ended.stdout.startswith("machine-plc")


def test_a_run_ends_by_itself_and_says_its_speed(tmp_path: Path) -> None:
    arguments = ["demo", "--for", "0.7", "--speed", "60", "--truth", str(tmp_path / "truth.jsonl")]
    with sim(*arguments) as (process, _):
        assert process.wait(60) == 0
    assert truth(tmp_path, "run")[0]["speed"] == 60
    assert any(each["name"] == "recorded failure" for each in truth(tmp_path, "fault", "machine-plc"))


def test_check_says_what_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scenario_file(
        tmp_path,
        "  - {device: machine, kind: late, at_s: 5, for_s: 1, every_s: 9, chance: 0.5}\n"
        "  - {device: road, kind: silent, rate_per_h: 2, for_s: 30}\n",
    )
    assert main(["check", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "bench: seed 1, speed 1"
    assert "line bus  modbus-rtu  a path of its own 19200 E1" in told
    assert "  second  energy_meter, unit id 8, 6 signals" in told
    assert told[-2:] == [
        "fault late  machine  at 5 s for 1 s, every 9 s, each answer with probability 0.5",
        "fault silent  road  2 times an hour for 30 s",
    ]
    path = scenario_file(tmp_path, "  - {device: meter, kind: stuck, at_s: 5, for_s: 1, signals: [powr]}\n")
    assert main(["check", str(path)]) == 1
    assert "faults: meter has no signal 'powr'; there are: active_power, current" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["0", "-3"])
def test_a_run_needs_a_time(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "--for", given]) == 1
    assert "--for: must be more than 0 seconds" in capsys.readouterr().err


def test_a_terminal_shows_what_happens(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "  - {device: road, kind: silent, at_s: 0, for_s: 99}\n")
    terminal, other = pty.openpty()
    command = [sys.executable, "-m", "gaugeline", "sim", "run", str(path), "--for", "1.4", "--speed", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=other) as process:
        os.close(other)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(terminal, 4096):
                shown += data
        assert process.wait(60) == 0
    os.close(terminal)
    assert b"x2" in shown and b"served" in shown and b"marred" in shown and b"faults: road silent" in shown
    assert shown.endswith(b"\r\n")
