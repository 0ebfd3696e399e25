"""Data that waits for the store: bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from wire.columns import Columns
from wire.host_events import Data

ENOUGH = 20_000  # samples; a round waits for no more
MOST_IN_ROUND = 40_000  # samples; a round is one transaction, and what it costs whatever its size is shared
MOST_PENDING = 200_000  # samples that wait for the store: about 50 MB


def weight(data: Data) -> int:
    """How much room a message takes, in samples of numbers; a text counts by its length."""
    samples = data.samples
    values = samples.texts if isinstance(samples, Columns) else [s.value for s in samples]
    return len(samples) + sum(len(value) // 64 for value in values if isinstance(value, str))


@dataclass(slots=True)
class Pending:
    """Data that waits for the store. Bounded: what does not fit is not taken, and so never confirmed.

    hurried: backlog is among it, whose gateway may wait for confirmations before it sends more.
    """

    room_taken: int = 0
    queue: deque[tuple[int, Data]] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: bool = False

    def put(self, data: Data) -> bool:
        room = weight(data)
        if self.room_taken and self.room_taken + room > MOST_PENDING:
            return False
        self.queue.append((room, data))
        self.room_taken += room
        self.hurried = self.hurried or data.historical
        self.filled.set()
        return True

    async def collect(self, longest_s: float, pause_s: float) -> None:
        """Returns once there is enough or longest_s are over; with backlog in it also when nothing came for pause_s."""
        while self.room_taken < ENOUGH and longest_s > 0:
            before = self.room_taken
            await asyncio.sleep(min(pause_s, longest_s))
            longest_s -= pause_s
            if self.hurried and self.room_taken == before:
                return

    def take(self) -> list[Data]:
        """Up to a round's worth, oldest first."""
        found: list[Data] = []
        taken = 0
        while self.queue and (not found or taken + self.queue[0][0] <= MOST_IN_ROUND):
            room, data = self.queue.popleft()
            found.append(data)
            taken += room
        self.room_taken -= taken
        if not self.queue:
            self.filled.clear()
            self.hurried = False
        return found

    def put_back(self, found: list[Data]) -> None:
        """What could not be written stands first again, also above the bound."""
        for data in reversed(found):
            room = weight(data)
            self.queue.appendleft((room, data))
            self.room_taken += room
            self.hurried = self.hurried or data.historical
            self.filled.set()
