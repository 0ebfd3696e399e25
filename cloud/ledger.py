"""The ledger: which batches are stored, with digests and counts. The port, and what every ledger keeps in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cloud.store.port import Batch, BatchKey, DeviceId
from wire.ids import NodeId

LAST = 2**62  # no batch has a higher number


class LedgerEntry(NamedTuple):
    """One batch that is dealt with. samples: of the message; those in the database are samples - dead - collided."""

    key: BatchKey
    device: str
    digest: str
    samples: int
    dead: int
    collided: int
    first_ms: int
    last_ms: int


def entry_of(batch: Batch, refused: int = 0) -> LedgerEntry:
    """The entry of a batch. refused: samples that the database would not take after all."""
    samples = len(batch.samples) + batch.dead + batch.collided + batch.restored
    dead = batch.dead + refused
    return LedgerEntry(
        batch.key, batch.device, batch.digest, samples, dead, batch.collided, batch.first_ms, batch.last_ms
    )


class Sums(NamedTuple):
    """Sums over ledger entries of one device."""

    samples: int
    dead: int
    collided: int

    @property
    def stored(self) -> int:
        return self.samples - self.dead - self.collided


class Held(NamedTuple):
    """Entries of one epoch and device in a window of time. numbers: lowest and highest."""

    node: NodeId
    device: str
    epoch: str
    batches: int
    sums: Sums
    first_ms: int
    last_ms: int
    numbers: tuple[int, int]


class Ledger(Protocol):
    """Raises StoreDown."""

    async def open(self) -> None: ...

    async def known(self, keys: Sequence[BatchKey]) -> dict[BatchKey, str]:
        """The digests of those batches that are in the ledger."""
        ...

    def overlaps(self, node: NodeId, device: str, epoch: str, first_ms: int, last_ms: int) -> bool:
        """True when another epoch of this gateway and device has a batch that may reach into this time."""
        ...

    async def add(self, entries: Sequence[LedgerEntry]) -> None: ...

    async def sums(self, node: NodeId, epoch: str, ranges: Sequence[tuple[int, int]]) -> dict[str, Sums]:
        """Device -> sums over the entries with numbers in the ranges (both ends included)."""
        ...

    async def window(self, from_ms: int, to_ms: int, of: DeviceId | None = None) -> list[Held]:
        """Entries that reach into the time from from_ms (included) to to_ms (not included), per epoch and device."""
        ...

    def holes(self, node: NodeId, epoch: str, first: int, last: int) -> list[tuple[int, int]]:
        """Ranges of numbers from first to last (both included) that no entry has."""
        ...

    def epochs(self) -> dict[tuple[NodeId, str], int]:
        """(edge node, epoch) of every entry -> the highest number of it."""
        ...

    async def collided(self) -> dict[tuple[NodeId, str], int]:
        """(edge node, device) -> samples whose identity another batch had stored; those without any are left out."""
        ...


@dataclass(slots=True)
class Numbers:
    """A set of batch numbers as ranges: numbers come in runs, so that it stays small however many there are."""

    _first: list[int] = field(default_factory=list)
    _last: list[int] = field(default_factory=list)

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._first, number) - 1
        return i >= 0 and number <= self._last[i]

    def add(self, first: int, last: int) -> None:
        """Adds first..last, which may touch or overlap what is there."""
        i = bisect_right(self._first, first) - 1
        if i < 0 or self._last[i] < first - 1:
            i += 1
            self._first.insert(i, first)
            self._last.insert(i, last)
        else:
            self._last[i] = max(self._last[i], last)
        while i + 1 < len(self._first) and self._first[i + 1] <= self._last[i] + 1:
            self._last[i] = max(self._last[i], self._last[i + 1])
            del self._first[i + 1], self._last[i + 1]

    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self._first, self._last, strict=True))


class Run(NamedTuple):
    """A run of numbers of one epoch, as read from a ledger's table at start."""

    node: NodeId
    epoch: str
    first: int
    last: int


