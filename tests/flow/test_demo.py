"""`gaugeline demo` as a newcomer runs it: with Ctrl-C, for a while, twice, and with no broker or database installed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import DemoError, free_port, gaugeline
from firmware_sim.demo.witness import read_truth
from tests.servers import InfluxDB


def demo(folder: Path, *arguments: str, port: int | None = None) -> list[str]:
    return gaugeline("demo", "--folder", str(folder), "--http", f"127.0.0.1:{port or free_port()}", *arguments)


def wait_for_anomaly(port: int, timeout_s: float) -> None:
    """Until the host has one on record; what is found in the end is judged by the report."""
    api, until = HostApi(f"http://127.0.0.1:{port}"), time.monotonic() + timeout_s
    while time.monotonic() < until:
        with contextlib.suppress(DemoError):  # it is still starting
            if api.anomalies(0, time.time_ns() // 1_000_000):
                return
        time.sleep(0.5)


def check(report: dict[str, Any]) -> None:
    """What every run promises."""
    out = ("stored", "dead_letters", "dropped", "in_flight", "collided", "lost")
    assert report["produced"] == sum(report[name] for name in out)
    assert [report[name] for name in out[1:]] == [0, 0, 0, 0, 0], report
    assert report["values_compared"]["checked"] > 20
    assert report["values_compared"]["wrong"] == 0, report["values_compared"]
    devices = report["devices"]
    assert set(devices) == {"machine-1", "machine-plc", "meter-rtu-7", "road-detector", "parking-plc"}
    assert all(entry["lost"] == 0 and entry["stored"] > 0 for entry in devices.values()), devices
    assert sum(entry["produced"] for entry in devices.values()) == report["produced"]
    assert {(entry["duplicates"], entry["gaps"]) for entry in devices.values()} == {(0, 0)}
    [gateway] = report["gateways"].values()
    assert (gateway["produced"], gateway["lost"], gateway["gaps"]) == (report["produced"], 0, 0)
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert set(report["rss_mb"]) == set(report["cpu_percent"]) == {"broker", "simulator", "cloud", "gateway"}
    assert all(mb > 1 for mb in report["rss_mb"].values())
    assert {"python", "store", "broker"} <= set(report["versions"])


def test_the_demo_finds_the_failure_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    report_file, folder = tmp_path / "report.json", tmp_path / "demo"
    port = free_port()
    command = demo(folder, "--embedded-broker", "--report", str(report_file), port=port)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_anomaly(port, 120)
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 4
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert "Traceback" not in said
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE], said
    report = json.loads(report_file.read_text())
    check(report)
    assert report["stored"] > 200
    assert report["versions"]["broker"].startswith("amqtt")
    (window,) = report["anomalies"]["true"]
    detected = report["anomalies"]["detected"]
    assert report["true_window_hit"]
    assert any(begin <= window[1] and window[0] <= end for begin, end in detected), report["anomalies"]
    first_sample = next(e["t_ms"] for e in read_truth(folder / "truth.jsonl") if e["kind"] == "served")
    assert min(begin for begin, _ in detected) - first_sample < 40_000
    for name in ("gateway", "cloud", "simulator"):
        assert "Traceback" not in (folder / f"{name}.log").read_text()


def test_a_second_run_in_the_same_folder_works_and_influxdb_takes_the_place_of_duckdb(
    tmp_path: Path, influxdb: InfluxDB
) -> None:
    for store in ("", f"influxdb+v1://127.0.0.1:{influxdb.port}/demo"):
        report_file = tmp_path / "report.json"
        command = demo(
            tmp_path / "demo", "--for", "6", "--report", str(report_file), *(["--store", store] if store else [])
        )
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        report = json.loads(report_file.read_text())
        check(report)
        assert report["versions"]["store"].startswith("InfluxDB 1.6" if store else "DuckDB")
        assert "produced" in ended.stdout


def test_a_database_that_is_down_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    nowhere = f"influxdb+v1://127.0.0.1:{free_port()}/demo"
    command = demo(tmp_path / "demo", "--for", "4", "--store", nowhere, "--report", str(report_file))
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 1, told
    assert "Traceback" not in told
    assert "sampling goes on, the gateway keeps what it takes: the database does not answer" in told
    assert "error: the database was down to the end" in told
    report = json.loads(report_file.read_text())
    assert report["database"].startswith("the database does not answer")
    assert report["stored"] is None and report["lost"] is None, "nobody counted them"
    assert report["in_flight"] == report["produced"] > 20, "all of it waits in the outbox"
    assert sum(entry["in_flight"] for entry in report["devices"].values()) == report["in_flight"]
    assert report["gateways"].keys() and report["rss_mb"]["gateway"] > 1


def test_a_demo_that_cannot_start_is_a_demo_error(tmp_path: Path) -> None:
    from firmware_sim.demo.chain import Chain, DemoSettings

    chain = Chain(DemoSettings(folder=tmp_path / "demo", http_port=free_port(), store="nonsense:x"), lambda text: None)
    try:
        with pytest.raises(DemoError, match="store"):
            chain.start()
    finally:
        chain.stop()
