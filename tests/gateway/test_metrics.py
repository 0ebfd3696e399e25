"""What a gateway serves for Prometheus, and its status for people: from a real process, and of every state."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.box import Box, temperatures
from gateway.cli import main
from gateway.clock import kernel_clock
from gateway.config import load_site
from gateway.metrics import exposition
from gateway.problems import problems
from gateway.reload import difference
from gateway.status_view import duration, exit_code, status_of, status_text
from tests.gateway.field import modbus_device, site_yaml
from tests.gateway.host import host
from tests.gateway.test_cli import REPO, output, running, started
from tests.servers import Mosquitto, free_port
from wire.errors import ConfigError

PASSWORD = "not-for-your-eyes-81723"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    """(name, labels) -> value; fails where a name or a line is not as the format wants it."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(series: Series, name: str, **labels: str) -> float:
    return series[name, frozenset(labels.items())]


async def scraped(port: int, path: str = "/metrics", method: str = "GET") -> str:
    def get() -> str:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


def names_follow_the_conventions(text: str) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    assert len(kinds) > 40
    for name, kind in kinds.items():
        assert re.fullmatch(r"(gaugeline|process)_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|mb|percent|minutes)(_|$)", name), f"{name} is not in a base unit"


async def test_a_real_gateway_is_scraped_and_its_figures_are_those_of_the_host(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    registers, metrics = [0x3FC0, 0, 7], free_port()
    (tmp_path / "secret").write_text(PASSWORD)
    async with modbus_device(registers) as port, host(mosquitto.port) as h:
        more = """  - id: fan
    line: plc
    unit_id: 2
    period_s: 0.05
    tags: [{name: speed, table: holding, address: 40}]
"""
        site = site_yaml(tmp_path, mosquitto.url, port, more=more)
        # Two devices at 20 polls a second leave no room for a fault.
        text = site.read_text().replace("driver: modbus-tcp", "driver: modbus-tcp, fault_reserve: false")
        text = text.replace(
            f"broker: {mosquitto.url}", f"broker: {{url: '{mosquitto.url}', username: gw, password_file: secret}}"
        )
        site.write_text(f"{text}metrics: {{port: {metrics}}}\n")
        async with running(site, "--verbose", "--log-format", "json") as process:
            await h.until(lambda: h.samples > 20)
            await h.command("Node Control/Rebirth", True)
            await h.until(lambda: len(h.of("NBIRTH")) == 2)
            code, told, errors = await output("status", str(site))
            status = await status_of(load_site(site))
            page = await scraped(metrics)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                await scraped(metrics, "/")
            with pytest.raises(urllib.error.HTTPError, match="405"):
                await scraped(metrics, method="POST")
            assert await scraped(metrics, method="HEAD") == ""
            later = parsed(await scraped(metrics))
            process.terminate()
            assert process.stderr is not None
            log = (await asyncio.wait_for(process.stderr.read(), 30)).decode()
        produced = len(h.rows)

    series = parsed(page)
    names_follow_the_conventions(page)
    promtool = shutil.which("promtool")
    if promtool is not None:
        subprocess.run([promtool, "check", "metrics"], input=page.encode(), check=True)
    assert value(series, "gaugeline_gateway_info", group="plant", gateway="gw", version="0.1.0") == 1
    assert value(series, "gaugeline_uplink_connected") == value(series, "gaugeline_uplink_state", state="online") == 1
    assert value(series, "gaugeline_uplink_broker_info", broker=mosquitto.url) == 1
    assert value(series, "gaugeline_uplink_sessions_total") == 1
    assert sum(v for (name, _), v in series.items() if name == "gaugeline_uplink_rebirths_total") == 1
    assert 20 < value(series, "gaugeline_samples_produced_total", device="pump") <= produced
    assert value(series, "gaugeline_outbox_waiting_batches") <= 10
    assert value(series, "gaugeline_outbox_limit_bytes") == 20e6
    assert 0 < value(series, "gaugeline_outbox_kept_bytes") < 20e6
    commits = value(series, "gaugeline_outbox_commits_total")
    assert value(series, "gaugeline_outbox_commit_seconds_count") == commits > 2
    assert value(series, "gaugeline_outbox_commit_seconds_bucket", le="+Inf") == commits
    assert 0 < value(series, "gaugeline_outbox_commit_seconds_sum") < 10 * commits
    assert value(series, "gaugeline_device_answering", line="plc", device="pump") == 1
    # A refusal of the only request is an answer of the device, and a fault of its own kind.
    assert value(series, "gaugeline_device_faults_total", line="plc", device="fan", kind="refused") > 0
    assert value(series, "gaugeline_device_faults_total", line="plc", device="pump", kind="refused") == 0
    assert value(series, "process_cpu_seconds_total") > 0.1
    assert 20e6 < value(series, "process_resident_memory_bytes") < 500e6
    assert value(series, "process_open_fds") > 5
    assert value(series, "gaugeline_event_loop_lag_seconds_bucket", le="+Inf") > 2
    # Counters only rise, and nothing that was there goes away.
    assert later.keys() >= series.keys()
    assert all(later[key] >= v for key, v in series.items() if key[0].endswith("_total"))

    assert (code, exit_code(status)) == (0, 0), (told, errors)
    assert f"plant/gw: online, pid {status['pid']}, for " in told
    assert re.search(r"uplink: online since 20\d\d-.*, primary host gaugeline online", told)
    assert re.search(r"outbox: \d+ batches \(\d+ samples\) wait.* of 20 MB; 0 samples dropped, 0 refused", told)
    assert re.search(r"device fan; last error .*refus.*", told)
    assert f"metrics on port {metrics}" in told
    assert status["metrics"] == {"port": metrics, "trouble": ""}
    assert status["uplink"]["primary_host"] == {"id": "gaugeline", "state": "online"}
    # Every line of the log is an object, and no secret is anywhere.
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert {"gateway runs", "metrics are served", "uplink", "gateway stops"} <= set(events)
    assert not [text for text in (told, json.dumps(status), page, log, errors) if PASSWORD in text]


async def test_a_gateway_without_broker_and_with_its_port_in_use_runs_on_and_is_watched(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        async with modbus_device([0x3FC0, 0, 7]) as port:
            more = f"metrics: {{port: {taken}}}\n"
            site = site_yaml(tmp_path, f"mqtt://127.0.0.1:{free_port()}", port, more=more)
            looks = await started("status", str(site), "--watch", "0.1", "--json")
            assert looks.stdout is not None and looks.stderr is not None
            assert b"it has never run here" in await asyncio.wait_for(looks.stderr.readline(), 30)
            async with running(site) as process:
                async with asyncio.timeout(60):
                    while (status := json.loads(await looks.stdout.readline()))["pid"] is None:
                        pass
                looks.terminate()
                await looks.communicate()
                assert status["uplink"]["primary_host"]["state"] == "unknown"
                code, told, _ = await output("status", str(site))
                assert (code, "2 things need attention:" in told) == (1, True)
                assert "\n  uplink: down: " in told
                assert f"metrics: port {taken} of 127.0.0.1 cannot be used: Address already in use" in told
                assert re.search(r"pump +[1-9]\d* +0 +[1-9]", told)  # produced, none confirmed, in flight
                process.terminate()
                assert process.stderr is not None
                log = (await asyncio.wait_for(process.stderr.read(), 30)).decode()
                assert log.count("metrics are not served") == 1
                assert "give another metrics.port in site.yaml" in log
                assert "Traceback" not in log


def test_a_gateway_that_never_ran_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(site_yaml(tmp_path, "mqtt://127.0.0.1:1", 502))]) == 3
    told = capsys.readouterr()
    assert (told.out, "it has never run here" in told.err) == ("", True)


