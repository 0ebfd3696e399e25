"""What is refused before any route sees it: requests of foreign pages. Errors without a traceback for the caller.

A page of the internet can name itself 127.0.0.1 in DNS ("rebinding") and then ask this host with the visitor's browser;
its Host header tells. A page of another origin can send forms here; its Origin header tells.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.problems import problem
from cloud.loopback import names_loopback
from wire.errors import GaugelineError

log = logging.getLogger(__name__)

HOST = (
    "this host answers only to 127.0.0.1, [::1] and localhost, not to {name!r}: there are no users and roles yet. From "
    "another machine use a tunnel (ssh -L 8080:127.0.0.1:8080 HOST), or a proxy with a login that sends Host: 127.0.0.1"
)
ORIGIN = "a page of {name!r} may not ask this host: open its own page at http://127.0.0.1:8080 instead"


def refusal(headers: Headers) -> tuple[int, str] | None:
    """Status and reason. 421: the Host header is not this machine's; 403: a page of somewhere else asks."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not names_loopback(hosts[0]):
        return 421, HOST.format(name=", ".join(hosts)[:100])
    origin = headers.get("origin")
    if origin is not None and not names_loopback(origin.partition("://")[2]):
        return 403, ORIGIN.format(name=origin[:100])
    return None


class Guard:
    """Before an application. What fails after its answer has begun ends the connection, so that nobody takes it for
    whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = refusal(Headers(scope=scope))
        if refused is not None:
            await problem(*refused)(scope, receive, send)
            return
        begun = False

        async def heard(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, heard)
        except RuntimeError as fault:  # Starlette's, for what it would have answered had nothing been sent
            if not begun or not isinstance(fault.__cause__, GaugelineError):
                raise
            why = str(fault.__cause__)[:500]
            log.warning("an answer broke off", extra={"path": scope["path"], "error": why})
