"""Real servers for tests: free ports of 127.0.0.1, own temporary folder, ended by their process id."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql

from cloud.state.place import PostgresDb
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
    http: str = ""  # more lines of the section [http]

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
            f'[http]\n  bind-address = "127.0.0.1:{self.port}"\n  log-enabled = false\n{self.http}\n'
            "[monitor]\n  store-enabled = false\n"
        )
        return [program("influxd"), "-config", str(config)]

    def wait_ready(self) -> None:
        super().wait_ready()
        if "https-enabled" in self.http:
            return  # it listens once it serves
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/ping", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


class Postgres:
    """PostgreSQL on a socket in a folder of its own below /tmp, and on a free port. It refuses to run as root: then
    it runs as the user that Debian's package made."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gaugeline-pg-", dir="/tmp"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._user = pwd.getpwnam("postgres") if os.getuid() == 0 else None

    def start(self) -> None:
        """Also after `kill`: what was committed is there again."""
        data = self.folder / "data"
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        if not data.exists():
            make = ["initdb", "-D", str(data), "-U", "gaugeline", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
            subprocess.run(
                [_postgres_program(make[0]), *make[1:]], check=True, stdout=subprocess.DEVNULL, **self._as_user()
            )
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        # The tests end processes, never the machine's power.
        settings |= {"fsync": "off", "full_page_writes": "off", "max_connections": 40, "shared_buffers": "16MB"}
        command = [_postgres_program("postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **self._as_user()
            )
        until = time.monotonic() + 120
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "server.log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def dsn(self, database: str) -> str:
        return f"host={self.folder} port={self.port} user=gaugeline dbname={database}"

    def url(self, database: str) -> str:
        return f"postgresql://gaugeline@127.0.0.1:{self.port}/{database}"

    def new(self) -> PostgresDb:
        """An empty database."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as con:
            con.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return PostgresDb("127.0.0.1", name, self.port, "gaugeline")

    def kill(self) -> None:
        """As a crash would: the children end by themselves when the first process is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def all_processes(self) -> list[int]:
        """The server and its children."""
        assert self.process is not None
        return [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children())]

    def stop(self) -> None:
        """Whatever is connected is disconnected."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _postgres_program(name: str) -> str:
    """Debian keeps every version in a folder of its own, outside the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[4]))
    return str(found[-1]) if found else program(name)


class VictoriaMetrics(Server):
    """VictoriaMetrics, which takes the writes of InfluxDB 2; it keeps everything."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        where = [f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={self.folder}/data"]
        return [program("victoria-metrics"), *where, "-retentionPeriod=100y", "-loggerLevel=WARN"]

    def exported(self) -> list[dict[str, Any]]:
        """Every series that it holds, by its own export API: {"metric": {…}, "values": […], "timestamps": […]}."""
        with urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=10):
            pass
        everything = urllib.parse.urlencode({"match[]": '{__name__!=""}'})
        with urllib.request.urlopen(f"{self.url}/api/v1/export?{everything}", timeout=10) as answer:
            return [json.loads(line) for line in answer]
