"""Looks at the clocks every second, and asks the host for its time while this machine has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.outbox.store import Outbox
from gateway.stamping import StampingSink
from gateway.timekeeper import Timekeeper
from wire.errors import StoreFull

LOOK_S = 1.0
ASK_EVERY_S = 30.0


class TimeWatch:
    """One task. online: whether the host would hear a question."""

    def __init__(self, keeper: Timekeeper, sink: StampingSink, outbox: Outbox, online: Callable[[], bool]) -> None:
        self._keeper, self._sink, self._outbox, self._online = keeper, sink, outbox, online
        self._asked_s: float | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._keeper.look()
            self._sink.tell()
            self._sink.look_ahead()
            await self._ask()
            await asyncio.sleep(LOOK_S)

    async def _ask(self) -> None:
        """A record is a batch that the host answers with a confirmation, and that bears its time."""
        due = self._asked_s is None or time.monotonic() - self._asked_s >= ASK_EVERY_S
        if self._keeper.wants_host and self._online() and due:
            self._asked_s = time.monotonic()
            try:
                await self._outbox.record({"kind": "clock_unknown", "boot": self._keeper.boot_id})
            except StoreFull:
                return  # told by the outbox' own task; asked again later
