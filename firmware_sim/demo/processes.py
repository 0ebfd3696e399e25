"""Child processes of the demo: started with a log file each, watched, ended by their process id."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil


class DemoError(Exception):
    """The demo cannot go on; the text says what to do."""


_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now, and that this process was not given lately.

    Below those that outgoing connections get: one of theirs may be in use again before it is bound, or while the
    server that it was found for is started again. GAUGELINE_PORTS=FIRST-LAST says which instead: programs that run
    beside each other must not find the same one.
    """
    ports = _ports()
    if len(_given) > len(ports) // 2:
        _given.clear()
    dice = random.SystemRandom()
    for port in (dice.choice(ports) for _ in range(1_000 if ports else 0)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _ports() -> range:
    first, _, last = os.environ.get("GAUGELINE_PORTS", "").partition("-")
    if first.isdecimal() and last.isdecimal():
        return range(int(first), int(last) + 1)
    try:
        above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        above = 32_768
    return range(max(10_000, above - 20_000), above)


def check_port(host: str, port: int, setting: str) -> None:
    """Raises DemoError naming the setting when something else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            raise DemoError(
                f"port {port} of {host} cannot be used ({os.strerror(fault.errno or 0)}): choose another with {setting}"
            ) from fault


def mosquitto_program() -> str | None:
    """Debian keeps mosquitto in /usr/sbin, outside an ordinary user's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Usage:
    """What one process took: peak resident memory in MB, mean CPU in per cent of one core."""

    rss_mb: float = 0.0
    cpu_percent: float = 0.0


@dataclass
class Child:
    """One process. Its output goes to `<folder>/<name>.log`; stdout may be read by the parent instead."""

    name: str
    arguments: Sequence[str]
    folder: Path
    read_stdout: bool = False
    process: subprocess.Popen[bytes] | None = None
    usage: Usage = field(default_factory=Usage)
    _watched: psutil.Process | None = None
    _started_s: float = 0.0

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.read_stdout else log,
                stderr=log,
                # Ctrl-C in the terminal reaches the demo alone, which ends its children in the right order.
                start_new_session=True,
            )
        self._watched = psutil.Process(self.process.pid)
        self._started_s = time.monotonic()

    @property
    def stdout(self) -> IO[bytes]:
        if self.process is None or self.process.stdout is None:
            raise DemoError(f"{self.name} was not started with a readable output")
        return self.process.stdout

    def measure(self) -> None:
        """Takes memory and CPU now; a process that has ended keeps its last figures."""
        if self._watched is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            memory = self._watched.memory_info().rss / 1e6
            times = self._watched.cpu_times()
            elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
            self.usage.rss_mb = round(max(self.usage.rss_mb, memory), 1)
            self.usage.cpu_percent = round(100 * (times.user + times.system) / elapsed_s, 1)

    def check(self) -> None:
        """Raises DemoError with the end of its log when the process has ended by itself."""
        if self.process is not None and (code := self.process.poll()) is not None:
            raise DemoError(f"{self.name} ended with exit code {code}:\n{self.last_words()}\n(whole log: {self.log})")

    def last_words(self, lines: int = 8) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (it said nothing)"

    def end(self, timeout_s: float = 8.0) -> int | None:
        """SIGTERM, then SIGKILL after the time-out. Returns the exit code, None if it never ran."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        return self.process.returncode


def gaugeline(*arguments: str) -> list[str]:
    """The command line of one of our own sub-commands, in this interpreter."""
    return [sys.executable, "-m", "gaugeline", *arguments]


def wait_for_port(child: Child, host: str, port: int, timeout_s: float = 30.0) -> None:
    """Returns once the child's port answers. Raises DemoError when the child ends or the time is over."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        child.check()
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.05)
    raise DemoError(f"{child.name} does not answer on {host}:{port} after {timeout_s:.0f} s:\n{child.last_words()}")
