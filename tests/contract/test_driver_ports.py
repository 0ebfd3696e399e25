"""A line that does not open says why, and what to do: every driver, by every way that it can take."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.driver import Driver
from agent.drivers import DRIVERS
from agent.frame_spec import BinarySpec, FrameSpec
from agent.spec import DriverName, LineSpec
from tests.agent.points import device, point
from tests.agent.test_pipeline import now_ms
from tests.contract.black_hole import lose_everything
from wire.errors import LineDown

SERIAL: tuple[DriverName, ...] = ("modbus-rtu", "serial-text", "serial-binary", "dlt645")
NETWORK: tuple[DriverName, ...] = ("modbus-tcp", "modbus-rtu-tcp", "serial-text", "serial-binary", "dlt645")
FRAMES = {"serial-text": FrameSpec("(?P<n>.*)"), "serial-binary": FrameSpec(binary=BinarySpec(b"\x02", length=6))}

# Holds a serial port as another program does, until it is ended.
HOLDER = (
    "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True); sys.stdin.read()"
)


def made(name: DriverName, **rest: Any) -> Driver:
    spec = device(point("n", None, field="n"), frame=FRAMES.get(name), meter="1" * 12)
    return DRIVERS[name](LineSpec("line", name, timeout_s=0.1, devices=(spec,), **rest), now_ms)


def test_every_driver_is_opened_here_by_some_way() -> None:
    assert {*SERIAL, *NETWORK} == set(DRIVERS)


@pytest.fixture
def terminal() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("name", SERIAL)
async def test_a_port_that_is_not_there(name: DriverName, tmp_path: Path) -> None:
    driver = made(name, port=str(tmp_path / "ttyUSB0"))
    for _ in range(2):
        with pytest.raises(LineDown, match=r"ttyUSB0: there is no such port; is the adapter plugged in\?"):
            await driver.open()
        assert not driver.is_open
    await driver.close()


@pytest.mark.parametrize("name", SERIAL)
async def test_a_port_that_another_program_holds(name: DriverName, terminal: str) -> None:
    driver = made(name, port=terminal)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, terminal], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LineDown, match=rf"{terminal}: is in use by python\S* \(process {holder.pid}\); end"):
            await driver.open()
        assert not driver.is_open
        holder.terminate()
    await driver.open()
    other = made(name, port=terminal)
    with pytest.raises(LineDown, match=rf"{terminal}: is in use by another line of this gateway; end"):
        await other.open()
    await driver.close()
    await other.open()
    await other.close()


@pytest.mark.parametrize("name", SERIAL)
def test_a_port_without_permission(name: DriverName, terminal: str) -> None:
    """Asked by a child that is nobody: the system's administrator may open everything."""
    os.chmod(terminal, 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65_534)
            asyncio.run(made(name, port=terminal).open())
        except LineDown as fault:
            os.write(writer, str(fault).encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)  # nothing of the test runner's may run here
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    assert told == f"{terminal}: no permission; add the user to the group 'dialout'"


@pytest.mark.parametrize("name", SERIAL)
async def test_a_path_that_is_no_serial_port(name: DriverName, tmp_path: Path) -> None:
    plain = tmp_path / "notes.txt"
    plain.write_text("")
    for path, why in ((plain, "is no serial port"), (tmp_path, "is a directory")):
        with pytest.raises(LineDown, match=re.escape(f"{path}: {why}")):
            await made(name, port=str(path)).open()


@pytest.mark.parametrize("name", NETWORK)
async def test_a_host_that_refuses_or_does_not_answer(name: DriverName, monkeypatch: pytest.MonkeyPatch) -> None:
    def patience(seconds: float) -> None:
        monkeypatch.setattr("agent.drivers.byte_line._CONNECT_S", seconds)
        monkeypatch.setattr("agent.drivers.modbus._CONNECT_S", seconds)

    patience(60.0)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        port = full.getsockname()[1]
        driver = made(name, host="127.0.0.1", port=port)
        what_to_do = r": cannot be reached, or refuses the connection; check address, port and cable"
        with pytest.raises(LineDown, match=rf"127\.0\.0\.1:{port}{what_to_do}"):
            await driver.open()
        full.listen(0)
        callers = [socket.socket() for _ in range(3)]
        try:
            for caller in callers:  # they take the places that there are; the next one knocks in vain
                caller.setblocking(False)
                caller.connect_ex(("127.0.0.1", port))
            patience(0.15)
            with pytest.raises(LineDown, match=rf"127\.0\.0\.1:{port}: no connection in time; check"):
                await driver.open()
        finally:
            for caller in callers:
                caller.close()
        assert not driver.is_open
    patience(60.0)
    with pytest.raises(LineDown, match=r"256\.1\.1\.1:502: cannot be reached"):
        await made(name, host="256.1.1.1", port=502).open()


async def test_a_peer_that_loses_its_power_is_line_down_while_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real half-open connection: the other side says nothing any more, and acknowledges nothing."""
    for key in ("IDLE_S", "PROBE_S", "PROBES"):
        monkeypatch.setattr(f"agent.drivers.ports.{key}", 1)
    await asyncio.gather(*(_loses_its_power(name) for name in NETWORK))


async def _loses_its_power(name: DriverName) -> None:
    callers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0)
    driver = made(name, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    await driver.open()
    while not callers:
        await asyncio.sleep(0.01)
    lose_everything(callers[0].transport)
    start_s = time.monotonic()
    while driver.is_open and time.monotonic() < start_s + 10:
        await asyncio.sleep(0.05)
    assert 0.5 < time.monotonic() - start_s < 10, name
    await driver.open()
    assert driver.is_open
    await driver.close()
    server.close()
    for caller in callers:
        caller.transport.abort()
