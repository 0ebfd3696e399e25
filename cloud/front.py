"""The web server: one address for as long as the process lives, whatever the host is showing there now."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud.guard import Guard
from wire.errors import ConfigError

log = logging.getLogger(__name__)

GRACE_S = 2  # open event streams end by themselves; whoever else is served has so long


def listening(address: tuple[str, int]) -> socket.socket:
    """A bound socket. Raises ConfigError naming --http when that cannot be."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen(128)
    except OSError as fault:
        found.close()
        if fault.errno == errno.EADDRINUSE:
            why = "another program listens there; choose another port with --http 127.0.0.1:PORT"
        else:
            why = f"{fault.strerror or fault}; choose an address of this machine with --http ADDRESS:PORT"
        raise ConfigError(f"http address {host}:{port}: {why}") from fault
    return found


class _Web(uvicorn.Server):
    """uvicorn in our loop: signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Shown:
    """One application for as long as it is shown. closing: set when it goes, so that its open streams end."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.app: ASGIApp | None = None
        self._served = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        self._served += 1
        self._quiet.clear()
        try:
            await self.app(scope, receive, send)
        finally:
            self._served -= 1
            if not self._served:
                self._quiet.set()

    async def end(self) -> None:
        """Nobody is served by it any more, or had GRACE_S to come to an end."""
        self.closing.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), GRACE_S)


class Front:
    """`serve` begins once something is shown. `show` puts an application in the place of the one before."""

    def __init__(self) -> None:
        self._shown: Shown | None = None
        self._begun = asyncio.Event()
        self._server: uvicorn.Server | None = None

    def show(self, shown: Shown) -> None:
        self._shown = shown
        self._begun.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._shown is not None
        await self._shown(scope, receive, send)

    async def serve(self, sock: socket.socket) -> None:
        await self._begun.wait()
        settings = uvicorn.Config(
            Guard(self), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, lifespan="off"
        )
        self._server = _Web(settings)
        host, port = sock.getsockname()[:2]
        log.info("page and API", extra={"url": f"http://{host}:{port}"})
        await self._server.serve(sockets=[sock])

    @property
    def serving(self) -> bool:
        return self._server is not None

    def end(self) -> None:
        if self._shown is not None:
            self._shown.closing.set()
        if self._server is not None:
            self._server.should_exit = True
