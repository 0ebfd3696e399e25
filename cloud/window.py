"""The audit of a time: what the ledger says was stored then, what the database holds, and which batches are missing.

A gateway's counters know epochs, not times, so that `produced` has no share in it. What can be checked is: the rows in
the database against the ledger's entries, and the entries' numbers against each other: a number that is neither in the
ledger nor dropped, parked or still with the gateway belongs to a batch that this host has lost, as after an old backup.
Entries that reach into the time count whole, and so do days with rows that were restored from the archive.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from cloud.counters import DropRecord, EpochSaid
from cloud.dead_letters import DeadLetters
from cloud.ledger import Held, Ledger, minus
from cloud.retention.own import Expiry
from cloud.retention.port import Removal
from cloud.state.host import HostState
from cloud.store.port import DeviceId, TelemetryStore
from cloud.store.whole_rows import DAY_MS
from wire.ids import NodeId

ADDED = ("batches", "samples", "stored", "dead_letters", "collided", "restored", "rows", "removed", "expired")
Epoch = tuple[NodeId, str]
Range = tuple[int, int]


@dataclass(slots=True)
class Window:
    """One device, one gateway or all. restored: rows from the archive that no entry accounts for.

    removed: by retention. expired: deleted by the database's own retention, as far as that can be.

    lost: stored + restored - rows - removed - expired. missing: batches whose numbers nobody accounts for.
    """

    batches: int = 0
    samples: int = 0
    stored: int = 0
    dead_letters: int = 0
    collided: int = 0
    restored: int = 0
    rows: int = 0
    first_ms: int = 0
    last_ms: int = 0
    removed: int = 0
    expired: int = 0

    @property
    def lost(self) -> int:
        return self.stored + self.restored - self.rows - self.removed - self.expired

    def add(self, one: Window) -> None:
        for name in ADDED:
            setattr(self, name, getattr(self, name) + getattr(one, name))
        self.first_ms = min(self.first_ms or one.first_ms, one.first_ms)
        self.last_ms = max(self.last_ms, one.last_ms)

    def as_json(self) -> dict[str, int]:
        return {**asdict(self), "lost": self.lost}


@dataclass(slots=True)
class WindowAudit:
    from_ms: int
    to_ms: int
    devices: dict[DeviceId, Window] = field(default_factory=dict)
    missing: dict[NodeId, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        total, gateways = Window(), defaultdict[NodeId, Window](Window)
        for (node, _), window in self.devices.items():
            total.add(window)
            gateways[node].add(window)
        return {
            "ok": not any(w.lost for w in self.devices.values()) and not any(self.missing.values()),
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            **total.as_json(),
            "missing": sum(self.missing.values()),
            "gateways": {
                str(n): {**w.as_json(), "missing": self.missing.get(n, 0)} for n, w in sorted(gateways.items())
            },
            "devices": {f"{n}/{d}": w.as_json() for (n, d), w in sorted(self.devices.items())},
        }


async def closed(
    ledger: Ledger, of: DeviceId, from_ms: int, to_ms: int, days: Iterable[int] = (), at_least: Range | None = None
) -> tuple[list[Held], int, int]:
    """The device's entries of a time that no entry reaches out of: then entries and rows are of the same time.

    Also from when to when they reach (both included): `at_least` so far, and over the whole of each of `days` that they
    touch, with the days beside it that are among them, too (a batch reaches over midnight as a rule).
    """
    days = set(days)
    while True:
        found = await ledger.window(from_ms, to_ms, of)
        reach = [*([at_least] if at_least else []), *((h.first_ms, h.last_ms) for h in found)]
        first, last = min(first for first, _ in reach), max(last for _, last in reach)
        a, b = first // DAY_MS, last // DAY_MS
        if a in days:
            while a - 1 in days:
                a -= 1
            first = a * DAY_MS
        if b in days:
            while b + 1 in days:
                b += 1
            last = (b + 1) * DAY_MS - 1
        if first >= from_ms and last < to_ms:
            return found, first, last
        from_ms, to_ms = min(from_ms, first), max(to_ms, last + 1)


@dataclass(slots=True)
class WindowAuditor:
    """writing: the collector's lock, so that no round is half there. removal, expiry: as of cloud.audit.Audit."""

    store: TelemetryStore
    ledger: Ledger
    state: HostState
    dead_letters: DeadLetters
    writing: asyncio.Lock
    removal: Removal | None = None
    expiry: Expiry | None = None

    async def __call__(self, from_ms: int, to_ms: int, gateway: NodeId | None = None) -> WindowAudit:
        """Raises StoreDown."""
        async with self.writing:
            if self.removal is not None:
                await self.removal.settle()
            found = WindowAudit(from_ms, to_ms)
            numbers: dict[Epoch, Range] = {}
            restored = await self.state.restored.rows()
            devices = {DeviceId(h.node, h.device) for h in await self.ledger.window(from_ms, to_ms)}
            for device in sorted(d for d in devices if gateway in (None, d.node)):
                days = {d.day: n for d, n in restored.items() if (d.node, d.device) == device}
                entries, found.devices[device] = await self._device(device, from_ms, to_ms, days)
                for h in entries:
                    low, high = numbers.get((h.node, h.epoch), h.numbers)
                    numbers[h.node, h.epoch] = min(low, h.numbers[0]), max(high, h.numbers[1])
            settled = await self._settled()
            for (node, epoch), (first, last) in numbers.items():
                holes = minus(self.ledger.holes(node, epoch, first, last), sorted(settled[node, epoch]))
                found.missing[node] = found.missing.get(node, 0) + sum(b - a + 1 for a, b in holes)
            return found

    async def _device(
        self, device: DeviceId, from_ms: int, to_ms: int, restored: Mapping[int, int]
    ) -> tuple[list[Held], Window]:
        """restored: day -> rows."""
        removed = await self.removal.days(device) if self.removal is not None else {}
        entries, first, last = await closed(self.ledger, device, from_ms, to_ms, {*restored, *removed})
        window = Window()
        for h in entries:
            sums = h.sums
            window.add(
                Window(h.batches, sums.samples, sums.stored, sums.dead, sums.collided, 0, 0, h.first_ms, h.last_ms)
            )
        window.restored = sum(n for day, n in restored.items() if first <= day * DAY_MS <= last)
        window.removed = sum(n for day, n in removed.items() if first <= day * DAY_MS <= last)
        window.rows = await self.store.rows(*device, first, last)
        if self.expiry is not None and window.lost > 0:
            old = await self.expiry.of(device, first, last)
            window.expired = min(window.lost, old.at_most)
        return entries, window

    async def _settled(self) -> defaultdict[Epoch, list[Range]]:
        """Numbers that need not be in the ledger: dropped, thinned away, still with the gateway, dead letters."""
        found: defaultdict[Epoch, list[Range]] = defaultdict(list)
        for one in await self.state.counters():
            found[one.node, one.epoch] += EpochSaid.model_validate(one.content).unconfirmed
        for record in await self.state.records("drop"):
            drop = DropRecord.model_validate(record.content)
            found[record.key.node, drop.epoch] += drop.numbers
        for record in await self.state.records("thin"):
            for row in record.content.get("batches", ()):  # [first number, samples before, after, new number]
                for number in {row[0], row[-1]} - {None}:
                    found[record.key.node, str(record.content.get("epoch"))].append((int(number), int(number)))
        for letter in await self.dead_letters.counts():
            if letter.kind == "conflict":
                found[letter.key.node, letter.key.epoch].append((letter.key.number, letter.key.number))
        return found
