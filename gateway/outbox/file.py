"""The outbox file: appends, confirms, counts. Synchronous; store gives it a thread of its own.

Invariants: one transaction holds a window's batches, its counters, the high-water marks and the poll stamps of
its lines. A batch is handed out only after its COMMIT. A number is never used twice in an epoch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.outbox import boots, ledger, policy, start
from gateway.outbox.database import connect, transaction
from gateway.outbox.encoding import BlockEncoder, Encoded, device_runs, encode_batch, record_samples
from gateway.outbox.rows import NUMBERS, ROW_OVERHEAD, AliasRow, Batch, Confirmed, GapLine, JsonObject, Window
from gateway.outbox.unstamped import Unstamped
from gateway.timekeeper import Known
from wire.block import Block
from wire.delivery import Confirmation
from wire.edge_session import next_bd_seq
from wire.ids import NodeId
from wire.tag import Tag

T = TypeVar("T")
_SELECT = (
    "SELECT b.id, e.epoch, b.device, b.samples, b.last_ms, b.digest, b.body FROM unconfirmed u"
    " JOIN batch b ON b.id = u.id JOIN epoch e ON e.id = b.id / 4294967296"
)


class OutboxFile:
    """One open outbox of one process start. All methods in one thread."""

    def __init__(self, path: Path, node: NodeId, max_bytes: int, hosts: frozenset[str], clock: Callable[[], int]):
        self._path, self._node, self._limit, self._hosts, self._clock = path, node, max_bytes, hosts, clock
        self._db: sqlite3.Connection | None = None
        self._epoch_id = self._number = self._used = 0
        self._fresh: list[Batch] = []
        self._gap: start.Gap | None = None
        self.time_known = True  # without a time nobody can say how long a gap was
        self.epoch = ""
        self.aliases: dict[str, dict[str, int]] = {}
        self._registered: dict[str, dict[str, int]] = {}
        self._encoder = BlockEncoder()
        self.unstamped: Unstamped  # from open on

    @property
    def db(self) -> sqlite3.Connection:
        if self._db is None:
            raise RuntimeError("the outbox is not open")
        return self._db

    def open(self, tags: Mapping[str, Sequence[Tag]], lines: Sequence[str]) -> None:
        """Begins a new epoch. Raises StoreFull when the disk refuses, ConfigError for a newer file."""
        self._db = connect(self._path)
        self._used = policy.used_bytes(self.db)
        self.unstamped = Unstamped(self.db, self._limit // 2)
        try:
            self._write(lambda: self._begin(tags, lines))
        except BaseException:
            self.db.close()
            self._db = None
            raise

    def _begin(self, tags: Mapping[str, Sequence[Tag]], lines: Sequence[str]) -> None:
        now = self._clock()
        self._epoch_id, self.epoch = start.new_epoch(self.db, now)
        self.aliases = start.register_aliases(self.db, tags)
        self._gap = start.open_gap(self.db, self._epoch_id, self.epoch, lines, now)
        self._record(start.unrecorded_gaps(self.db, self._epoch_id) + ledger.settle(self.db, self._epoch_id))

    def register(self, tags: Mapping[str, Sequence[Tag]]) -> tuple[None, tuple[Batch, ...]]:
        """Other tags from now on. Nothing of the old ones may be committed after this. Raises StoreFull."""

        def apply() -> None:
            aliases = start.register_aliases(self.db, tags)
            self._registered = aliases

        done = self._write(apply)
        self.aliases = self._registered
        return done

    def close(self, clean: bool) -> None:
        """clean: a stop on purpose, so that the next start does not call it a kill."""
        if self._db is None:
            return
        try:
            if clean:
                with transaction(self.db):
                    self.db.execute("UPDATE epoch SET clean = 1 WHERE id = ?", (self._epoch_id,))
        finally:
            self._db.close()
            self._db = None

    def _write(self, action: Callable[[], T]) -> tuple[T, tuple[Batch, ...]]:
        """The action in one transaction; its result and the batches that it made durable."""
        kept = (self._number, self._used)
        self._fresh = []
        try:
            with transaction(self.db):
                result = action()
                self._used, records = self._trim()
                self._record(records)
                if self._number != kept[0]:
                    self.db.execute("UPDATE epoch SET number = ? WHERE id = ?", (self._number, self._epoch_id))
        except BaseException:
            self._number, self._used = kept
            self.unstamped.reload()
            raise
        return result, tuple(self._fresh)

    def _trim(self) -> tuple[int, list[JsonObject]]:
        freed = policy.make_room(self.db, self._used, self._limit - self.unstamped.bytes)
        return self._used - freed.size, freed.records

    def commit(self, window: Window) -> tuple[None, tuple[Batch, ...]]:
        """Makes a window durable. Raises StoreFull; nothing of the window is kept then."""
        return self._write(lambda: self._commit(window))

    def _commit(self, window: Window) -> None:
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
        self._advance_gap(window.first_poll)

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
        for device, samples, aliases in self.unstamped.stamped():
            self._produce(encode_batch(self._node, self.epoch, self._number + 1, device, samples, aliases))

    def _advance_gap(self, first_poll: Mapping[str, int]) -> None:
        gap = self._gap
        if gap is None:
            return
        if gap.poll(first_poll):
            self.db.execute("UPDATE gap SET lines = ? WHERE epoch_id = ?", (gap.lines_json(), self._epoch_id))
        if self.time_known and gap.complete(self._clock()):
            self._record([start.gap_record(gap.epoch, gap.previous, gap.reason, gap.lines_json())])
            self.db.execute("UPDATE gap SET recorded = 1 WHERE epoch_id = ?", (self._epoch_id,))
            self._gap = None

    def gap_due(self) -> bool:
        """True when the gap record must be written even if no line was polled."""
        return self._gap is not None and self.time_known and self._gap.complete(self._clock())

    def _record(self, records: Sequence[JsonObject]) -> None:
        if records:
            samples = record_samples(records, self._clock())
            self._insert(encode_batch(self._node, self.epoch, self._number + 1, "", samples, self.aliases[""]))

    def _insert(self, made: Encoded) -> None:
        self._number = made.number
        i = self._epoch_id * NUMBERS + made.number
        digest = bytes.fromhex(made.digest)
        self.db.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (i, made.device, made.samples, made.first_ms, made.last_ms, self._clock(), digest, made.body),
        )
        size = len(made.body)
        self.db.execute("INSERT INTO unconfirmed VALUES (?, ?, ?, ?)", (i, made.device, made.samples, size))
        self._used += size + ROW_OVERHEAD
        self._fresh.append(Batch(i, self.epoch, made.device, made.samples, made.last_ms, made.digest, made.body))

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

    def park(self, epoch: str, number: int, digest: str) -> tuple[int | None, tuple[Batch, ...]]:
        """The id of the batch that was parked; None when there is no such unconfirmed batch with this digest."""

        def apply() -> int | None:
            of = ledger.epoch_id(self.db, epoch)
            if of is None or not ledger.park(self.db, of * NUMBERS + number, digest):
                return None
            self._record(ledger.settle(self.db, self._epoch_id))
            return of * NUMBERS + number

        return self._write(apply)

    def refill(self, from_ms: int, to_ms: int) -> tuple[list[int], tuple[Batch, ...]]:
        """Ids of confirmed batches that are sent again."""
        return self._write(lambda: ledger.refill(self.db, from_ms, to_ms))

    def forget_old(self) -> tuple[None, tuple[Batch, ...]]:
        def apply() -> None:
            self._used -= policy.forget_old(self.db, self._clock())

        return self._write(apply)

    def unconfirmed(self, after: int, upto: int, limit: int, max_bytes: int) -> list[Batch]:
        """Unconfirmed batches with after < id <= upto, oldest first; at least one if there is one."""
        rows = self.db.execute(f"{_SELECT} WHERE u.id > ? AND u.id <= ? ORDER BY u.id LIMIT ?", (after, upto, limit))
        found: list[Batch] = []
        for row in rows:
            max_bytes -= len(row[6])
            if found and max_bytes < 0:
                break
            found.append(_batch(row))
        return found

    def batches(self, ids: Iterable[int]) -> list[Batch]:
        """Those of the ids that are still unconfirmed."""
        found = []
        for i in ids:
            row = self.db.execute(f"{_SELECT} WHERE u.id = ?", (i,)).fetchone()
            if row is not None:
                found.append(_batch(row))
        return found

    def last_id(self) -> int:
        return self._epoch_id * NUMBERS + self._number

    def next_bd_seq(self) -> int:
        """The bdSeq of the next CONNECT, durable before it is used."""
        row = self.db.execute("SELECT value FROM setting WHERE key = 'bd_seq'").fetchone()
        value = next_bd_seq(None if row is None else int(row[0]))
        with transaction(self.db):
            self.db.execute("INSERT OR REPLACE INTO setting VALUES ('bd_seq', ?)", (str(value),))
        return value

    def high_water(self) -> dict[str, int]:
        """device -> newest stamp that a committed sample of it bears. Kept per device: one row a commit, and every
        tag of it restarts above."""
        return dict(self.db.execute("SELECT device, ts_ms FROM high_water").fetchall())

    def retired(self) -> list[AliasRow]:
        current = {alias for of_device in self.aliases.values() for alias in of_device.values()}
        return start.retired_aliases(self.db, current)

    def waiting_devices(self) -> frozenset[str]:
        """Devices with unconfirmed batches."""
        return frozenset(d for (d,) in self.db.execute("SELECT DISTINCT device FROM unconfirmed WHERE device <> ''"))

    def snapshot(self) -> JsonObject:
        return ledger.snapshot(self.db)

    def totals(self) -> dict[str, dict[str, int]]:
        return ledger.totals(self.db)

    def gaps(self) -> list[GapLine]:
        return start.read_gaps(self.db)

    def pending(self) -> tuple[int, int]:
        """(unconfirmed batches, bytes of all batches kept)."""
        (count,) = self.db.execute("SELECT count(*) FROM unconfirmed").fetchone()
        return int(count), self._used + self.unstamped.bytes

    def anchor(self, boot_id: str) -> tuple[int, Known | None]:
        """(newest stamp of all, 0 for none; what was known of this boot's time)."""
        return boots.newest_known(self.db) or 0, boots.anchor(self.db, boot_id)

    def record(self, record: JsonObject) -> tuple[None, tuple[Batch, ...]]:
        return self._write(lambda: self._record([record]))

    def clock(self) -> JsonObject:
        return boots.listed(self.db)


def _batch(row: tuple[int, str, str, int, int, bytes, bytes]) -> Batch:
    i, epoch, device, samples, last_ms, digest, body = row
    return Batch(i, epoch, device, samples, last_ms, digest.hex(), body)
