"""The commands as a person types them, in processes of their own: run, kill -9, check, read, status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.spec import Illegal
from gateway import status
from gateway.cli import main
from gateway.config import load_site
from gateway.illegal import IllegalFile, illegal_path
from gateway.readings import shown_value
from gateway.status import Busy, ask, sole_owner
from tests.gateway.field import modbus_device, site_yaml
from tests.gateway.host import host
from tests.servers import Mosquitto, free_port
from wire.errors import ConfigError, StoreFull

REPO = Path(__file__).parents[2]
CODE = "import sys; from gateway.cli import main; sys.exit(main(sys.argv[1:]))"


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CODE, *arguments, cwd=REPO,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def output(*arguments: str, at_most_s: float = 60) -> tuple[int, str, str]:
    process = await started(*arguments)
    async with asyncio.timeout(at_most_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running(site: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway that answers on its socket."""
    process = await started("run", str(site), *options)
    try:
        async with asyncio.timeout(120):
            while True:
                try:
                    await ask(load_site(site).outbox.path, {"cmd": "status"})
                    break
                except ConfigError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_kill_9_costs_at_most_a_commit_window_and_a_period_and_leaves_one_gap_record(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    registers = [0x3FC0, 0, 0]
    async with modbus_device(registers) as port, host(mosquitto.port) as h:
        site = site_yaml(tmp_path, mosquitto.url, port)
        async with running(site) as first:
            await h.until(lambda: h.samples > 20)
            first.kill()
            await first.wait()
            killed_ms = max(ts for _, _, ts in h.rows)
        await h.until(lambda: bool(h.of("NDEATH")))
        assert h.of("NDEATH")[0].payload.metrics[0].value == h.of("NBIRTH")[0].payload.metrics[0].value
        async with running(site) as second:
            await h.until(lambda: bool(h.records))
            count = h.samples
            await h.until(lambda: h.samples > count + 20)
            second.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(second.communicate(), 40)
            assert (second.returncode, out) == (0, b"")
            assert b"Traceback" not in err
        gaps = [r for r in h.records if r["kind"] == "gap"]
        assert [g["reason"] for g in gaps] == ["killed"]
        (line,) = gaps[0]["lines"]  # type: ignore[misc]
        assert killed_ms <= line["last_poll_ms"], "what a host has was committed, with the time of its poll"
        assert line["last_poll_ms"] < line["first_new_ms"]
        stamps = sorted({ts for _, _, ts in h.rows})
        assert max(ts for ts in stamps if ts < line["first_new_ms"]) >= line["last_poll_ms"] - 1
        code, out_text, _ = await output("status", str(site), "--json")
        status = json.loads(out_text)
        pump = status["devices"]["pump"]
        assert (code, status["pid"], pump["in_flight"]) == (3, None, 0)
        assert pump["produced"] == pump["confirmed"] == len(h.rows)
        assert h.doubles == []
        async with running(site):
            await h.until(lambda: len([r for r in h.records if r["kind"] == "gap"]) == 2)
        assert [g["reason"] for g in h.records if g["kind"] == "gap"] == ["killed", "stopped"]


async def test_run_for_seconds_without_a_broker_keeps_everything_and_ends_with_0(tmp_path: Path) -> None:
    async with modbus_device([1, 2, 3]) as port:
        site = site_yaml(tmp_path, f"mqtt://127.0.0.1:{free_port()}", port)
        code, _, err = await output("run", str(site), "--for", "1")
        assert code == 0
        assert "Traceback" not in err
        assert err.count("uplink down, data is kept") == 1
        code, out, _ = await output("status", str(site))
        assert code == 3
        assert "not running; figures of the outbox file" in out
        assert ", the oldest for " in out
        db = sqlite3.connect(tmp_path / "outbox.db")
        assert db.execute("SELECT sum(samples) FROM unconfirmed").fetchone()[0] >= 2
        db.close()


async def test_a_list_of_brokers_and_a_host_that_never_confirms_stand_in_the_status_and_stop_at_once(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    away = f"mqtt://127.0.0.1:{free_port()}"
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port, online=False, confirm=False) as h:
        site = site_yaml(tmp_path, f"[{away}, {mosquitto.url}]\nhosts: []\nconfirm: none", port)
        async with running(site) as process:
            await h.until(lambda: len(h.batches("pump")) > 2)
            code, out, _ = await output("status", str(site))
            assert code == 0 and out.startswith(f"plant/gw: online, pid {process.pid}, ")
            assert f", broker {mosquitto.url}, " in out and f"\n  broker {away}: " in out
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert time.monotonic() - began < 8, "nobody is waited for"
        code, out, _ = await output("status", str(site), "--json")
        pump = json.loads(out)["devices"]["pump"]
        assert (code, pump["dropped"], pump["in_flight"]) == (3, 0, pump["produced"]), "3: no gateway runs"
        numbers = [x.tag.number for x in h.batches("pump") if x.tag]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), "nothing is said twice in a session"


