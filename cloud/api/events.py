"""GET /api/events: live values as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from cloud.host import wall_ms
from cloud.host_view import HostView
from cloud.live import LiveTag

EVERY_S = 0.5
SILENT_S = 5.0
"""After so long without a change an empty event says that the connection lives."""


def router(host: HostView, closing: asyncio.Event) -> APIRouter:
    api = APIRouter(tags=["events"])

    @api.get("/events")
    async def events() -> StreamingResponse:
        """Event 'live', at most two a second: {now_ms, values: [[node, device, tag, value, quality, ts_ms], ...]}.

        The first holds every tag, later ones what changed. node is 'group/node', quality the OPC code.
        """
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(host, closing), media_type="text/event-stream", headers=headers)

    return api


async def _stream(host: HostView, closing: asyncio.Event) -> AsyncIterator[str]:
    seen, changed = -1, host.live.changed(-1)
    silent_s = SILENT_S
    while not closing.is_set():
        if changed or silent_s >= SILENT_S:
            yield event(changed)
            silent_s = 0.0
        seen = max(seen, host.live.version)
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), EVERY_S)
        silent_s += EVERY_S
        changed = host.live.changed(seen)


def event(changed: list[LiveTag]) -> str:
    values = [[str(t.node), t.device, t.name, t.value, int(t.quality), t.ts_ms] for t in changed]
    return f"event: live\ndata: {json.dumps({'now_ms': wall_ms(), 'values': values})}\n\n"
