"""The port to a store's old samples: finding them, taking them out, and how many were taken out.

What is removed is counted per device, UTC day and class, where the ledger is, so that stored = rows + removed. Rows
that `archive restore` brings back leave that count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from cloud.ledger import Numbers
from cloud.store.port import Batch, DeviceId
from cloud.store.whole_rows import DAY_MS, DayId, TagId
from wire.ids import NodeId


class DeviceDay(NamedTuple):
    """One device's share of a UTC day. day: days since 1970-01-01."""

    node: NodeId
    device: str
    day: int

    @property
    def of_site(self) -> DayId:
        return DayId(self.node.group, self.day)

    @property
    def from_ms(self) -> int:
        return self.day * DAY_MS

    @property
    def to_ms(self) -> int:
        return (self.day + 1) * DAY_MS


class Cut(NamedTuple):
    """What is taken out at once: samples of these tags, all of one class, from from_ms (included) to to_ms (not)."""

    of: DeviceDay
    name: str
    tags: tuple[str, ...]
    from_ms: int
    to_ms: int


class Taken(NamedTuple):
    """What was removed so far of one device and class."""

    of: DeviceId
    name: str
    rows: int
    first_day: int
    last_day: int


class Removal(Protocol):
    """All raise StoreDown; those that write, LeaseLost. `settle`, `remove` and `returning` only while nobody else
    writes samples (the collector's lock)."""

    async def settle(self) -> None:
        """What an earlier process left half done is finished and counted. Before anything else is written."""
        ...

    async def remove(self, cut: Cut) -> int:
        """Rows that were there and are not any more; counted when it returns, and once if it is interrupted."""
        ...

    def returning(self, batches: Sequence[Batch]) -> AbstractAsyncContextManager[None]:
        """Around the write of rows that the archive gives back, within the store's transaction.

        batches: each of one device and UTC day.
        """
        ...

    async def totals(self) -> Mapping[DeviceId, int]:
        """Rows that were removed, per device."""
        ...

    async def days(self, of: DeviceId) -> Mapping[int, int]:
        """day -> rows that were removed."""
        ...

    async def taken(self) -> list[Taken]: ...

    def gone(self, of: DeviceId) -> Gone | None:
        """On which days something of the device was removed, without a query; None before `settle`."""
        ...

    async def oldest(self, before_ms: int) -> Mapping[TagId, int]:
        """Of every tag that has rows before this time the stamp of the first one."""
        ...

    async def per_day(self, tags: Sequence[TagId], before_ms: int) -> Mapping[DeviceDay, int]:
        """Rows of these tags before a time."""
        ...

    async def counts(self, of: DeviceDay, tags: Sequence[str]) -> Mapping[TagId, int]:
        """Rows of each of these tags of one device and day."""
        ...

    async def count(self, tag: TagId, from_ms: int, to_ms: int) -> int: ...

    async def bytes_a_row(self) -> float | None:
        """What a row takes in the database, about; None: nobody knows."""
        ...


class RollUps(Protocol):
    """Roll-ups of the samples, which outlive them."""

    async def work(self) -> None:
        """All that can be made now is made. Raises StoreDown, LeaseLost, ConfigError."""
        ...

    def lacking(self, of: DeviceId, from_ms: int, to_ms: int) -> bool:
        """Whether samples of this time are still needed for one."""
        ...

    async def forget(self, level: str, before_ms: int) -> bool:
        """Those of a level ('1m', '15m', '1h') of windows before this time go. They are no samples: nobody counts them.
        False: not yet. Raises StoreDown, LeaseLost."""
        ...


class Gone:
    """Days of one device of which rows were removed, as runs. It never forgets one, also when all came back."""

    def __init__(self) -> None:
        self._days = Numbers()

    def add(self, day: int) -> None:
        self._days.add(day, day)

    def within(self, first_ms: int, last_ms: int) -> list[int]:
        """Those that have a part in the time, both ends included."""
        first, last = first_ms // DAY_MS, last_ms // DAY_MS
        runs = ((max(a, first), min(b, last)) for a, b in self._days.ranges())
        return [day for a, b in runs for day in range(a, b + 1)]

    @property
    def until_ms(self) -> int:
        """The end of the last one; 0 when there is none."""
        ranges = self._days.ranges()
        return (ranges[-1][1] + 1) * DAY_MS if ranges else 0


class Book:
    """`Gone` of every device, as a store remembers it."""

    def __init__(self) -> None:
        self._known: dict[DeviceId, Gone] | None = None

    @property
    def loaded(self) -> bool:
        return self._known is not None

    def load(self, days: Iterable[DeviceDay]) -> None:
        self._known = {}
        for day in days:
            self.add(day)

    def add(self, day: DeviceDay) -> None:
        assert self._known is not None
        self._known.setdefault(DeviceId(day.node, day.device), Gone()).add(day.day)

    def gone(self, of: DeviceId) -> Gone | None:
        return None if self._known is None else self._known.get(of, _NOTHING)

    def has(self, day: DeviceDay) -> bool:
        found = self.gone(DeviceId(day.node, day.device))
        return found is not None and bool(found.within(day.from_ms, day.from_ms))


_NOTHING = Gone()
UNKNOWN_MS = 2**62


def raw_since_ms(removal: Removal, node: NodeId, device: str, tag: str) -> int:
    """From this time on the store has every sample of the tag that it ever had; before it, see WholeDay.

    0: always. Without a query; before `settle` nobody knows, and it is UNKNOWN_MS. The device's last day with removed
    samples counts, whichever of its tags they were of.
    """
    found = removal.gone(DeviceId(node, device))
    return UNKNOWN_MS if found is None else found.until_ms


def shares(rows: Mapping[str, int], back: int) -> dict[str, int]:
    """class -> how many are left of its removed rows when so many of all of them have come back."""
    left = {}
    for name, n in sorted(rows.items()):
        taken = min(n, back)
        back -= taken
        left[name] = n - taken
    return left