async def test_a_running_gateway_is_asked_and_never_disturbed(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port) as h:
        site = site_yaml(tmp_path, mosquitto.url, port)
        known = IllegalFile(illegal_path(tmp_path / "outbox.db"))
        known.learned("pump", f"127.0.0.1:{port}/1", [Illegal("holding", 2, 2)])
        async with running(site) as process:
            await h.until(lambda: h.samples > 4)
            async with asyncio.timeout(60):
                while True:
                    code, out, _ = await output("read", str(site), "--json", "--cycles", "2")
                    readings = [json.loads(line) for line in out.splitlines()]
                    if "BAD" not in {r["quality"] for r in readings}:  # an answer that a busy machine made late
                        break
            assert (code, len(readings)) == (0, 4)
            assert {(r["tag"], r["value"], r["unit"], r["quality"], r["reason"]) for r in readings} == {
                ("flow", 1.5, "m3/h", "GOOD", ""),
                ("count", 7, "", "GOOD", ""),
            }
            async with asyncio.timeout(60):
                while (found := await output("status", str(site)))[0] != 0:  # a poll that a busy machine made late
                    await asyncio.sleep(0.2)
            out = found[1]
            assert f"online, pid {process.pid}" in out
            assert "device pump: 1 found illegal: holding not across 2" in out
            code, _, err = await output("run", str(site))
            assert (code, f"pid {process.pid}" in err, "Traceback" in err) == (1, True, False)
            answer = await ask(load_site(site).outbox.path, {"cmd": "dance"})
            assert answer == {"error": "commands are status, outbox, latest, write, model, reload"}


async def test_read_polls_the_devices_itself_when_no_gateway_runs(tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as port:
        site = site_yaml(tmp_path, "mqtt://127.0.0.1:1", port)
        code, out, _ = await output("read", str(site), "--json", "--cycles", "3")
        readings = [json.loads(line) for line in out.splitlines()]
        assert (code, [r["tag"] for r in readings]) == (0, ["flow", "count"] * 3)
        assert set(readings[0]) == {"tag", "ts_ms", "value", "unit", "quality", "reason", "device"}
        code, out, _ = await output("read", str(site))
        assert (code, out.split()) == (
            0,
            ["pump/flow", "1.5", "m3/h", "GOOD", "pump/count", "7", "GOOD"],
        )


async def test_a_device_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    bus = """  - id: meter
    line: bus
    tags: [{name: power, table: input, address: 0}]
"""
    path = site_yaml(tmp_path, "mqtt://127.0.0.1:1", free_port(), more=bus)
    port = tmp_path / "ttyNONE"
    path.write_text(
        path.read_text().replace("devices:", f"  - {{name: bus, driver: modbus-rtu, port: {port}}}\ndevices:")
    )
    code, out, err = await output("read", str(path), "--json")
    assert code == 1
    assert {json.loads(line)["reason"] for line in out.splitlines()} == {"line_down"}
    assert "error: line plc: 127.0.0.1" in err
    assert "ttyNONE: there is no such port" in err
    assert "Traceback" not in err


def test_check_says_what_is_good_and_what_will_be_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = site_yaml(tmp_path, "mqtt://127.0.0.1:1", 502)
    assert main(["check", str(site)]) == 0
    assert "1 lines, 1 devices, 2 tags" in capsys.readouterr().out
    site.write_text(site.read_text().replace("modbus-tcp, host: 127.0.0.1, port: 502", "modbus-rtu, port: /dev/ttyX9"))
    assert main(["check", str(site)]) == 0
    assert "/dev/ttyX9 does not exist now" in capsys.readouterr().err


def test_every_problem_of_a_site_is_an_error_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = site_yaml(tmp_path, "mqtt://127.0.0.1:1", 502)
    site.write_text(site.read_text().replace("holding", "holdng").replace("period_s", "perod_s"))
    for command in ("run", "check", "read", "status"):
        assert main([command, str(site)]) == 1
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 3
        assert all(line.startswith(f"error: {site}:") for line in told)


def test_an_outbox_that_cannot_be_made_is_an_error_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_yaml(tmp_path, "mqtt://127.0.0.1:1", 502)
    (tmp_path / "outbox.db").mkdir()
    assert main(["run", str(site), "--for", "1"]) == 1
    assert "error: outbox" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["run"], ["dance", "x"], ["run", "x", "--for", "-1"], ["read", "x", "--cycles", "0"]]
)
def test_a_wrong_call_ends_with_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(wrong)
    assert caught.value.code == 2