def test_a_metrics_port_is_a_port_and_by_default_there_is_none(tmp_path: Path) -> None:
    site = site_yaml(tmp_path, "mqtt://127.0.0.1:1", 502)
    plain = site.read_text()
    assert load_site(site).metrics is None
    site.write_text(f"{plain}metrics: {{}}\n")
    with_metrics = load_site(site)
    assert with_metrics.metrics == 9464
    site.write_text(plain)
    with pytest.raises(ConfigError, match="a change of metrics needs a restart"):
        difference(with_metrics, load_site(site))
    site.write_text(f"{plain}metrics: {{port: 70000, host: 0.0.0.0}}\n")
    with pytest.raises(ConfigError) as caught:
        load_site(site)
    assert len(caught.value.problems) == 2
    assert all(":14: metrics." in problem for problem in caught.value.problems)


def test_operation_md_explains_every_series() -> None:
    page = (REPO / "docs/operation.md").read_text()
    status = sound()
    status["uplink"] |= {"confirmed": 1, "confirmed_again": 1, "refilled": 1, "conflicts": 1, "round_trip_ms": 1.0}
    names = re.findall(r"^# TYPE (\S+) ", exposition(status).decode(), re.M)
    assert [name for name in names if f"`{name}`" not in page] == []
    told = re.findall(r"`((?:gaugeline|process)_[a-z_]+)`", page)
    assert set(told) == set(names)


