"""A serial device server: what comes on a socket goes to the serial port behind it, and back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from agent.spec import LineSpec
from tests.contract.far_ends import FarEnd, Meters, Road
from tests.servers import free_port


class _Served(FarEnd):
    """Mixed into a far end: the same devices, reached through a socket."""

    async def start(self) -> None:
        await super().start()  # type: ignore[safe-super]
        self._writers: list[asyncio.StreamWriter] = []
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.network_port)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network_port = free_port()

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await super().stop()  # type: ignore[safe-super]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        fd, loop = os.open(str(self.port), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), asyncio.get_running_loop()

        def readable() -> None:
            try:
                writer.write(os.read(fd, 4096))
            except OSError:  # the port is gone
                loop.remove_reader(fd)

        loop.add_reader(fd, readable)
        try:
            while data := await reader.read(4096):
                os.write(fd, data)
        except ConnectionError:
            pass
        finally:
            loop.remove_reader(fd)
            os.close(fd)
            writer.close()

    def line(self, **rest: Any) -> LineSpec:
        return super().line(**{"host": "127.0.0.1", "port": self.network_port} | rest)


class ServedMeters(_Served, Meters):
    pass


class ServedRoad(_Served, Road):
    pass
