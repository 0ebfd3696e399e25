"""A round of messages, sorted: what is new, what is known, what contradicts, what cannot be stored."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cloud.balance import DUPLICATES
from cloud.counters import parse_record
from cloud.dead_letters import Letter
from cloud.ledger import Index, Ledger, entry_of
from cloud.screen import digest_fits, letter_of, screened, whole_batch
from cloud.state.host import HostState, Record
from cloud.stats import Stats
from cloud.store.port import Batch, BatchKey, Refused, TelemetryStore
from wire.delivery import RECORD, BatchTag
from wire.errors import PayloadError
from wire.host_events import Data
from wire.ids import NodeId
from wire.thinned import replaced

MOST_DOUBTS = 3
"""A batch whose digest does not fit is asked for again after a rebirth; so often, then it is a dead letter."""
MOST_DOUBTED = 10_000

Doubt = tuple[BatchKey, str]  # a batch and its digest


@dataclass(slots=True)
class Sorted:
    """What to write, and whom to answer. stored and conflicts: batch -> digest as the gateway said it.

    doubts: batches whose names or values did not give the digest. later: messages for the next round.
    index: where the batches of this round reach to. figures: events per node.
    """

    batches: list[Batch] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    stored: dict[BatchKey, str] = field(default_factory=dict)
    conflicts: dict[BatchKey, str] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    index: Index = field(default_factory=Index)
    figures: Counter[tuple[NodeId, str]] = field(default_factory=Counter)
    later: list[Data] = field(default_factory=list)

    def refuse(self, refused: Sequence[Refused]) -> list[Letter]:
        """Dead letters for what the database would not take; positions after those of the screening."""
        return [
            letter_of(r.batch.key, r.batch.device, 1_000_000 + r.batch.samples.index(r.sample), r.sample, r.why)
            for r in refused
        ]

    def refused_per_batch(self, refused: Sequence[Refused]) -> Counter[BatchKey]:
        return Counter(r.batch.key for r in refused)


def _root(data: Data) -> BatchTag | None:
    """The first version of a thinned batch; a marker that cannot be read is a sample like any other."""
    try:
        return replaced(data.samples) if data.device and data.batch is not None else None
    except PayloadError:
        return None


class Sorter:
    def __init__(self, store: TelemetryStore, ledger: Ledger, state: HostState, stats: Stats) -> None:
        self._store, self._ledger, self._state, self._stats = store, ledger, state, stats
        self._doubts: OrderedDict[Doubt, int] = OrderedDict()
        self.figures: Counter[tuple[NodeId, str]] = Counter()

    def settle(self, done: Sorted) -> None:
        """The round is written: what it counted counts. A round that failed is sorted again."""
        self.figures.update(done.figures)
        for (_, name), n in done.figures.items():
            if "/" not in name:
                self._stats.counters[name] += n
        for doubt in done.doubts:
            self._doubts[doubt] = self._doubts.pop(doubt, 0) + 1
        while len(self._doubts) > MOST_DOUBTED:
            self._doubts.popitem(last=False)

    async def sort(self, found: Sequence[Data], now_ms: int) -> Sorted:
        """Raises StoreDown. Changes nothing: `settle` does, once all is written."""
        done = Sorted()
        await self._state.restored.open()
        keys = [BatchKey(d.node, d.batch.epoch, d.batch.number) for d in found if d.batch is not None]
        roots = [BatchKey(d.node, root.epoch, root.number) for d in found if (root := _root(d)) is not None]
        known = await self._ledger.known(list({*keys, *roots}))
        strangers: dict[tuple[NodeId, str], list[Data]] = {}
        for data in found:
            if data.batch is None:
                strangers.setdefault((data.node, data.device), []).append(data)
            else:
                await self._keyed(data, known, done, now_ms)
        for of_device in strangers.values():
            await self._strangers(of_device, done, now_ms)
        return done

    async def _keyed(self, data: Data, known: dict[BatchKey, str], done: Sorted, now_ms: int) -> None:
        tag = data.batch
        assert tag is not None
        key = BatchKey(data.node, tag.epoch, tag.number)
        digest = known.get(key)
        if digest == tag.digest:
            # Also a twin in this round: it is stored with it, and confirmed once.
            done.figures[data.node, DUPLICATES] += 1
            if data.device:
                done.figures[data.node, f"{DUPLICATES}/{data.device}"] += 1
            done.stored[key] = digest
        elif not digest_fits(data):
            self._doubt(data, key, done)
        elif digest is not None:
            done.figures[data.node, "conflicts"] += 1
            done.letters.append(whole_batch(data, "the batch is stored with another digest"))
            done.conflicts[key] = tag.digest
        elif not data.device:
            self._records(data, key, done)
            done.batches.append(Batch(data.node, "", (), key.epoch, key.number, tag.digest))
            done.stored[key] = known[key] = tag.digest
        elif (root := _root(data)) is not None:
            await self._thinned(data, root, key, known, done, now_ms)
        elif await self._fresh(data, key, known, done, now_ms):
            done.stored[key] = tag.digest
        else:
            done.later.append(data)  # the other one is in the database by then

    async def _thinned(
        self, data: Data, root: BatchTag, key: BatchKey, known: dict[BatchKey, str], done: Sorted, now_ms: int
    ) -> None:
        """What is left of a batch that its gateway had no room for: stored under the first version's key, once."""
        assert data.batch is not None
        root_key = BatchKey(data.node, root.epoch, root.number)
        rest = data._replace(samples=data.samples[1:], batch=root)
        if root_key not in known and not await self._fresh(rest, root_key, known, done, now_ms):
            done.later.append(data)
            return
        if known[root_key] != root.digest:
            done.figures[data.node, "conflicts"] += 1
            done.letters.append(whole_batch(data, "the batch that it replaces is stored with another digest"))
            done.conflicts[key] = data.batch.digest
            return
        # An entry of its own, so that it is known and not in flight any more; its samples count under the first key.
        dead = len(rest.samples)
        done.batches.append(Batch(data.node, data.device, (), key.epoch, key.number, data.batch.digest, dead=dead))
        done.stored[key] = known[key] = data.batch.digest

    async def _fresh(self, data: Data, key: BatchKey, known: dict[BatchKey, str], done: Sorted, now_ms: int) -> bool:
        """False when it must wait for the next round."""
        one = screened(data, now_ms)
        batch = one.batch
        reach = (batch.node, batch.device, batch.epoch, batch.first_ms, batch.last_ms)
        if batch.samples and done.index.overlaps(*reach):
            return False
        if batch.samples:
            beside = self._ledger.overlaps(*reach)
            if beside or self._state.restored.reaches(batch.node, batch.device, batch.first_ms, batch.last_ms):
                batch = await self._without_stored(batch, beside)
        done.batches.append(batch)
        done.index.add([entry_of(batch)])
        done.letters += one.letters
        known[key] = batch.digest
        return True

    async def _without_stored(self, batch: Batch, beside: bool) -> Batch:
        """Samples whose identity is stored already are counted, not stored: two epochs of one gateway overlap in time
        (beside), or the archive gave back what is sent again now. What retention removed was stored, too.

        A restored sample is this batch's own; one that another batch stored has collided. Where both may be, those that
        are met first count as restored: all of them are counted right once all of the day has come again. The decision
        outlives a crash, because a write that is repeated would meet its own samples.
        """
        reach = (batch.node, batch.device, batch.first_ms, batch.last_ms)
        stored = await self._store.known(*reach) | await self._state.removed(*reach)
        mine = {(s.name, s.ts_ms) for s in batch.samples} & stored
        met = await self._state.decided(batch.key, batch.device, mine, sure=not beside)
        kept = tuple(s for s in batch.samples if (s.name, s.ts_ms) not in met.samples)
        collided = batch.collided + len(batch.samples) - len(kept) - met.restored
        return replace(batch, samples=kept, collided=collided, restored=met.restored)

    async def _strangers(self, of_device: Sequence[Data], done: Sorted, now_ms: int) -> None:
        """A third-party node's data have no key: what is stored by tag and stamp already is not stored again."""
        found = [screened(data, now_ms) for data in of_device]
        batches = [one.batch for one in found if one.batch.samples]
        done.letters += [letter for one in found for letter in one.letters]
        if not batches:
            return
        node, device = batches[0].node, batches[0].device
        first, last = min(b.first_ms for b in batches), max(b.last_ms for b in batches)
        taken = await self._store.known(node, device, first, last) | await self._state.removed(
            node, device, first, last
        )
        for batch in batches:
            new = tuple(s for s in batch.samples if (s.name, s.ts_ms) not in taken)
            taken.update((s.name, s.ts_ms) for s in new)
            done.figures[node, "strangers_repeated"] += len(batch.samples) - len(new)
            if new:
                done.batches.append(replace(batch, samples=new))

    def _records(self, data: Data, key: BatchKey, done: Sorted) -> None:
        for i, s in enumerate(data.samples):
            try:
                if s.name != RECORD:
                    raise PayloadError(f"{s.name} is not a record")
                kind, content = parse_record(str(s.value))
            except PayloadError as fault:
                done.letters.append(Letter("record", key, "", i, str(fault), str(s.value).encode(), samples=0))
            else:
                done.records.append(Record(key, i, kind, content))

    def _doubt(self, data: Data, key: BatchKey, done: Sorted) -> None:
        """The digest does not fit: a wrong birth's alias, or a batch that was damaged before it was sent."""
        assert data.batch is not None
        done.figures[data.node, "digest_mismatches"] += 1
        doubt = (key, data.batch.digest)
        if self._doubts.get(doubt, 0) + 1 < MOST_DOUBTS:
            done.doubts.append(doubt)
            return
        done.letters.append(whole_batch(data, f"the digest did not fit {MOST_DOUBTS} times"))
        done.conflicts[key] = data.batch.digest
