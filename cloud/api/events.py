"""GET /api/events: live values as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, HTTPException
from fastapi.responses import StreamingResponse

from cloud.api.tags import Wanted, Which
from cloud.host import wall_ms
from cloud.host_view import HostView
from cloud.live import LiveTag, LiveValues

EVERY_S = 0.5
SILENT_S = 5.0
"""After so long without a change an empty event says that the connection lives."""
MOST_READERS = 500
EXAMPLE = (
    "event: live\n"
    'data: {"now_ms": 1700000000500, "values": [["plant-1/gw-1", "pump-1", "flow", 41.5, 192, 1700000000000]]}\n'
    "id: 5f0c-17\n\n"
)
CONTENT = {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}}


class Frame(NamedTuple):
    """What changed in one step of time: after the version `since`, up to the version `now`."""

    step: int
    since: int
    now: int
    changed: list[LiveTag]
    text: str


@dataclass(slots=True)
class Feed:
    """What all readers see. Those that keep up wake together and share one frame: a hundred of them cost one search.

    One that is slow gets, when it reads again, the newest value of each tag that changed meanwhile: nothing is queued.
    """

    live: LiveValues
    start: str = field(default_factory=lambda: token_hex(4))  # of this process: versions begin anew with it
    readers: int = 0
    _frame: Frame = field(default_factory=lambda: Frame(-1, -1, -1, [], ""))

    def frame(self, step: int) -> Frame:
        if step != self._frame.step:
            since, now = self._frame.now, self.live.version
            changed = self.live.changed(since)
            self._frame = Frame(step, since, now, changed, self.event(changed, now))
        return self._frame

    def event(self, changed: Sequence[LiveTag], version: int) -> str:
        values = [[str(t.node), t.device, t.name, t.value, int(t.quality), t.ts_ms] for t in changed]
        said = json.dumps({"now_ms": wall_ms(), "values": values})
        return f"event: live\ndata: {said}\nid: {self.start}-{version}\n\n"

    def version(self, last_event_id: str | None) -> int:
        """What the reader has seen already; -1: nothing, or of another process."""
        start, _, number = (last_event_id or "").partition("-")
        known = start == self.start and number.isdecimal() and int(number) <= self.live.version
        return int(number) if known else -1


def router(host: HostView, closing: asyncio.Event) -> APIRouter:
    api = APIRouter(tags=["events"])
    feed = Feed(host.live)

    @api.get(
        "/events",
        summary="Live values as they come (server-sent events)",
        response_class=StreamingResponse,
        responses={200: {"description": "events without end", "content": CONTENT}},
    )
    async def events(
        which: Which,
        last_event_id: Annotated[
            str | None,
            Header(max_length=100, description="`id` of the last event that was read: only what changed since"),
        ] = None,
    ) -> StreamingResponse:
        """Event 'live', at most two a second: {now_ms, values: [[node, device, tag, value, quality, ts_ms], ...]}.

        The first holds every tag, later ones what changed. node is 'group/node', quality the OPC code. A reader that
        cannot follow misses values in between, never the newest one. At least every five seconds an event comes, with
        no values when nothing changed.
        """
        if feed.readers >= MOST_READERS:
            raise HTTPException(503, f"{MOST_READERS} readers are there already: try again later")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = _stream(feed, closing, which, feed.version(last_event_id))
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return api


async def _stream(feed: Feed, closing: asyncio.Event, which: Wanted, seen: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    first = True
    everything = which == Wanted()
    silent_s = SILENT_S
    feed.readers += 1
    try:
        while not closing.is_set():
            frame = feed.frame(int(loop.time() / EVERY_S))
            in_step = seen == frame.since and not first
            changed = frame.changed if in_step else feed.live.changed(seen) if first or seen != frame.now else []
            found = changed if everything else [tag for tag in changed if which.fits(tag)]
            seen, first = feed.live.version if first else frame.now, False
            if found or silent_s >= SILENT_S:
                yield frame.text if in_step and everything else feed.event(found, seen)
                silent_s = 0.0
            with suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), EVERY_S - loop.time() % EVERY_S)
            silent_s += EVERY_S
    finally:
        feed.readers -= 1
