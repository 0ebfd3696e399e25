"""Where the agent's Blocks go: into the outbox, and into the newest values that births show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from agent.pipeline import Taken
from gateway.births import Latest
from gateway.outbox.store import Outbox


class OutboxSink:
    """The agent's Sink. taken: line -> what it has given so far, polls in which all was suppressed included."""

    def __init__(self, outbox: Outbox, latest: Latest) -> None:
        self._outbox, self._latest = outbox, latest
        self.taken: Counter[str] = Counter()

    async def append(self, taken: Taken) -> None:
        for block in taken.blocks:
            self._latest.update(block)
        self._outbox.append(taken)
        self.taken[taken.line] += 1

    async def device_state(self, device: str, alive: bool) -> None:
        self._outbox.device_state(device, alive)


class HighWater(Mapping[tuple[str, str], int]):
    """(device, tag) -> newest stamp: of this run, else the device's from before it. A restarted line asks again."""

    def __init__(self, before: Mapping[str, int], latest: Latest) -> None:
        self._before, self._latest = before, latest

    def __getitem__(self, key: tuple[str, str]) -> int:
        device, name = key
        marks = [m for m in (self._latest.stamp(device, name), self._before.get(device)) if m is not None]
        if not marks:
            raise KeyError(key)
        return max(marks)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._latest.keys())

    def __len__(self) -> int:
        return len(self._latest.keys())
