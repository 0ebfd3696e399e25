"""A listening TCP port with what can go wrong with connections: dropped, half open, one only."""

from __future__ import annotations

import asyncio
import errno
import heapq
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

from firmware_sim.clock import SimClock
from firmware_sim.errors import ScenarioError
from firmware_sim.fault_plan import FaultPlan
from firmware_sim.truth import Truth

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_DROPS = ("dropped", "restart")


class TcpPort:
    """Serves any number of clients until cancelled. The faults of every device on the line count."""

    def __init__(
        self, line: str, host: str, port: int, plans: Sequence[FaultPlan], clock: SimClock, truth: Truth
    ) -> None:
        self._line, self._host, self._port = line, host, port
        self._plans, self._clock, self._truth = plans, clock, truth
        self._socket: socket.socket | None = None
        self._clients: asyncio.TaskGroup | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def open(self) -> dict[str, object]:
        """Listens, and says where. Raises ScenarioError when the port cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family)
        except OSError as fault:
            raise ScenarioError(self._explain(fault)) from fault
        self._port = self._socket.getsockname()[1]
        return {"host": self._host, "port": self._port}

    def _explain(self, fault: OSError) -> str:
        key, where = f"lines.{self._line}.port", f"{self._host}:{self._port}"
        if fault.errno == errno.EADDRINUSE:
            return f"{key}: {where} is in use; choose another with --set {key}=PORT (0 takes a free one)"
        if fault.errno == errno.EACCES:
            return f"{key}: no right to listen on {where}; ports below 1024 need root"
        return f"lines.{self._line}.host: cannot listen on {where}: {fault.strerror or fault}"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def mute(self) -> bool:
        """Whether connections are half open now: nothing is answered."""
        return self._holds("half_open")

    def _holds(self, *kinds: str) -> bool:
        t_s = self._clock.t_s()
        return any(plan.holds(kind, t_s) is not None for plan in self._plans for kind in kinds)

    async def serve(self, client: Serve) -> None:
        """Runs `client` for each connection until cancelled."""
        server = None
        try:
            async with asyncio.TaskGroup() as clients:
                self._clients = clients
                clients.create_task(self._drop(), name=f"drop[{self._line}]")
                server = await asyncio.start_server(lambda r, w: self._accept(client, r, w), sock=self._socket)
                await asyncio.Event().wait()
        finally:
            if server is not None:
                server.close()

    def _accept(self, client: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._clients is not None
        if self._holds("restart") or (self._open and self._holds("one_connection")):
            self._truth.connection(self._line, self._clock.now_ms(), "refused")
            _reset(writer)
            return
        self._clients.create_task(self._client(client, reader, writer), name=f"client[{self._line}]")

    async def _client(self, client: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await client(reader, writer)
        except* ConnectionError:
            pass  # the client went away; that is its right
        finally:
            self._open.discard(writer)
            writer.close()

    def drops(self, writer: asyncio.StreamWriter) -> bool:
        """Closes the connection on which a request came while connections are dropped."""
        if not self._holds(*_DROPS):
            return False
        self._truth.connection(self._line, self._clock.now_ms(), "dropped")
        _reset(writer)
        return True

    async def _drop(self) -> None:
        """Closes every connection at the begin of each window that drops them."""
        windows = [planned.windows() for plan in self._plans for planned in plan.of(*_DROPS)]
        for window in heapq.merge(*windows, key=lambda each: each.from_s):
            await self._clock.until(window.from_s)
            for writer in tuple(self._open):
                self._truth.connection(self._line, self._clock.now_ms(), "dropped")
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST, as a device does that has forgotten it."""
    if (sock := writer.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
