"""The audit: what became of every sample, from the database's count, the ledger and the gateways' own counters.

The gateway's counters of an epoch hold at its batch number N; the database is read later. So entries with numbers
above N are taken out again (they are in no `produced` yet), and batches that the ledger holds while the gateway
still lists them as unconfirmed are not in flight. No figure is the remainder of others.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloud.balance import DUPLICATES, Balance, Counts
from cloud.counters import DropRecord, EpochSaid, ThinRecord
from cloud.dead_letters import DeadLetters
from cloud.ledger import LAST, Ledger, Sums
from cloud.retention.own import Expiry, Old
from cloud.retention.port import Removal
from cloud.state.host import HostState, Record
from cloud.store.port import BatchKey, DeviceId, TelemetryStore
from wire.ids import NodeId

EpochId = tuple[NodeId, str]


@dataclass(slots=True)
class Facts:
    """All that an audit looks at, read while nothing was written.

    said: the newest counters per epoch. above: sums of ledger entries with numbers above the counters' (all of
    them, where there are no counters yet). settled: sums of entries that the gateway lists as unconfirmed. evicted:
    sums of entries that a drop or thin record names, where the counters cover it. letters: dead samples of keyed
    batches, by (batch, device). removed: rows that retention took out. old: rows that are older than the database
    keeps, and must have been there.
    """

    said: dict[EpochId, EpochSaid] = field(default_factory=dict)
    rows: Mapping[DeviceId, int] = field(default_factory=dict)
    above: dict[EpochId, dict[str, Sums]] = field(default_factory=dict)
    settled: dict[EpochId, dict[str, Sums]] = field(default_factory=dict)
    evicted: list[tuple[NodeId, str, Sums]] = field(default_factory=list)
    gateways: set[NodeId] = field(default_factory=set)  # those that send keys or counters
    collided: dict[tuple[NodeId, str], int] = field(default_factory=dict)
    sample_letters: dict[tuple[BatchKey, str], int] = field(default_factory=dict)
    batch_letters: dict[tuple[BatchKey, str], int] = field(default_factory=dict)
    figures: dict[tuple[NodeId, str], int] = field(default_factory=dict)
    gaps: list[Record] = field(default_factory=list)
    removed: Mapping[DeviceId, int] = field(default_factory=dict)
    old: Mapping[DeviceId, Old] = field(default_factory=dict)
    keeps_days: float | None = None


def balance_of(facts: Facts) -> Balance:
    """The arithmetic. Pure."""
    found: defaultdict[tuple[NodeId, str], Counts] = defaultdict(Counts)
    for (node, epoch), said in facts.said.items():
        settled = facts.settled.get((node, epoch), {})
        for device, counted in said.devices.items():
            counts = found[node, device]
            counts.produced += counted.produced
            counts.suppressed += counted.suppressed
            counts.refused += counted.refused
            counts.dropped += counted.dropped
            there = settled[device].samples if device in settled else 0
            counts.in_flight += counted.in_flight - there
    strangers = 0
    removed: dict[tuple[NodeId, str], int] = {}
    for place in {**facts.rows, **facts.removed}:
        gone = facts.removed.get(place, 0)
        rows = facts.rows.get(place, 0) + gone
        if place.node in facts.gateways and place.device:
            found[place].stored += rows
            removed[place] = gone
        else:
            strangers += rows
    for where, samples in facts.collided.items():
        found[where].collided += samples
    for (node, _), by_device in facts.above.items():
        for device, sums in by_device.items():
            if device:
                found[node, device].stored -= sums.stored
                found[node, device].collided -= sums.collided
    for node, device, sums in facts.evicted:
        found[node, device].dropped -= sums.samples
    _dead_letters(facts, found)
    surely: dict[tuple[NodeId, str], int] = {}
    for where, old in facts.old.items():
        if where in found:
            lost = max(0, found[where].lost)
            found[where].expired = min(lost, old.at_most)
            surely[where] = min(lost, old.at_least)
    balance = Balance(dict(found), strangers=strangers, removed={place: n for place, n in removed.items() if n})
    balance.expired_surely, balance.database_keeps_days = surely, facts.keeps_days
    for (node, name), value in facts.figures.items():
        kind, _, device = name.partition("/")
        if kind == DUPLICATES and device:
            balance.repeated[node, device] = value
        elif kind == DUPLICATES:
            balance.duplicates[node] = value
    for record in facts.gaps:
        balance.gaps[record.key.node] = balance.gaps.get(record.key.node, 0) + 1
    return balance


def _dead_letters(facts: Facts, found: defaultdict[tuple[NodeId, str], Counts]) -> None:
    for (key, device), samples in facts.sample_letters.items():
        if device and key.number <= _counted_to(facts, key):
            found[key.node, device].dead_letters += samples
    for (key, device), samples in facts.batch_letters.items():
        said = facts.said.get((key.node, key.epoch))
        if not device or said is None or key.number > said.number:
            continue
        found[key.node, device].dead_letters += samples
        if any(first <= key.number <= last for first, last in said.unconfirmed):
            # The gateway has not heard of the conflict yet and still holds it as in flight.
            found[key.node, device].in_flight -= samples


def _counted_to(facts: Facts, key: BatchKey) -> int:
    said = facts.said.get((key.node, key.epoch))
    return said.number if said else -1


@dataclass(slots=True)
class Audit:
    """Reads the facts. writing: the collector's lock, so that no round is half there.

    removal, expiry: None where nothing is ever removed, and where the database deletes nothing by itself.
    """

    store: TelemetryStore
    ledger: Ledger
    state: HostState
    dead_letters: DeadLetters
    writing: asyncio.Lock
    removal: Removal | None = None
    expiry: Expiry | None = None

    async def __call__(self) -> Balance:
        """Raises StoreDown."""
        async with self.writing:
            facts = await self._facts()
            balance = balance_of(facts)
            if self.expiry is None or balance.ok:
                return balance
            lost = [DeviceId(*place) for place, counts in balance.devices.items() if counts.lost > 0]
            facts.old = await self.expiry.old(lost)
            return balance_of(facts)

    async def _facts(self) -> Facts:
        if self.removal is not None:
            await self.removal.settle()
        facts = Facts(rows=await self.store.count(), figures=await self.state.figures())
        if self.removal is not None:
            facts.removed = await self.removal.totals()
        if self.expiry is not None:
            facts.keeps_days = self.expiry.keeps_days
        for one in await self.state.counters():
            facts.said[one.node, one.epoch] = EpochSaid.model_validate(one.content)
        facts.collided = await self.ledger.collided()
        highest = self.ledger.epochs()
        facts.gateways = {node for node, _ in highest} | {node for node, _ in facts.said}
        for (node, epoch), number in highest.items():
            said = facts.said.get((node, epoch))
            counted_to = said.number if said else -1
            if number > counted_to:
                facts.above[node, epoch] = await self.ledger.sums(node, epoch, [(counted_to + 1, LAST)])
            if said is not None and said.unconfirmed:
                facts.settled[node, epoch] = await self.ledger.sums(node, epoch, said.unconfirmed)
        for record in await self._counted("drop", facts):
            drop = DropRecord.model_validate(record.content)
            sums = await self.ledger.sums(record.key.node, drop.epoch, drop.numbers)
            if drop.device in sums:
                facts.evicted.append((record.key.node, drop.device, sums[drop.device]))
        facts.evicted += await self._thinned(facts)
        facts.gaps = await self.state.records("gap")
        await self._letters(facts)
        return facts

    async def _counted(self, kind: str, facts: Facts) -> list[Record]:
        """The records whose samples the counters know as dropped: a record is committed with its counts."""
        return [r for r in await self.state.records(kind) if r.key.number <= _counted_to(facts, r.key)]

    async def _thinned(self, facts: Facts) -> list[tuple[NodeId, str, Sums]]:
        """Samples that were left out of a thinned batch, while the ledger holds a version that still had them.

        What the ledger has of a first version, less what the gateway kept of it last.
        """
        kept: dict[tuple[NodeId, str, str], dict[int, int]] = {}
        for record in await self._counted("thin", facts):
            thin = ThinRecord.model_validate(record.content)
            of_epoch = kept.setdefault((record.key.node, thin.epoch, thin.device), {})
            for number, before, after, _ in thin.batches:
                of_epoch[number] = min(of_epoch.get(number, before), after)
        found = []
        for (node, epoch, device), left in kept.items():
            held = [k.number for k in await self.ledger.known([BatchKey(node, epoch, n) for n in left])]
            sums = await self.ledger.sums(node, epoch, [(n, n) for n in held])
            there = sums[device].samples if device in sums else 0
            found.append((node, device, Sums(max(0, there - sum(left[n] for n in held)), 0, 0)))
        return found

    async def _letters(self, facts: Facts) -> None:
        """A sample's letter counts once its batch is in the ledger; a batch's only while it is not (same digest)."""
        letters = await self.dead_letters.counts()
        known = await self.ledger.known(list({letter.key for letter in letters}))
        for letter, samples in letters.items():
            place = (letter.key, letter.device)
            if letter.kind == "sample" and letter.key in known:
                facts.sample_letters[place] = facts.sample_letters.get(place, 0) + samples
            elif letter.kind == "conflict" and known.get(letter.key) != letter.digest:
                facts.batch_letters[place] = facts.batch_letters.get(place, 0) + samples