BASELINE = {
    "state": "frozen", "learnt_rows": 5, "own_rows": 5, "drift": {"flow": -1.5}, "notices": [], "recalibrations": 2,
    "refused_rows": 7,
}  # fmt: skip


def sound() -> dict[str, Any]:
    """The status of a gateway that runs well, with a device of each kind of trouble yet to come."""
    unit: dict[str, Any] = {
        "state": "answering", "polls": 9, "answers": 9, "timeouts": 0, "refused": 0, "garbled": 0, "unparsed": 0,
        "last_answer_ms": 5_000, "illegal": [], "last_error": "", "since_ms": 1_000, "last_error_ms": None,
    }  # fmt: skip
    line: dict[str, Any] = {
        "state": "open", "late_rejected": 0, "overruns": 0, "reconnects": 0, "last_error": "", "units": {"pump": unit},
        "since_ms": None, "last_error_ms": None,
    }  # fmt: skip
    counters = dict.fromkeys(("produced", "confirmed", "in_flight", "suppressed", "refused", "dropped", "parked"), 0)
    return {
        "group": "plant", "gateway": "gw", "pid": 7, "uptime_s": 60.0, "versions": {}, "problems": [], "stalled": [],
        "config": {"error": "", "reloads": 0}, "restarts": {}, "gaps": [], "devices": {"pump": counters},
        "uplink": {
            "state": "online", "broker": "mqtt://b:1883", "trouble": "", "sessions": 1, "births": 1, "rebirths": 0,
            "published": 9, "resent": 0, "live_waiting": 0, "under_way": 0, "round_trip_ms": None, "since_ms": None,
            "primary_host": {"id": "gaugeline", "state": "online"},
        },
        "outbox": {
            "answers": True, "pending_batches": 0, "pending_samples": 0, "waiting_samples": 0, "oldest_ms": None,
            "oldest_age_s": 0.0, "bytes": 1, "limit_bytes": 10, "commits": 9, "failures": 0, "commit_ms_p99": 1.5,
            "commit_took": {"sum_s": 0.009, "buckets": [[0.001, 3], [0.005, 8], [None, 9]]}, "trouble": "",
        },
        "lines": {"plc": line}, "scoring": {"press": {"state": "on", "problem": "", "baseline": dict(BASELINE)}},
        "scored": {"rows": 3, "seconds": 0.5},
        "box": {
            "cpu_s": 1.0, "cpu_percent": 2.5, "rss_bytes": 60e6, "open_fds": 9, "threads": 3,
            "temperature_celsius": {"thermal_zone0/cpu-thermal": 48.3},
        },
        "kernel_clock": {"state": "synchronised", "max_error_s": 0.004},
        "loop": {"worst_s": 0.002, "lag_sum_s": 0.01, "lag_buckets": [[0.001, 1], [None, 2]]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "wrong", "told"),
    [
        (("uplink", "state"), "waiting for host", "uplink: waiting for host: nothing is published before it is there"),
        (("outbox", "trouble"), "disk full", "outbox: disk full"),
        (("outbox", "oldest_age_s"), 7200.0, "outbox: the oldest batch has waited 120 min for its confirmation"),
        (("config", "error"), "bad", "site.yaml is not used as it is: bad"),
        (("lines", "plc", "state"), "backing-off", "line plc: backing-off"),
        (("lines", "plc", "state"), "closed", "line plc: closed"),
        (("lines", "plc", "units", "pump", "state"), "dead", "device pump: dead: "),
        (("scoring", "press"), {"state": "off", "problem": "no model"}, "asset press is not scored: no model"),
        (("stalled",), ["line plc"], "stands still: line plc"),
        (("metrics",), {"port": 1, "trouble": "taken"}, "metrics: taken"),
    ],
)
def test_every_problem_is_told_and_makes_the_exit_code_1(path: tuple[str, ...], wrong: object, told: str) -> None:
    status = sound()
    assert problems(status) == []
    assert exit_code(status) == 0
    part = status
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    assert problems(status) == [told]
    status["problems"] = problems(status)
    assert exit_code(status) == 1
    assert f"1 thing needs attention:\n  {told}" in status_text(status, 6_000)
    assert value(parsed(exposition(status).decode()), "gaugeline_problems") == 1


