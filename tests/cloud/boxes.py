"""Real gateway processes for the host's tests, and a slow way to a database."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config import load_site
from gateway.outbox.inspect import stored_status
from gateway.status import ask
from tests.cloud.hosts import ROOT
from tests.gateway.field import site_yaml
from wire.errors import ConfigError


@dataclass
class Box:
    """`gaugeline gateway run` in a folder of its own. Its site: one pump with two tags."""

    folder: Path
    broker: str
    device_port: int
    period_s: float = 0.1
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.site = site_yaml(self.folder, self.broker, self.device_port, self.period_s)
        with (self.folder / "gateway.log").open("ab") as log:
            command = [sys.executable, "-m", "gaugeline", "gateway", "run", str(self.site)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    async def status(self) -> dict[str, Any]:
        """Raises ConfigError when it does not answer (yet)."""
        found: dict[str, Any] = await ask(load_site(self.site).outbox.path, {"cmd": "status"})
        return found

    async def until(self, true: Callable[[dict[str, Any]], Any], timeout_s: float = 60.0) -> dict[str, Any]:
        """The first status that is so."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    status = await self.status()
                    if true(status):
                        return status
                except ConfigError:
                    assert self.process is not None
                    assert self.process.poll() is None, (self.folder / "gateway.log").read_text()[-2000:]
                await asyncio.sleep(0.1)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


@dataclass
class SlowWay:
    """Between a host and its InfluxDB: every answer to a write comes so much later."""

    port: int = 0
    delay_s: float = 0.0
    writes: int = 0


@asynccontextmanager
async def slow_way(to_port: int) -> AsyncIterator[SlowWay]:
    way = SlowWay()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: bool) -> None:
        while data := await reader.read(65_536):
            if requests and data.startswith(b"POST /write"):
                way.writes += 1
                await asyncio.sleep(way.delay_s)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(pump(reader, back, True), pump(there, writer, False), return_exceptions=True)
        for end in (writer, back):
            end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()


def counters(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = status["uplink"]
    return found


def devices_at_rest(box: Box) -> dict[str, Any]:
    """The counters in the outbox of a gateway that does not run."""
    found: dict[str, Any] = stored_status(load_site(box.site))["devices"]
    return found
