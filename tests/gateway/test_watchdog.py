"""Words to systemd: from a real gateway process over a real notify socket; a hung part must not feed the watchdog."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from cloud import cli as cloud_cli
from gateway import cli as gateway_cli
from gateway.config import load_site
from gateway.history import History
from gateway.notify import Notifier
from gateway.pulse import LoopLag, Progress, allowed_s
from gateway.status import ask
from tests.gateway.field import modbus_device, site_yaml
from tests.gateway.host import host
from tests.gateway.watched import REPO, watched
from tests.servers import Mosquitto

WATCHDOG_S = 0.6


async def test_systemd_hears_ready_status_reload_and_stop_and_feeds_end_while_disk_line_or_loop_hangs(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port) as h:
        site = site_yaml(tmp_path, mosquitto.url, port)
        async with watched(tmp_path, site, WATCHDOG_S) as (process, systemd):
            await systemd.until(lambda: systemd.count("READY=1") == 1)
            # When it says that it is ready the outbox is open and the control socket answers.
            assert (await ask(load_site(site).outbox.path, {"cmd": "status"}))["pid"] == process.pid
            await systemd.until(lambda: systemd.status == "uplink online; 1 lines open")
            await systemd.is_fed()

            for part, name in (("disk", "outbox worker"), ("line", "line plc")):
                (tmp_path / part).touch()
                await systemd.until(lambda part=name: f"stands still: {part}" in systemd.status)  # type: ignore[misc]
                assert await systemd.fed_within(1.2 * WATCHDOG_S) == 0
                told = await ask(load_site(site).outbox.path, {"cmd": "status"})
                assert told["stalled"] == [name]
                assert told["problems"][0] == f"stands still: {name}"
                assert told["outbox"]["answers"] is (part != "disk")
                (tmp_path / part).unlink()
                await systemd.until(lambda: "stands still" not in systemd.status)
                await systemd.is_fed()

            (tmp_path / "loop").touch()
            process.send_signal(signal.SIGUSR1)
            async with asyncio.timeout(60):
                while await systemd.fed_within(0.3):  # what was on its way
                    pass
            assert await systemd.fed_within(1.2 * WATCHDOG_S) == 0
            (tmp_path / "loop").unlink()
            await systemd.is_fed()

            process.send_signal(signal.SIGHUP)
            await systemd.until(lambda: systemd.count("RELOADING=1") == 1 and systemd.count("READY=1") == 2)
            reloading = next(said for said in systemd.heard if "RELOADING=1" in said)
            assert reloading[1].startswith("MONOTONIC_USEC=")
            count = h.samples
            await h.until(lambda: h.samples > count + 4)
            process.terminate()
            assert process.stderr is not None
            errors = (await asyncio.wait_for(process.stderr.read(), 30)).decode()
            systemd.listen()
            assert systemd.count("STOPPING=1") == 1
            assert await process.wait() == 0
            assert "Traceback" not in errors
            # One line a change of state.
            assert errors.count("something stands still, the watchdog is not fed") == 2
            assert errors.count("everything moves again") == 2
            assert 'stalled="outbox worker"' in errors


def test_what_systemd_wants_is_read_from_the_environment() -> None:
    assert Notifier.of({}, 7).watchdog_s is None
    assert Notifier.of({"WATCHDOG_USEC": "30000000"}, 7).watchdog_s == 30
    assert Notifier.of({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7).watchdog_s == 30
    # Meant for another process, or nonsense.
    for wrong in ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}):
        assert Notifier.of(wrong, 7).watchdog_s is None
    Notifier().feed()  # nobody listens


def test_an_abstract_socket_is_reached_and_one_that_is_gone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("")  # the kernel gives an abstract name
        ear.settimeout(60)
        notifier = Notifier("@" + ear.getsockname()[1:].decode())
        notifier.status("two\nlines")
        assert ear.recv(100) == b"STATUS=two lines"
    notifier.feed()
    notifier.feed()
    assert [r.getMessage() for r in caplog.records] == ["systemd does not hear"]


def test_a_part_that_does_not_move_for_longer_than_it_may_stands_still() -> None:
    progress = Progress()
    progress.seen("line a", (1, 2), 0.0)
    progress.seen("line b", (1, 2), 0.0)
    progress.seen("line a", (1, 3), 50.0)
    progress.seen("line b", (1, 2), 50.0)
    allowed = {"line a": 60.0, "line b": 60.0}
    assert progress.stalled(allowed, 60.0) == []
    assert progress.stalled(allowed, 61.0) == ["line b"]
    assert progress.stalled({"line a": 60.0}, 200.0) == ["line a"]
    progress.keep(["line a"])
    assert progress.stalled(allowed, 200.0) == ["line a"]


def test_a_line_may_rest_three_times_as_long_as_it_ever_does_honestly() -> None:
    device = DeviceSpec("pump", "a")
    line = LineSpec(name="a", driver="modbus-tcp", devices=(device,), timeout_s=1.0, quiet_s=0.05)
    assert allowed_s(line) == pytest.approx(3 * (30 + 2 + 0.05))  # a back-off is the longest
    slow = DeviceSpec("pump", "a", period_s=600.0)
    assert allowed_s(LineSpec(name="a", driver="modbus-tcp", devices=(slow,))) == pytest.approx(3 * (600 + 2 + 0.05))
    barrier = DeviceSpec("gate", "a", events=True)
    assert allowed_s(LineSpec(name="a", driver="serial-text", devices=(barrier,))) is None


def test_the_lag_of_the_loop_is_a_histogram_and_its_worst_is_forgotten_in_time() -> None:
    lag = LoopLag(recent=2)
    for late_s in (-0.001, 0.002, 0.3, 9.0):
        lag.observe(late_s)
    cumulative = lag.cumulative()
    assert cumulative[0] == (0.001, 1)
    assert cumulative[1] == (0.005, 2)
    assert (cumulative[-2], cumulative[-1]) == ((5.0, 3), (float("inf"), 4))
    assert (lag.worst_s, lag.sum_s) == (9.0, pytest.approx(9.302))
    lag.observe(0.1)
    lag.observe(0.2)
    assert lag.worst_s == 0.2


def test_history_knows_since_when_a_state_holds_and_when_a_fault_came() -> None:
    line = LineStatus(name="bus", state="closed")
    pump = line.unit("pump")
    history = History()
    history.look("down", {"bus": line}, 1000)
    line.state, pump.state = "open", "answering"
    history.look("online", {"bus": line}, 2000)
    history.look("online", {"bus": line}, 3000)
    assert history.of() == history.of("bus") == history.of("bus", "pump") == {"since_ms": 2000, "last_error_ms": None}
    pump.timeouts = line.timeouts = 1
    history.look("online", {"bus": line}, 4000)
    history.look("online", {"bus": line}, 5000)
    assert history.of("bus", "pump") == {"since_ms": 2000, "last_error_ms": 4000}
    assert history.of("bus") == {"since_ms": 2000, "last_error_ms": 4000}
    history.look("online", {}, 6000)
    assert history.of("bus") == {"since_ms": None, "last_error_ms": None}


def _units(folder: Path) -> list[Path]:
    """The units as they are, with this environment's command instead of the one of an installation."""
    command = Path(sys.executable).parent / "gaugeline"
    made = []
    for name in ("gaugeline-gateway.service", "gaugeline-cloud.service"):
        text = (REPO / "deploy/systemd" / name).read_text()
        assert text.count("/opt/gaugeline/bin/gaugeline") == 1
        (folder / name).write_text(text.replace("/opt/gaugeline/bin/gaugeline", str(command)))
        made.append(folder / name)
    return made


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_understands_the_units_and_finds_them_well_confined(tmp_path: Path) -> None:
    for unit in _units(tmp_path):
        answer = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
        answer = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--json=short", "--threshold=25", unit],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "unrecognized option" in answer.stderr:
            pytest.skip("systemd-analyze is older than 250: it cannot judge a unit that is not installed")
        unset = [row["name"] for row in json.loads(answer.stdout) if row["set"] is False]
        # 2.5 of 10 and below is systemd's "OK".
        assert answer.returncode == 0, f"exposed by {unset}"


def test_the_commands_of_the_units_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    for name, main in (("gateway", gateway_cli.main), ("cloud", cloud_cli.main)):
        text = (REPO / f"deploy/systemd/gaugeline-{name}.service").read_text()
        words = next(line for line in text.splitlines() if line.startswith("ExecStart=")).split()
        assert words[1] == name
        with pytest.raises(SystemExit):
            main([words[2], "--help"])
        told = capsys.readouterr().out
        assert all(word in told for word in words if word.startswith("--"))
