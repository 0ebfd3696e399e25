"""What goes out next: live batches at once, the backlog beside them, resends when their timer runs out. Pure.

Everything here is bounded: the live lane in batches and bytes, the window by its own limits; what does not fit
is only remembered as ranges of ids, for the outbox holds the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from gateway.outbox.rows import Batch, Committed
from gateway.resend import Ranges, ResendWindow

MAX_LIVE_BATCHES = 2_000
MAX_LIVE_BYTES = 8_000_000


class StateChange(NamedTuple):
    """A device was lost or came back, in its place between the batches."""

    device: str
    alive: bool


class Lanes:
    """One live lane, one backlog lane, one window over both."""

    def __init__(self, window: ResendWindow) -> None:
        self.window = window
        self.published: dict[str, Ranges] = {}  # epoch -> numbers published by this process
        self.todo = Ranges()  # ids that the backlog lane sends when the window is open
        self._live: deque[Batch | StateChange] = deque()
        self._live_batches = 0
        self._live_bytes = 0
        self._from_id = 0
        self._on = False

    @property
    def live_waiting(self) -> int:
        return self._live_batches

    @property
    def idle(self) -> bool:
        """True when everything that this session knows of has gone out."""
        return not self._live and not self.todo

    def begin(self) -> None:
        """A session begins: commits from now on are live. Call before asking the outbox for its last id."""
        self._on = True
        self._live.clear()
        self._live_batches = self._live_bytes = 0
        self.window.clear()
        self.todo = Ranges()

    def backlog_upto(self, last_id: int) -> None:
        """Everything unconfirmed up to this id is backlog."""
        self._from_id = last_id
        self.todo.add(0, last_id)

    def end(self) -> None:
        """No session: what is committed now becomes the next session's backlog."""
        self._on = False
        self._live.clear()
        self._live_batches = self._live_bytes = 0

    def committed(self, commit: Committed) -> None:
        """A commit's batches go live; a device's return before them, its death after them."""
        if not self._on:
            return
        self._live.extend(StateChange(d, True) for d, alive in commit.states.items() if alive)
        for batch in commit.batches:
            if batch.thinned:
                self.todo.add(batch.id, batch.id)  # old samples: they are never news
                continue
            self._live.append(batch)
            self._live_batches += 1
            self._live_bytes += len(batch.body)
        self._live.extend(StateChange(d, False) for d, alive in commit.states.items() if not alive)
        while self._live_batches > MAX_LIVE_BATCHES or self._live_bytes > MAX_LIVE_BYTES:
            item = self._live.popleft()
            if isinstance(item, Batch):
                self._forget_live(item)
                self.todo.add(item.id, item.id)

    def _forget_live(self, batch: Batch) -> None:
        self._live_batches -= 1
        self._live_bytes -= len(batch.body)

    def next_live(self) -> Batch | StateChange | None:
        """The oldest of the live lane."""
        while self._live:
            item = self._live.popleft()
            if isinstance(item, StateChange):
                return item
            self._forget_live(item)
            if item.id > self._from_id:
                return item
        return None

    def live_sent(self, batch: Batch, now_s: float) -> None:
        """A closed window sends live values once; the backlog lane repeats them when it opens."""
        self._published(batch)
        if self.window.open:
            self.window.sent(batch.id, len(batch.body), now_s)
        else:
            self.todo.add(batch.id, batch.id)

    def backlog_sent(self, batch: Batch, now_s: float) -> None:
        self._published(batch)
        self.window.sent(batch.id, len(batch.body), now_s, backlog=True)

    def _published(self, batch: Batch) -> None:
        self.published.setdefault(batch.epoch, Ranges()).add(batch.number, batch.number)

    def was_published(self, epoch: str, first: int, last: int) -> bool:
        """True when this process has published every one of these batches."""
        return epoch in self.published and self.published[epoch].covers(first, last)

    def again(self, ids: Iterable[int]) -> None:
        """The host asked for these once more."""
        for i in ids:
            self.todo.add(i, i)


def figures(lanes: Lanes) -> dict[str, Any]:
    """The lanes' part of the status."""
    trip = lanes.window.round_trip_s
    return {
        "live_waiting": lanes.live_waiting,
        "under_way": len(lanes.window),
        "round_trip_ms": None if trip is None else round(trip * 1000, 1),
        "resend_after_s": round(lanes.window.timer_s, 3),
    }
