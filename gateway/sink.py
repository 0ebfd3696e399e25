"""Where the agent's Blocks go: into the outbox, and into the newest values that births show."""

from __future__ import annotations

from agent.pipeline import Taken
from gateway.births import Latest
from gateway.outbox.store import Outbox


class OutboxSink:
    """The agent's Sink."""

    def __init__(self, outbox: Outbox, latest: Latest) -> None:
        self._outbox, self._latest = outbox, latest

    async def append(self, taken: Taken) -> None:
        for block in taken.blocks:
            self._latest.update(block)
        self._outbox.append(taken)

    async def device_state(self, device: str, alive: bool) -> None:
        self._outbox.device_state(device, alive)