class Reach(NamedTuple):
    """From when to when the batches of one epoch and device reach."""

    node: NodeId
    device: str
    epoch: str
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class Index:
    """Which numbers are known and from when to when each epoch reaches, so that new batches need no query."""

    numbers: dict[tuple[NodeId, str], Numbers] = field(default_factory=dict)
    reach: dict[tuple[NodeId, str], dict[str, tuple[int, int]]] = field(default_factory=dict)

    def load(self, runs: Iterable[Run], reaches: Iterable[Reach]) -> None:
        self.numbers.clear()
        self.reach.clear()
        for run in runs:
            self.numbers.setdefault((run.node, run.epoch), Numbers()).add(run.first, run.last)
        for r in reaches:
            self.reach.setdefault((r.node, r.device), {})[r.epoch] = (r.first_ms, r.last_ms)

    def add(self, entries: Iterable[LedgerEntry]) -> None:
        for e in entries:
            self.numbers.setdefault((e.key.node, e.key.epoch), Numbers()).add(e.key.number, e.key.number)
            if not e.last_ms:
                continue  # nothing of it is in the database
            of_device = self.reach.setdefault((e.key.node, e.device), {})
            first, last = of_device.get(e.key.epoch, (e.first_ms, e.last_ms))
            of_device[e.key.epoch] = (min(first, e.first_ms), max(last, e.last_ms))

    def holes(self, node: NodeId, epoch: str, first: int, last: int) -> list[tuple[int, int]]:
        numbers = self.numbers.get((node, epoch))
        return minus([(first, last)], numbers.ranges() if numbers else [])

    def holds(self, key: BatchKey) -> bool:
        found = self.numbers.get((key.node, key.epoch))
        return found is not None and key.number in found

    def highest(self) -> dict[tuple[NodeId, str], int]:
        return {epoch_id: numbers.ranges()[-1][1] for epoch_id, numbers in self.numbers.items()}

    def overlaps(self, node: NodeId, device: str, epoch: str, first_ms: int, last_ms: int) -> bool:
        return any(
            other != epoch and first <= last_ms and last >= first_ms
            for other, (first, last) in self.reach.get((node, device), {}).items()
        )


def minus(ranges: Iterable[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Numbers that are in `ranges` and in none of `others`, which are sorted; as ranges, both ends included."""
    found = []
    for first, last in ranges:
        at = first
        for a, b in others:
            if b < at or a > last:
                continue
            if a > at:
                found.append((at, a - 1))
            at = max(at, b + 1)
        if at <= last:
            found.append((at, last))
    return found


def held(group: str, node: str, device: str, epoch: str, *figures: int) -> Held:
    """A row of window_sql."""
    batches, samples, dead, collided, first_ms, last_ms, lowest, highest = map(int, figures)
    sums = Sums(samples, dead, collided)
    return Held(NodeId(group, node), device, epoch, batches, sums, first_ms, last_ms, (lowest, highest))


def window_sql(from_ms: int, to_ms: int, of: DeviceId | None) -> tuple[str, dict[str, object]]:
    """The query of Ledger.window and its values in order; the same text runs on SQLite and DuckDB."""
    values: dict[str, object] = {"from": from_ms, "to": to_ms}
    only = ""
    if of is not None:
        only = ' AND "group" = ? AND node = ? AND device = ?'
        values |= {"group": of.node.group, "node": of.node.node, "device": of.device}
    return WINDOW_SQL.replace("-- only", only), values


WINDOW_SQL = """
    SELECT "group", node, device, epoch, count(*), sum(samples), sum(dead), sum(collided),
           min(first_ms), max(last_ms), min(number), max(number)
    FROM ledger WHERE device <> '' AND last_ms > 0 AND last_ms >= ? AND first_ms < ? -- only
    GROUP BY "group", node, device, epoch"""

# A gap in the numbers starts a new run ("gaps and islands"); the same text runs on SQLite, PostgreSQL and DuckDB.
RUNS_SQL = """
    SELECT "group", node, epoch, min(number), max(number) FROM (
        SELECT "group", node, epoch, number,
               number - row_number() OVER (PARTITION BY "group", node, epoch ORDER BY number) AS island
        FROM ledger) AS numbered
    GROUP BY "group", node, epoch, island"""
REACH_SQL = """
    SELECT "group", node, device, epoch, min(first_ms), max(last_ms) FROM ledger WHERE last_ms > 0
    GROUP BY "group", node, device, epoch"""
COLLIDED_SQL = """
    SELECT "group", node, device, sum(collided) FROM ledger WHERE collided > 0 GROUP BY "group", node, device"""
