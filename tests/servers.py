"""Real servers for tests: free ports of 127.0.0.1, own temporary folder, ended by their process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.demo.processes import free_port as free_port


def program(name: str) -> str:
    """Where a server program is; Debian keeps some outside an ordinary user's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run deploy/setup/servers.sh")
    return found


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, timeout_s: float = 60.0) -> None:
    """Returns once something listens. Raises TimeoutError, or RuntimeError when the process has ended."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.5):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on 127.0.0.1:{port} after {timeout_s} s")


@dataclass
class Server:
    """One server process; start, stop, kill and start again keep port and folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            # Ctrl-C in the terminal reaches whoever started it, which stops it in its turn.
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)

    def kill(self) -> None:
        """As a power cut would: no last words."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)


class Mosquitto(Server):
    """mosquitto on a free port, anonymous, with the queue length of DESIGN (max_queued_messages 100000)."""

    extra: str = ""

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n"
            f"persistence false\n{self.extra}"
        )
        return [program("mosquitto"), "-c", str(config)]


class InfluxDB(Server):
    """InfluxDB 1.x on free ports, with its folders below `folder`."""

    rpc_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        self.rpc_port = self.rpc_port or free_port()
        config = self.folder / "influxdb.conf"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{self.rpc_port}"\n'
            f'[meta]\n  dir = "{self.folder}/meta"\n'
            f'[data]\n  dir = "{self.folder}/data"\n  wal-dir = "{self.folder}/wal"\n  query-log-enabled = false\n'
            f'[http]\n  bind-address = "127.0.0.1:{self.port}"\n  log-enabled = false\n'
            "[monitor]\n  store-enabled = false\n"
        )
        return [program("influxd"), "-config", str(config)]

    def wait_ready(self) -> None:
        super().wait_ready()
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/ping", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