def test_people_see_the_times_the_board_and_the_restarts() -> None:
    status = sound()
    status["restarts"] = {"line plc": 2}
    status["lines"]["plc"]["units"]["pump"] |= {"last_error": "no answer", "last_error_ms": 1_000, "illegal": ["9"]}
    text = status_text(status, 66_000)
    assert "; tasks started again: line plc 2" in text
    assert re.search(r"pump +answering +9 +9 +0 +0 +0 +1 min 1 s ago", text)
    assert "device pump; last error 1 min 5 s ago: no answer" in text
    assert "device pump: 1 found illegal: 9" in text
    assert "CPU 2.5 %, memory 60 MB, 9 files open" in text
    assert "board 48 °C; clock synchronised within 4 ms; 3 rows scored in 0.5 s" in text
    assert [duration(s) for s in (0, 59, 60, 250, 3600, 7500, 90_000)] == [
        "0 s", "59 s", "1 min", "4 min 10 s", "1 h", "2 h 5 min", "1 d 1 h"
    ]  # fmt: skip


def test_the_baseline_of_an_asset_has_its_series_and_one_without_has_none() -> None:
    status = sound()
    status["scoring"]["press"]["missing"] = ["flow"]
    status["scoring"]["fan"] = {"state": "off", "problem": "no model", "model": ""}
    series = parsed(exposition(status).decode())
    assert value(series, "gaugeline_asset_scored", asset="press") == 1
    assert value(series, "gaugeline_asset_scored", asset="fan") == 0
    assert value(series, "gaugeline_asset_missing_inputs", asset="press") == 1
    assert value(series, "gaugeline_baseline_state", asset="press", state="frozen") == 1
    assert value(series, "gaugeline_baseline_state", asset="press", state="follows") == 0
    assert value(series, "gaugeline_baseline_drift", asset="press", tag="flow") == -1.5
    assert value(series, "gaugeline_baseline_notices", asset="press") == 0
    assert value(series, "gaugeline_baseline_recalibrations_total", asset="press") == 2
    assert value(series, "gaugeline_baseline_refused_rows_total", asset="press") == 7
    assert not [labels for name, labels in series if "baseline" in name and ("asset", "fan") in labels]
    told = "asset press: judged without flow: BAD for now; what only that tag shows is not seen"
    assert told in problems(status)
    assert "  judged without flow" in status_text(status, 60_000)


def test_figures_that_are_not_there_are_no_series() -> None:
    status = sound()
    series = parsed(exposition(status).decode())
    assert value(series, "gaugeline_board_temperature_celsius", zone="thermal_zone0/cpu-thermal") == 48.3
    assert value(series, "gaugeline_clock_max_error_seconds") == 0.004
    buckets = {le: value(series, "gaugeline_outbox_commit_seconds_bucket", le=le) for le in ("0.001", "0.005", "+Inf")}
    assert buckets == {"0.001": 3, "0.005": 8, "+Inf": 9}
    assert value(series, "gaugeline_outbox_commit_seconds_sum") == 0.009
    status["box"]["temperature_celsius"] = {}
    status["kernel_clock"] = {"state": "unknown", "max_error_s": None}
    status["outbox"] = {"answers": False, "pending_batches": 0, "bytes": 0, "trouble": "hangs"}
    status["uplink"] |= {"rebirths: host": 3, "rebirths: new tags": 1, "rebirths": 4, "round_trip_ms": 12.0}
    status["restarts"] = {"line plc": 2}
    status["stalled"] = ["outbox worker"]
    series = parsed(exposition(status).decode())
    names = {name for name, _ in series}
    assert not names & {"gaugeline_board_temperature_celsius", "gaugeline_clock_max_error_seconds"}
    assert value(series, "gaugeline_outbox_answers") == 0
    assert "gaugeline_outbox_oldest_age_seconds" not in names
    assert value(series, "gaugeline_clock_state", state="unknown") == 1
    assert value(series, "gaugeline_uplink_rebirths_total", cause="host") == 3
    assert value(series, "gaugeline_uplink_rebirths_total", cause="new tags") == 1
    assert value(series, "gaugeline_uplink_round_trip_seconds") == 0.012
    assert value(series, "gaugeline_task_restarts_total", task="line plc") == 2
    assert value(series, "gaugeline_stalled", part="outbox worker") == 1


def test_the_box_tells_of_itself_and_a_zone_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    box = Box()
    box.look(1.0)
    assert box.figures()["cpu_percent"] is None
    while box.cpu_s() < 0.05 or box.cpu_percent is None:
        sum(range(200_000))
        box.look(2.0)
    figures = box.figures()
    assert figures["rss_bytes"] > 10e6
    assert figures["threads"] >= 1
    assert kernel_clock().state in ("synchronised", "not synchronised", "unknown")
    for name, temp in (("thermal_zone0", "48312\n"), ("thermal_zone1", "nothing")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(temp)
        (tmp_path / name / "type").write_text("cpu-thermal\n")
    assert temperatures(tmp_path) == {"thermal_zone0/cpu-thermal": 48.312}
    assert temperatures(tmp_path / "none") == {}
