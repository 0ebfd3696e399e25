"""The demo's processes: ports in use, children that end, folders that are not its own."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from firmware_sim.demo.broker import broker_child
from firmware_sim.demo.chain import Chain, DemoSettings
from firmware_sim.demo.cli import counts_text, main
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, DemoError, check_port, free_port, wait_for_port


def child(folder: Path, code: str, **options: bool) -> Child:
    return Child("child", [sys.executable, "-c", code], folder, **options)


def test_a_port_in_use_names_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=rf"port {port} of 127.0.0.1 .*Address already in use.*--broker-port"):
            check_port("127.0.0.1", port, "--broker-port")
        assert main(["--http", f"127.0.0.1:{port}", "--folder", str(tmp_path / "demo")]) == 1
    assert "make demo PORT=" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_an_address_that_is_none_is_a_wrong_call() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--http", "8080"])
    assert ended.value.code == 2


def test_a_child_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    found = child(tmp_path, "import sys; sys.stderr.write('no such port\\n'); sys.exit(3)")
    found.start()
    assert found.process is not None
    found.process.wait(60)
    with pytest.raises(DemoError, match="child ended with exit code 3:\n    no such port"):
        found.check()
    with pytest.raises(DemoError, match="exit code 3"):
        wait_for_port(found, "127.0.0.1", free_port())
    found.measure()
    assert found.end() == 3


def test_a_child_that_ignores_its_end_is_killed(tmp_path: Path) -> None:
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    found = child(tmp_path, deaf, read_stdout=True)
    found.start()
    assert found.stdout.readline() == b"1\n"
    found.measure()
    assert found.usage.rss_mb > 1
    assert found.end(timeout_s=0.3) == -9


def test_a_child_that_never_ran_has_no_words_and_no_end(tmp_path: Path) -> None:
    found = child(tmp_path, "")
    found.measure()
    assert found.end() is None
    assert "said nothing" in found.last_words()
    with pytest.raises(DemoError, match="not started with a readable output"):
        _ = found.stdout


def test_a_port_that_never_answers_is_told(tmp_path: Path) -> None:
    found = child(tmp_path, "import time; time.sleep(60)")
    found.start()
    with pytest.raises(DemoError, match="does not answer"):
        wait_for_port(found, "127.0.0.1", free_port(), timeout_s=0.3)
    found.end(1)


def test_a_folder_of_somebody_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    chain = Chain(DemoSettings(folder=tmp_path, http_port=free_port()), print)
    with pytest.raises(DemoError, match="choose another with --folder"):
        chain.start()
    chain.stop()
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_host_that_does_not_answer_is_a_demo_error() -> None:
    with pytest.raises(DemoError, match="does not answer"):
        HostApi(f"http://127.0.0.1:{free_port()}").balance()


@pytest.mark.parametrize("embedded", [True, False])
def test_either_broker_takes_a_connection_and_ends(tmp_path: Path, embedded: bool) -> None:
    port = free_port()
    broker, name = broker_child(tmp_path, port, embedded=embedded)
    assert ("amqtt" in name) == embedded
    broker.start()
    wait_for_port(broker, "127.0.0.1", port)
    broker.end()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_the_live_line_fits_a_terminal() -> None:
    text = counts_text({"produced": 123456, "stored": 123000, "in_flight": 456, "dropped": 0}, 1)
    assert " ".join(text.split()) == "produced 123456 stored 123000 in flight 456 dropped 0 anomalies 1"
    assert len(text) < 90


@pytest.mark.parametrize(
    "wrong",
    [
        ["--http", "127.0.0.1:99999"],
        ["--broker-port", "-1"],
        ["--for", "-3"],
        ["--for", "nan"],
        ["--report", "/proc/x"],
    ],
)
def test_a_wrong_call_ends_before_anything_is_started(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--folder", str(tmp_path / "demo"), *wrong])
    assert end.value.code == 2
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_made_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", "/proc/gaugeline", "--http", f"127.0.0.1:{free_port()}"]) == 1
    assert "/proc/gaugeline" in capsys.readouterr().err


def test_free_ports_are_those_that_were_asked_for_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setenv("GAUGELINE_PORTS", f"{first}-{first + 39}")
    monkeypatch.setattr("firmware_sim.demo.processes._given", set())
    found = [free_port() for _ in range(20)]
    assert len(set(found)) == 20
    assert all(first <= port < first + 40 for port in found)
