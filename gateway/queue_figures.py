"""The outbox' part of the status, asked one question at a time: a disk that hangs must not hang those who look."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from gateway.clock import now_ms
from gateway.config.convert import OutboxSettings
from gateway.outbox.rows import JsonObject
from gateway.outbox.store import Outbox
from wire.errors import StoreFull

ANSWER_S = 2.0
_LAST = 2**63 - 1  # ids are 64 bits with sign


class QueueFigures:
    """read() gives what holds now, or what held last with `answers` false."""

    def __init__(self, outbox: Outbox, settings: OutboxSettings) -> None:
        self._outbox, self._settings = outbox, settings
        self._asking: asyncio.Task[JsonObject] | None = None
        self._last: JsonObject = {
            "outbox": {"pending_batches": 0, "bytes": 0, "commits": 0}, "devices": {}, "gaps": [], "clock": {}
        }  # fmt: skip

    async def read(self, at_most_s: float = ANSWER_S) -> JsonObject:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="outbox figures")
        asking = self._asking
        answered, _ = await asyncio.wait({asking}, timeout=at_most_s)
        trouble = "" if answered else f"the disk under {self._settings.path} does not answer"
        if answered:
            try:
                self._last = asking.result()
            except (StoreFull, sqlite3.Error) as fault:
                trouble = str(fault)
        own: dict[str, Any] = self._last["outbox"] | {"answers": not trouble}
        return self._last | {"outbox": own | ({"trouble": trouble} if trouble else {})}

    async def _ask(self) -> JsonObject:
        found = await self._outbox.status()
        oldest = await self._outbox.unconfirmed(0, _LAST, 1, 1)
        waiting = sum(counters["in_flight"] for counters in found["devices"].values())
        more = {
            "limit_bytes": self._settings.max_bytes,
            "waiting_samples": waiting,
            "oldest_ms": oldest[0].last_ms if oldest else None,
            "oldest_age_s": max(0.0, (now_ms() - oldest[0].last_ms) / 1000) if oldest else 0.0,
        }
        return found | {"outbox": found["outbox"] | more}
