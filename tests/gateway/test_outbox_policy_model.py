"""A small outbox under random appends, confirmations, kills with torn writes and restarts, with every policy.

The model is a plain list of every sample that was ever appended. After each step each of them is in exactly one place:
refused, waiting, confirmed, parked or dropped; and what waits is read back from the file's own bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.config.convert import WhenFull
from gateway.outbox.file import OutboxFile
from gateway.outbox.rows import Batch
from tests.gateway.field import block
from tests.gateway.outboxes import T0, commit_at, confirm, content, opened, records, waiting

LIMIT = 300_000
Key = tuple[str, int]  # tag, stamp


class Policies(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "o.db"
        self.now = T0
        self.produced: Counter[Key] = Counter()  # each must stay at 1
        self.settled: set[Key] = set()  # confirmed or parked
        self.refused = 0
        self.lost: Counter[str] = Counter()  # samples by kind of record
        self.decoded: dict[str, set[Key]] = {}
        self.seen: set[tuple[str, int]] = set()  # batches whose records were read

    def teardown(self) -> None:
        self.file.close(clean=False)
        shutil.rmtree(self.folder)

    def open(self) -> OutboxFile:
        return opened(self.path, self.when_full, LIMIT, lambda: self.now)

    def keys(self, batch: Batch) -> set[Key]:
        """Of a batch' own bytes, decoded once."""
        if batch.digest not in self.decoded:
            found = [(s.name, s.ts_ms) for s in content(self.file, batch)[2]]
            self.decoded[batch.digest] = set(found)
            assert len(found) == len(self.decoded[batch.digest])
        return self.decoded[batch.digest]

    def learn(self, found: list[Batch] | tuple[Batch, ...]) -> None:
        """Records of loss, each batch once."""
        fresh = [b for b in found if not b.device and (b.epoch, b.number) not in self.seen]
        self.seen |= {(b.epoch, b.number) for b in fresh}
        for r in records(self.file, fresh):
            self.lost[r["kind"]] += r.get("samples", 0)

    @initialize(when_full=st.sampled_from(["drop_oldest", "thin_oldest", "refuse_new"]))
    def begin(self, when_full: WhenFull) -> None:
        self.when_full: WhenFull = when_full
        self.file = self.open()
        while self.file.pending()[1] < LIMIT * 0.7:  # nearly full: what happens then is the subject
            self.append(500)

    @rule(samples=st.sampled_from([1, 60, 500, 500]))
    def append(self, samples: int) -> None:
        stamps = range(self.now + 1, self.now + 1 + samples)
        self.now += samples
        made = commit_at(self.file, stamps)
        keys = [(s.name, s.ts_ms) for ts_ms in stamps for s in block(ts_ms).samples()]
        if any(b.device and not b.thinned for b in made):
            self.produced.update(keys)
        else:
            assert self.when_full == "refuse_new"
            self.refused += len(keys)
        self.learn(made)

    @rule(data=st.data(), part=st.sampled_from([0.2, 1.0]))
    def confirm(self, data: st.DataObject, part: float) -> None:
        found = [b for b in waiting(self.file) if b.device]
        chosen = found[: int(len(found) * part)]
        self.settled |= {key for b in chosen for key in self.keys(b)}
        self.learn(confirm(self.file, chosen))

    @precondition(lambda self: any(b.device for b in waiting(self.file)))
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from([b for b in waiting(self.file) if b.device]))
        self.settled |= self.keys(batch)
        parked, fresh = self.file.park(batch.epoch, batch.number, batch.digest)
        assert parked == batch.id
        self.learn(fresh)

    @rule()
    def refill(self) -> None:
        ids, fresh = self.file.refill(T0, self.now)
        again = self.file.batches(ids)
        self.settled -= {key for b in again if b.device for key in self.keys(b)}
        self.learn(fresh)

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.file.close(clean)
        self.now += 1000
        self.file = self.open()
        self.learn(waiting(self.file))

    @rule(cut=st.floats(0, 1), samples=st.sampled_from([1, 300]))
    def torn(self, cut: float, samples: int) -> None:
        """The power goes while a commit is being written: any part of its bytes may be on the disk."""
        names = [self.path, self.path.with_name("o.db-wal")]
        before = [p.read_bytes() if p.exists() else b"" for p in names]
        stamps = range(self.now + 1, self.now + 1 + samples)
        self.now += samples
        made = commit_at(self.file, stamps)
        after = [p.read_bytes() if p.exists() else b"" for p in names]
        keys = {(s.name, s.ts_ms) for ts_ms in stamps for s in block(ts_ms).samples()}
        took = any(b.device and not b.thinned for b in made)
        self.file.close(clean=False)
        for p in self.folder.iterdir():
            p.unlink()
        if before[0] != after[0]:  # it came as far as a checkpoint, which follows the sync of the whole commit
            survived, files = True, after
        else:
            at = int(len(after[1]) * cut)
            survived, files = at == len(after[1]), [after[0], after[1][:at] + before[1][at:]]
        for p, data in zip(names, files, strict=True):
            p.write_bytes(data)
        self.now += 1000
        self.file = self.open()
        there = {key for b in waiting(self.file) if b.device for key in self.keys(b)}
        whole = keys <= there
        assert whole or not keys & there or self.when_full == "thin_oldest", "all or nothing"
        assert whole or not (survived and took)
        counted = sum(c["produced"] for c in self.file.totals().values())
        if counted > sum(self.produced.values()):
            assert took
            self.produced.update(keys)
        elif not took:
            self.refused = sum(c["refused"] for c in self.file.totals().values())
        self.learn(waiting(self.file))

    @invariant()
    def the_disk_holds_no_more_than_was_given(self) -> None:
        assert self.file.pending()[1] <= LIMIT  # with its WAL, at sizes that a site.yaml can give: test_outbox_full

    @invariant()
    def every_sample_is_in_one_place(self) -> None:
        there: Counter[Key] = Counter()
        for batch in waiting(self.file):
            if batch.device:
                there.update(self.keys(batch))
        assert set(there.values()) <= {1}, "no sample waits twice"
        assert there.keys() <= self.produced.keys(), "nothing is made up"
        totals = self.file.totals().get("pump", Counter())
        assert totals["produced"] == sum(self.produced.values())
        assert totals["refused"] == self.refused
        assert totals["in_flight"] == len(there)
        assert totals["produced"] == totals["in_flight"] + totals["confirmed"] + totals["parked"] + totals["dropped"]
        gone = self.produced.keys() - there.keys() - self.settled
        assert totals["dropped"] >= len(gone)
        if self.when_full == "refuse_new":
            assert not gone, "what was taken is kept"

    @invariant()
    def what_was_dropped_is_on_record(self) -> None:
        dropped = self.file.totals().get("pump", Counter())["dropped"]
        assert self.lost["drop"] + self.lost["thin"] == dropped

    @invariant()
    def every_epoch_balances_by_itself(self) -> None:
        for epoch in self.file.snapshot()["epochs"]:
            for counts in epoch["devices"].values():
                assert min(counts.values()) >= 0


Policies.TestCase.settings = settings(max_examples=4, stateful_step_count=12, deadline=None)
TestPolicies = Policies.TestCase
