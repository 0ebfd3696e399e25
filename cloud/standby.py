"""Several hosts that take turns: who waits, who is active, and what the one that waits shows."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from cloud.api.problems import problem
from cloud.lease import LOOKS, Lease, Term
from wire.errors import LeaseLost, StoreDown

log = logging.getLogger(__name__)

WAITING = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>Gaugeline: standby</title><body><h1>Standby · 备用主机</h1>
<p>{text}</p><p lang="zh">本机 {name} 为备用主机，当前活动主机：{holder}。</p></body></html>"""


class Turns:
    """This host's part among several. problem: why nobody can know who is active ('' when that is known)."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.term: Term | None = None
        self.problem = ""
        self._opened = False

    async def close(self) -> None:
        await self.lease.close()

    def as_json(self) -> dict[str, Any]:
        """For /api/health. expires_s: as it was seen last; below 0 while nobody is active."""
        seen = self.lease.seen
        left_s = seen.left_s if self.term is None else self.term.left_s
        role = "standby" if self.term is None else "active" if left_s > 0 else "leaving"
        holder = {"holder": seen.holder, "token": seen.token, "since_ms": seen.since_ms, "expires_s": round(left_s, 1)}
        leaving = {"status": role} if role == "leaving" else {}  # not well any more, and not yet the standby
        return {**leaving, "role": role, "name": self.lease.name, "lease": holder}

    async def run(self, duty: Callable[[Term], Awaitable[None]]) -> None:
        """Waits for a turn, does the duty until the lease is lost, waits again. Until cancelled.

        duty: ends by itself only with an error. Raises what it raises, but LeaseLost.
        """
        while True:
            self.term = term = await self._turn()
            log.warning("this host is active now", extra={"host": self.lease.name, "token": term.token})
            work = asyncio.create_task(_awaited(duty(term)), name="duty")
            keeping = asyncio.create_task(term.keep(), name="lease")
            try:
                await asyncio.wait([work, keeping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                work.cancel()
                await asyncio.wait([work])
                keeping.cancel()
                await asyncio.wait([keeping])
                self.term = None
                if term.left_s > 0:
                    with suppress(StoreDown):
                        await term.end()
            faults = [task.exception() for task in (work, keeping) if not task.cancelled()]
            lost = [fault for fault in faults if _is_lost(fault)]
            if not lost:
                raise next(fault for fault in faults if fault is not None)
            log.warning("this host is not active any more", extra={"host": self.lease.name, "why": _words(lost[0])})

    async def _turn(self) -> Term:
        """Raises ConfigError when a newer program wrote the state."""
        told = ""
        while True:
            try:
                if not self._opened:
                    await self.lease.open()
                    self._opened = True
                term = await self.lease.take()
            except StoreDown as fault:
                if not self.problem:
                    log.warning("the lease cannot be asked for, trying again", extra={"error": str(fault)})
                self.problem = f"the state is not available, and nobody can know who is active: {fault}"
            else:
                self.problem = ""
                if term is not None:
                    return term
                if told != self.lease.seen.holder:
                    told = self.lease.seen.holder
                    log.info("this host is the standby", extra={"host": self.lease.name, "active": told})
            await asyncio.sleep(self.lease.lease_s / LOOKS)


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _is_lost(fault: BaseException | None) -> bool:
    """Also when it came out of a group of tasks, and then alone."""
    if isinstance(fault, BaseExceptionGroup):
        return all(_is_lost(one) for one in fault.exceptions)
    return isinstance(fault, LeaseLost)


def _words(fault: BaseException | None) -> str:
    return _words(fault.exceptions[0]) if isinstance(fault, BaseExceptionGroup) else str(fault)


def waiting_room(turns: Turns) -> FastAPI:
    """What the standby shows: that it is one, and who is active."""
    app = FastAPI(title="Gaugeline standby", openapi_url=None)

    def text() -> str:
        seen, name = turns.lease.seen, turns.lease.name
        if turns.problem:
            return f"This host ({name}) waits: {turns.problem}"
        if seen.left_s <= 0 or not seen.holder:
            return f"This host ({name}) waits; nobody is active at this moment: ask again."
        return f"This host ({name}) is the standby; {seen.holder} is active: ask that one."

    @app.get("/api/health")
    async def health() -> dict[str, Any]:
        """problems: why it could not take over now."""
        problems = [turns.problem] if turns.problem else []
        return {"status": "degraded" if problems else "standby", "problems": problems, **turns.as_json()}

    @app.get("/")
    async def page() -> HTMLResponse:
        holder = html.escape(turns.lease.seen.holder or "—")
        body = WAITING.format(text=html.escape(text()), name=html.escape(turns.lease.name), holder=holder)
        headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"}
        return HTMLResponse(body, status_code=503, headers=headers)

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
    async def anything(path: str) -> Response:
        return problem(503, text())

    return app