def test_help_teaches_with_a_first_site(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    example = text[text.index("  group:") : text.index("then:")]
    (tmp_path / "site.yaml").write_text(example)
    assert load_site(tmp_path / "site.yaml").devices[0].id == "pump-1"


def test_the_lock_belongs_to_one_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with sole_owner(path), pytest.raises(Busy, match=f"pid {os.getpid()}"), sole_owner(path):
        pass
    with sole_owner(path):
        pass
    with sole_owner(path), pytest.raises(Busy, match="a gateway"), sole_owner(path, looks=True):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFull, match="cannot be opened"), sole_owner(tmp_path / "file" / "o.db"):
        pass


def test_a_gateway_waits_for_a_command_that_looks_into_its_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looking, seen = tmp_path / "o.db", threading.Event(), threading.Event()

    def look() -> None:
        with sole_owner(path, looks=True):
            looking.set()
            seen.wait(60)

    command = threading.Thread(target=look)
    command.start()
    assert looking.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(status, "LOOK_S", 0.1)
        with pytest.raises(Busy, match=f"a command .pid {os.getpid()}. has looked into"), sole_owner(path):
            pass
    threading.Timer(0.3, seen.set).start()
    with sole_owner(path):
        assert seen.is_set()
    command.join(60)


async def test_a_socket_in_a_deep_folder_is_reachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gateway.status import listening

    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)

    async def answer(asked: dict[str, object]) -> dict[str, object]:
        return {"heard": asked}

    async with listening(deep / "o.db", answer):
        assert await ask(deep / "o.db", {"cmd": "x"}) == {"heard": {"cmd": "x", "uid": os.getuid()}}
        monkeypatch.chdir(deep)
        reader, writer = await asyncio.open_unix_connection("o.db.sock")
        writer.write(b"no json\n[]\n")
        assert json.loads(await reader.readline()) == {"error": "not JSON"}
        assert json.loads(await reader.readline()) == {"heard": {"uid": os.getuid()}}
    # One that stays connected is let go without a word.
    assert await reader.read() == b""
    writer.close()
    assert caplog.records == []
    with pytest.raises(ConfigError, match="no gateway answers"):
        await ask(deep / "o.db", {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float(np.float32(12.3)), "12.3"),
        (123456.78, "123456.78"),
        (12345678.0, "12345678"),
        (87654321.25, "87654321.25"),
        (1e300, "1e+300"),
        (0.1 + 0.2, "0.3"),
        ((1 << 64) - 1, "18446744073709551615"),
        (True, "True"),
    ],
)
def test_a_person_sees_all_digits_of_a_meter_and_no_noise_of_single_precision(value: Any, text: str) -> None:
    assert shown_value(value) == text
