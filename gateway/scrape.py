"""GET /metrics on 127.0.0.1. A port that is taken stops nothing: it is told, shown in the status, and tried again."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RETRY_S = 30.0
_REQUEST_S = 5.0
_LONGEST = 16_384

Exposed = Callable[[], Awaitable[bytes]]


class Scrape:
    """trouble: why nothing is served, '' while it is."""

    def __init__(self, port: int, exposed: Exposed) -> None:
        self.port, self._exposed = port, exposed
        self.trouble = "not served yet"

    async def run(self) -> None:
        """Until cancelled."""
        told = False
        while True:
            try:
                server = await asyncio.start_server(self._serve, HOST, self.port, limit=_LONGEST)
            except OSError as fault:
                why = os.strerror(fault.errno) if fault.errno else str(fault)
                self.trouble = f"port {self.port} of {HOST} cannot be used: {why}"
                if not told:
                    hint = "give another metrics.port in site.yaml, or end what uses it; the gateway runs on without"
                    fields = {"port": self.port, "error": why, "hint": hint, "next_try_s": _RETRY_S}
                    log.error("metrics are not served", extra=fields)
                told = True
                await asyncio.sleep(_RETRY_S)
                continue
            self.trouble = ""
            log.info("metrics are served", extra={"url": f"http://{HOST}:{self.port}/metrics"})
            async with server:
                await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S):
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split(b" ")
                writer.write(await self._answer(head))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
            log.debug("a scrape broke off", extra={"error": type(fault).__name__})
        finally:
            writer.close()

    async def _answer(self, head: list[bytes]) -> bytes:
        method, path = (*head, b"", b"")[:2]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", b"only GET\n")
        if path.split(b"?")[0] != b"/metrics":
            return _response("404 Not Found", b"metrics are at /metrics\n")
        whole = _response("200 OK", await self._exposed())
        return whole if method == b"GET" else whole[: whole.index(b"\r\n\r\n") + 4]


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
