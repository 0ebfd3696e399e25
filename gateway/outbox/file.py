"""The outbox file: appends, confirms, counts. Synchronous; store gives it a thread of its own.

Invariants: one transaction holds a window's batches, its counters, the high-water marks and the poll stamps of
its lines. A batch is handed out only after its COMMIT. A number is never used twice in an epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.outbox import boots, ledger, policy, queries, start
from gateway.outbox.database import transaction
from gateway.outbox.encoding import Encoded, device_runs, encode_batch
from gateway.outbox.opened import OpenFile
from gateway.outbox.records import (
    REFUSAL_EVERY_MS,
    due_refusals,
    remember_refusals,
)
from gateway.outbox.rows import NUMBERS, AliasRow, Batch, Confirmed, GapLine, JsonObject, Window
from gateway.outbox.weed import weed
from gateway.time_news import Known, Step
from wire.block import Block
from wire.delivery import Confirmation
from wire.edge_session import next_bd_seq


class OutboxFile(OpenFile):
    """What is done with an open outbox of one process start. All methods in one thread."""

    def commit(self, window: Window) -> tuple[None, tuple[Batch, ...]]:
        """Makes a window durable. Raises StoreFull; nothing of the window is kept then."""
        return self._write(lambda: self._commit(window))

    def _commit(self, window: Window) -> None:
        now = self._clock()
        if self._when_full == "refuse_new" and self._refuses():
            self._refuse(window, now)
            window = window.without_blocks()
        else:
            self._record(due_refusals(self.db, self.epoch, now + 1))
        if window.timeless or self.unstamped.rows:
            self._commit_unstamped(window)
        for encoded in self._encoded(window.blocks):
            self._produce(encoded)
        for device, samples_held in window.suppressed.items():
            ledger.count(self.db, self._epoch_id, device, "suppressed", samples_held)
        for device, refused in window.refused.items():
            ledger.count(self.db, self._epoch_id, device, "refused", refused)
        self._record(window.refusals(self.epoch))
        self.db.executemany(
            "INSERT INTO line_poll(line, polled_ms) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET polled_ms = excluded.polled_ms",
            window.last_poll.items(),
        )
        for word in window.clock:
            if isinstance(word, Step):
                boots.begin_anew(self.db, word)  # once more: the window began with stamps of before
        self._advance_gap(window.first_poll)

    def _refuses(self) -> bool:
        """True from the moment when the space is taken until a part of it is free again."""
        self._refusing = self._used > self._limit - (self._limit // policy.CHUNK if self._refusing else 0)
        return self._refusing

    def _refuse(self, window: Window, now: int) -> None:
        refused: dict[str, tuple[int, int, int]] = {}
        for block in window.blocks:
            first, last, samples = refused.get(block.device, (block.ts_ms, block.ts_ms, 0))
            found = (min(first, block.ts_ms), max(last, block.ts_ms), samples + len(block.tags))
            refused[block.device] = found
        for device, (_, _, samples) in refused.items():
            ledger.count(self.db, self._epoch_id, device, "refused", samples)
        remember_refusals(self.db, refused, now)
        self._record(due_refusals(self.db, self.epoch, now - REFUSAL_EVERY_MS))

    def _encoded(self, blocks: Sequence[Block]) -> Iterator[Encoded]:
        for device, run in device_runs(blocks):
            yield self._encoder.batch(self._node, self.epoch, self._number + 1, device, run, self.aliases[device])

    def _produce(self, encoded: Encoded) -> None:
        self._insert(encoded)
        ledger.count(self.db, self._epoch_id, encoded.device, "produced", encoded.samples)
        self.db.execute(
            "INSERT INTO high_water(device, ts_ms) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET ts_ms = max(ts_ms, excluded.ts_ms)",
            (encoded.device, encoded.last_ms),
        )

    def _commit_unstamped(self, window: Window) -> None:
        """Samples without a time are kept; what has one by now becomes batches. Only then are they produced."""
        self._record(self.unstamped.take(self._epoch_id, window, self._encoded(window.unstamped)))
        self.time_known = self.time_known or bool(window.clock)
        for device, samples, aliases in self.unstamped.stamped(self._epoch_id):
            self._produce(encode_batch(self._node, self.epoch, self._number + 1, device, samples, aliases))

    def _advance_gap(self, first_poll: Mapping[str, int]) -> None:
        gap = self._gap
        if gap is None:
            return
        if gap.poll(first_poll):
            self.db.execute("UPDATE gap SET lines = ? WHERE epoch_id = ?", (gap.lines_json(), self._epoch_id))
        if self.time_known and gap.complete(self._clock()):
            record = start.gap_record(gap.epoch, gap.previous, gap.reason, gap.lines_json())
            if boots_between := boots.placed_between(self.db, *gap.span(self._clock())):
                record["boots"] = boots_between
            self._record([record])
            self.db.execute("UPDATE gap SET recorded = 1 WHERE epoch_id = ?", (self._epoch_id,))
            self._gap = None

    def gap_due(self) -> bool:
        """True when the gap record must be written even if no line was polled."""
        return self._gap is not None and self.time_known and self._gap.complete(self._clock())

    def confirm(self, confirmation: Confirmation) -> tuple[Confirmed, tuple[Batch, ...]]:
        """Applies a confirmation of a required host; closing records of epochs that are settled now come out."""

        def apply() -> Confirmed:
            epoch = ledger.epoch_id(self.db, confirmation.epoch)
            if epoch is None:
                return Confirmed((), 0, len(confirmation.ranges))
            ids, refused = ledger.believed(self.db, epoch, confirmation)
            closed = ledger.confirm(self.db, ids, confirmation.host, self._hosts)
            self._record(ledger.settle(self.db, self._epoch_id))
            return Confirmed(tuple(closed), len(ids) - len(closed), refused)

        return self._write(apply)

    def delivered(self, ids: Sequence[int]) -> tuple[None, tuple[Batch, ...]]:
        """Batches for a host that never confirms, gone out long enough ago."""

        def apply() -> None:
            ledger.close_batches(self.db, ids, "confirmed")
            self._record(ledger.settle(self.db, self._epoch_id))

        return self._write(apply)

    def park(self, epoch: str, number: int, digest: str) -> tuple[int | None, tuple[Batch, ...]]:
        """The id of the batch that was parked; None when there is no such unconfirmed batch with this digest."""

        def apply() -> int | None:
            of = ledger.epoch_id(self.db, epoch)
            if of is None or not ledger.park(self.db, of * NUMBERS + number, digest):
                return None
            self._record(ledger.settle(self.db, self._epoch_id))
            return of * NUMBERS + number

        return self._write(apply)

    def weed(self, ids: Sequence[int]) -> tuple[list[int], tuple[Batch, ...]]:
        """Drops those that the disk has changed, with a record; their ids."""

        def apply() -> list[int]:
            bad, records = weed(self.db, self._node, ids)
            self._record(records)
            return bad

        return self._write(apply)

    def refill(self, from_ms: int, to_ms: int) -> tuple[list[int], tuple[Batch, ...]]:
        """Ids of confirmed batches that are sent again."""
        return self._write(lambda: ledger.refill(self.db, from_ms, to_ms))

    def forget_old(self) -> tuple[None, tuple[Batch, ...]]:
        return self._write(lambda: policy.forget_old(self.db, self._clock()))

    def unconfirmed(self, after: int, upto: int, limit: int, max_bytes: int) -> list[Batch]:
        return queries.unconfirmed(self.db, after, upto, limit, max_bytes)

    def batches(self, ids: Iterable[int]) -> list[Batch]:
        return queries.batches(self.db, ids)

    def last_id(self) -> int:
        return self._epoch_id * NUMBERS + self._number

    def next_bd_seq(self) -> int:
        """The bdSeq of the next CONNECT, durable before it is used."""
        row = self.db.execute("SELECT value FROM setting WHERE key = 'bd_seq'").fetchone()
        value = next_bd_seq(int(row[0]) if row is not None and str(row[0]).isdecimal() else None)
        with transaction(self.db):
            self.db.execute("INSERT OR REPLACE INTO setting VALUES ('bd_seq', ?)", (str(value),))
        return value

    def high_water(self) -> dict[str, int]:
        return queries.high_water(self.db)

    def retired(self) -> list[AliasRow]:
        current = {alias for of_device in self.aliases.values() for alias in of_device.values()}
        return start.retired_aliases(self.db, current)

    def waiting_devices(self) -> frozenset[str]:
        return queries.waiting_devices(self.db)

    def snapshot(self) -> JsonObject:
        return ledger.snapshot(self.db)

    def totals(self) -> dict[str, dict[str, int]]:
        return ledger.totals(self.db)

    def gaps(self) -> list[GapLine]:
        return start.read_gaps(self.db)

    def pending(self) -> tuple[int, int]:
        """(unconfirmed batches, bytes of the file that hold something)."""
        (count,) = self.db.execute("SELECT count(*) FROM unconfirmed").fetchone()
        return int(count), self._used

    def anchor(self, boot_id: str) -> tuple[int, Known | None]:
        """(newest stamp of all, 0 for none; what was known of this boot's time)."""
        return boots.newest_known(self.db) or 0, boots.anchor(self.db, boot_id)

    def record(self, record: JsonObject) -> tuple[None, tuple[Batch, ...]]:
        return self._write(lambda: self._record([record]))

    def clock(self) -> JsonObject:
        return boots.listed(self.db)
