"""Data that waits for the store: bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from wire.host_events import Data

MOST_IN_ROUND = 20_000  # samples; a round is one transaction
MOST_PENDING = 200_000  # samples that wait for the store: about 50 MB


@dataclass(slots=True)
class Pending:
    """Data that waits for the store. Bounded: what does not fit is not taken, and so never confirmed."""

    samples: int = 0
    queue: deque[Data] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, data: Data) -> bool:
        if self.samples and self.samples + len(data.samples) > MOST_PENDING:
            return False
        self.queue.append(data)
        self.samples += len(data.samples)
        self.filled.set()
        return True

    def take(self) -> list[Data]:
        """Up to a round's worth, oldest first."""
        found: list[Data] = []
        n = 0
        while self.queue and (not found or n + len(self.queue[0].samples) <= MOST_IN_ROUND):
            found.append(self.queue.popleft())
            n += len(found[-1].samples)
        self.samples -= n
        if not self.queue:
            self.filled.clear()
        return found

    def put_back(self, found: list[Data]) -> None:
        self.queue.extendleft(reversed(found))
        self.samples += sum(len(d.samples) for d in found)
        if found:
            self.filled.set()
