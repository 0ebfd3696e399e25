"""What was published and is not confirmed: a window, and a timer that follows the measured round trip. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


class Ranges:
    """A set of whole numbers as sorted ranges: published numbers and ids to send are long runs."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """first and last included; touching ranges are joined."""
        if first > last:
            return
        left = bisect_right(self._lasts, first - 2)  # the first range whose last >= first - 1
        right = bisect_right(self._firsts, last + 1)
        if left < right:
            first = min(first, self._firsts[left])
            last = max(last, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [last]

    def covers(self, first: int, last: int) -> bool:
        """True when every number from first to last is in the set."""
        i = bisect_right(self._firsts, first) - 1
        return i >= 0 and last <= self._lasts[i]

    def first(self) -> tuple[int, int]:
        """The lowest range. Raises IndexError when the set is empty."""
        return self._firsts[0], self._lasts[0]

    def remove_upto(self, number: int) -> None:
        """Takes every number <= number out."""
        while self._firsts and self._lasts[0] <= number:
            del self._firsts[0], self._lasts[0]
        if self._firsts and self._firsts[0] <= number:
            self._firsts[0] = number + 1


@dataclass(slots=True)
class _Sent:
    size: int
    at_s: float
    due_s: float
    wait_s: float
    times: int = 1


# A live value waits behind the backlog that the host has before it: so long may that take. With the commit windows of
# both sides it stays below two seconds.
BACKLOG_TRIP_S = 0.8
WEARY = 3  # times: with the shortest timer 14 s
_LEAST_BACKLOG, _FIRST_BACKLOG = 25_000, 50_000  # a first burst must not make a slow host miss its timer
_MESSAGE_BYTES = 400  # what a message costs the host beside its bytes, in bytes


class ResendWindow:
    """At most `batches` batches and `size` bytes are under way; each has a timer that doubles when it is sent again.

    The timer is smoothed round trip + 4 x deviation, as RFC 6298 says, measured only on batches that were sent
    once (Karn). min_s: a host commits in groups, an early resend is pure waste. max_s: the longest wait.
    """

    awaits = True  # a host's confirmations

    def __init__(
        self,
        batches: int = 2_000,
        size: int = 4_000_000,
        first_s: float = 5.0,
        min_s: float = 2.0,
        max_s: float = 60.0,
    ) -> None:
        self._batches, self._size = batches, size
        self._min_s, self._max_s = min_s, max_s
        self._first_s = first_s
        self._smooth_s: float | None = None
        self._deviation_s = 0.0
        self._sent: dict[int, _Sent] = {}
        self._of_backlog: dict[int, int] = {}
        self._bytes = 0
        self._under_way = 0  # of it: live values take their place beside it
        self._was_slow = False
        self._backlog = min(_FIRST_BACKLOG, size)  # the share of `size` that backlog may fill

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, i: int) -> bool:
        return i in self._sent

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def open(self) -> bool:
        """True while another batch may be sent."""
        return len(self._sent) < self._batches and self._bytes < self._size

    @property
    def open_for_backlog(self) -> bool:
        """True while the host keeps up: what waits there before a live value is bounded by the time that it takes."""
        return self.open and self._under_way < self._backlog

    @property
    def timer_s(self) -> float:
        """How long a batch that is sent now waits for its confirmation."""
        if self._smooth_s is None:
            return self._first_s
        return min(self._max_s, max(self._min_s, self._smooth_s + 4 * self._deviation_s))

    @property
    def round_trip_s(self) -> float | None:
        """Smoothed time from publish to confirmation; None before the first."""
        return self._smooth_s

    def sent(self, i: int, size: int, now_s: float, backlog: bool = False) -> None:
        """Notes that a batch goes out now; once more when it was under way already."""
        before = self._sent.get(i)
        if before is None:
            wait = self.timer_s
            self._sent[i] = _Sent(size, now_s, now_s + wait, wait)
            self._bytes += size
            if backlog:
                self._of_backlog[i] = size + _MESSAGE_BYTES
                self._under_way += size + _MESSAGE_BYTES
        else:
            before.wait_s = min(self._max_s, before.wait_s * 2)
            before.due_s = now_s + before.wait_s
            before.times += 1

    def weary(self, i: int) -> bool:
        """True for a batch that was sent so often that its row is looked at: its host may not be able to take it."""
        sent = self._sent.get(i)
        return sent is not None and sent.times >= WEARY

    def age_s(self, i: int, now_s: float) -> float | None:
        """Since it was published first; None when it is not under way."""
        sent = self._sent.get(i)
        return None if sent is None else now_s - sent.at_s

    def confirmed(self, i: int, now_s: float) -> None:
        """A batch is stored, parked or gone; its round trip is measured when it was sent once."""
        sent = self._sent.pop(i, None)
        self._under_way -= self._of_backlog.pop(i, 0)
        if sent is None:
            return
        self._bytes -= sent.size
        if sent.times == 1:
            trip = now_s - sent.at_s
            if self._smooth_s is None:
                self._smooth_s, self._deviation_s = trip, trip / 2
            else:
                self._deviation_s += (abs(self._smooth_s - trip) - self._deviation_s) / 4
                self._smooth_s += (trip - self._smooth_s) / 8
            cost = sent.size + _MESSAGE_BYTES
            slow = trip > BACKLOG_TRIP_S
            self._was_slow = self._was_slow or slow  # until then it doubles every round trip
            self._backlog += -cost // 2 if slow else cost // 8 if self._was_slow else cost
            self._backlog = max(min(_LEAST_BACKLOG, self._size), min(self._backlog, self._size))

    def forget(self, i: int) -> None:
        """A batch that the outbox no longer holds."""
        sent = self._sent.pop(i, None)
        self._under_way -= self._of_backlog.pop(i, 0)
        self._bytes -= sent.size if sent is not None else 0

    def due(self, now_s: float, limit: int = 100) -> list[int]:
        """Batches whose timer has run out, lowest id first."""
        return sorted(i for i, sent in self._sent.items() if sent.due_s <= now_s)[:limit]

    def settled(self, now_s: float, limit: int = 1_000) -> list[int]:
        """Batches that need no confirmation any more: none, where a host confirms."""
        return []

    def next_due_s(self) -> float | None:
        """When the next timer runs out; None when nothing is under way."""
        return min((sent.due_s for sent in self._sent.values()), default=None)

    def clear(self) -> None:
        """A new session: nothing is under way. What was measured stays."""
        self._sent.clear()
        self._of_backlog.clear()
        self._under_way = 0
        self._bytes = 0


class TrustWindow(ResendWindow):
    """For a host that never confirms: what went out hold_s ago in a session that still stands counts as delivered.

    A session that breaks forgets what it holds; the outbox still has it, and the next session sends it again. A client
    notices within two keep-alives that a broker is gone (one until it asks, one until no answer came), so hold_s
    is two and a moment.
    """

    MOMENT_S = 2.0
    awaits = False

    def __init__(self, keepalive_s: float, batches: int = 100_000, size: int = 100_000_000) -> None:
        super().__init__(batches, size, first_s=2 * keepalive_s + self.MOMENT_S)

    def due(self, now_s: float, limit: int = 100) -> list[int]:
        return []

    def settled(self, now_s: float, limit: int = 1_000) -> list[int]:
        return super().due(now_s, limit)


def delay_s(attempt: int, jitter: float, cap_s: float = 60.0) -> float:
    """Full-jitter back-off; the caller rolls jitter in [0, 1)."""
    return jitter * min(cap_s, 2.0 ** min(attempt, 10))
