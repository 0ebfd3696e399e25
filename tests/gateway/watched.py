"""A gateway process that can be made to hang, and the end of systemd's notify socket. For the tests of the watchdog."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]

# While the file `disk` exists no commit ends, as on a disk that does not answer; while `line` exists no device is heard
# and no time-out comes; SIGUSR1 holds the whole event loop while `loop` exists.
_HANGS = """
import asyncio, pathlib, signal, sys, time
import gateway.watchdog
from agent.drivers import WritingModbusDriver as Driver
from gateway.cli import main
from gateway.outbox.file import OutboxFile

flags = pathlib.Path(sys.argv[1])

def held(name):
    while (flags / name).exists():
        time.sleep(0.02)

def commit(self, window, plain=OutboxFile.commit):
    held("disk")
    return plain(self, window)

async def read(self, unit_id, span, plain=Driver.read):
    while (flags / "line").exists():
        await asyncio.sleep(0.02)
    return await plain(self, unit_id, span)

OutboxFile.commit, Driver.read = commit, read
gateway.watchdog.allowed_s = lambda line: 0.8
signal.signal(signal.SIGUSR1, lambda *_: held("loop"))
sys.exit(main(sys.argv[2:]))
"""


class Systemd:
    """NOTIFY_SOCKET: what was said, a datagram each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[list[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def listen(self) -> None:
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return

    def count(self, word: str) -> int:
        return sum(word in said for said in self.heard)

    @property
    def status(self) -> str:
        found = [w.removeprefix("STATUS=") for said in self.heard for w in said if w.startswith("STATUS=")]
        return found[-1] if found else ""

    async def until(self, true: Callable[[], bool], at_most_s: float = 60.0) -> None:
        async with asyncio.timeout(at_most_s):
            while not true():
                self.listen()
                await asyncio.sleep(0.02)

    async def is_fed(self) -> None:
        """Twice from now. Raises TimeoutError."""
        self.listen()
        before = self.count("WATCHDOG=1")
        await self.until(lambda: self.count("WATCHDOG=1") >= before + 2)

    async def fed_within(self, seconds: float) -> int:
        """How often the watchdog is fed meanwhile."""
        self.listen()
        before = self.count("WATCHDOG=1")
        until_s = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(0.02)
            self.listen()
        return self.count("WATCHDOG=1") - before


@asynccontextmanager
async def watched(
    folder: Path, site: Path, watchdog_s: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Systemd]]:
    """folder: where the flags `disk`, `line` and `loop` are laid."""
    systemd = Systemd(folder / "notify")
    environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HANGS, str(folder), "run", str(site), cwd=REPO, env=environment,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process, systemd
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        systemd.close()
