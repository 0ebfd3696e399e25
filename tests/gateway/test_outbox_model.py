"""The outbox file against a plain list under random operations, restarts and kills included."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.outbox.file import OutboxFile
from gateway.outbox.pending import Pending
from gateway.outbox.rows import Batch
from tests.gateway.field import FAN, LINES, TAGS, block, taken
from wire.delivery import Confirmation, ConfirmedRange, confirmed_ranges
from wire.ids import NodeId


@dataclass
class Row:
    batch: Batch
    state: str  # 'waits', 'confirmed', 'parked'
    first_ms: int


class OutboxModel(RuleBasedStateMachine):
    """Every batch that was ever handed out, in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_000_000
        self.rows: list[Row] = []
        self.produced: dict[str, int] = {}
        self.suppressed = 0
        self.previous_number = 0

    def teardown(self) -> None:
        self.file.close(clean=False)
        self.folder.cleanup()

    def clock(self) -> int:
        return self.now

    def opened(self) -> OutboxFile:
        path = Path(self.folder.name) / "outbox.db"
        file = OutboxFile(path, NodeId("plant", "gw"), 50_000_000, frozenset({"gaugeline"}), self.clock)
        file.open(TAGS, LINES)
        return file

    def learn(self, batches: tuple[Batch, ...] | list[Batch]) -> None:
        """Takes new node batches (records) into the model as well."""
        known = {row.batch.id for row in self.rows}
        for batch in batches:
            assert batch.id not in known
            self.rows.append(Row(batch, "waits", batch.last_ms))

    @initialize()
    def begin(self) -> None:
        self.file = self.opened()

    @rule(pumps=st.integers(0, 3), fans=st.integers(0, 2), held=st.integers(0, 5))
    def append(self, pumps: int, fans: int, held: int) -> None:
        pending = Pending()
        for _ in range(pumps):
            self.now += 7
            pending.add(taken(block(self.now)))
        for _ in range(fans):
            self.now += 3
            pending.add(taken(block(self.now, FAN)))
        pending.add(taken(suppressed={"pump": held}, at=self.now))
        first = self.now - 7 * pumps - 3 * fans
        _, fresh = self.file.commit(pending.take())
        self.learn(fresh)
        for row in self.rows:
            if row.batch in fresh and row.batch.device:
                row.first_ms = first
        self.suppressed += held
        for device, count in (("pump", 2 * pumps), ("fan", fans)):
            self.produced[device] = self.produced.get(device, 0) + count
        assert sum(b.samples for b in fresh if b.device) == 2 * pumps + fans

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        same = [r for r in self.rows if r.batch.epoch == row.batch.epoch]
        chosen = data.draw(st.sets(st.sampled_from([r.batch.number for r in same]), min_size=1))
        digests = {r.batch.number: r.batch.digest for r in same if r.batch.number in chosen}
        done, fresh = self.file.confirm(Confirmation("gaugeline", row.batch.epoch, confirmed_ranges(digests)))
        expected = [r for r in same if r.batch.number in chosen and r.state == "waits"]
        assert set(done.ids) == {r.batch.id for r in expected}
        assert (done.known, done.refused) == (len(chosen) - len(expected), 0)
        for r in expected:
            r.state = "confirmed"
        self.learn(fresh)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def forge(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(self.rows)).batch
        lies = [
            Confirmation("gaugeline", batch.epoch, (ConfirmedRange(batch.number, batch.number, "00" * 16),)),
            Confirmation("gaugeline", "elsewhere", confirmed_ranges({batch.number: batch.digest})),
            Confirmation("gaugeline", batch.epoch, (ConfirmedRange(0, 2**33, batch.digest),)),
            Confirmation("gaugeline", batch.epoch, (ConfirmedRange(batch.number, batch.number + 500, batch.digest),)),
        ]
        done, fresh = self.file.confirm(data.draw(st.sampled_from(lies)))
        assert (done.ids, done.refused, fresh) == ((), 1, ())

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), lie=st.booleans())
    def park(self, data: st.DataObject, lie: bool) -> None:
        row = data.draw(st.sampled_from(self.rows))
        parked, fresh = self.file.park(row.batch.epoch, row.batch.number, "11" * 16 if lie else row.batch.digest)
        if lie or row.state != "waits":
            assert parked is None
        else:
            assert parked == row.batch.id
            row.state = "parked"
        self.learn(fresh)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def refill(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        ids, fresh = self.file.refill(row.batch.last_ms, row.batch.last_ms)
        expected = {
            r.batch.id
            for r in self.rows
            if r.state == "confirmed" and r.first_ms <= row.batch.last_ms <= r.batch.last_ms
        }
        # first_ms of the model is a lower bound: the file may know better and refill less.
        assert set(ids) <= expected
        assert row.state != "confirmed" or row.batch.id in ids
        for r in self.rows:
            if r.batch.id in ids:
                r.state = "waits"
        self.learn(fresh)

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        epoch = self.file.epoch
        self.file.close(clean)
        self.now += 1000
        self.file = self.opened()
        assert self.file.epoch != epoch
        # What open itself wrote (records of the starts before) is new to the model.
        known = {row.batch.id for row in self.rows}
        self.learn([b for b in self.file.unconfirmed(0, 2**62, 10_000, 10**9) if b.id not in known])

    @invariant()
    def every_waiting_batch_is_there_byte_for_byte_in_order(self) -> None:
        waiting = [row.batch for row in sorted(self.rows, key=lambda r: r.batch.id) if row.state == "waits"]
        assert self.file.unconfirmed(0, 2**62, 10_000, 10**9) == waiting
        assert self.file.batches([row.batch.id for row in self.rows]) == [
            row.batch for row in self.rows if row.state == "waits"
        ]

    @invariant()
    def counters_balance(self) -> None:
        totals = self.file.totals()
        for device, produced in self.produced.items():
            if device not in totals:
                assert produced == 0
                continue
            found = totals[device]
            by_state = {
                state: sum(r.batch.samples for r in self.rows if r.batch.device == device and r.state == state)
                for state in ("waits", "confirmed", "parked")
            }
            assert found["produced"] == produced
            assert (found["in_flight"], found["confirmed"], found["parked"]) == tuple(by_state.values())
            assert produced == found["in_flight"] + found["confirmed"] + found["parked"] + found["dropped"]
        assert sum(f["suppressed"] for f in totals.values()) == self.suppressed

    @invariant()
    def the_published_counters_tell_the_same(self) -> None:
        epochs = self.file.snapshot()["epochs"]
        waiting = {(r.batch.epoch, r.batch.number) for r in self.rows if r.state == "waits"}
        listed = {(e["epoch"], n) for e in epochs for a, b in e["unconfirmed"] for n in range(a, b + 1)}
        assert listed == waiting
        assert epochs[-1]["epoch"] == self.file.epoch
        for e in epochs:
            numbers = [r.batch.number for r in self.rows if r.batch.epoch == e["epoch"]]
            assert e["number"] == max(numbers, default=0)
            # No number is missing and none was given twice.
            assert sorted(numbers) == list(range(1, e["number"] + 1))


OutboxModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestOutboxModel = OutboxModel.TestCase
