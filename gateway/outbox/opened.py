"""An open outbox file of one epoch: begins, is renewed after damage, writes in transactions, makes room.

A batch is handed out only after its COMMIT. A number is never used twice in an epoch.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.config.convert import WhenFull
from gateway.outbox import ledger, policy, start
from gateway.outbox.aside import Aside, set_aside, take_over
from gateway.outbox.database import (
    GARBLED,
    Damaged,
    connect,
    damaged,
    file_bytes,
    shrink,
    transaction,
    used_bytes,
    wal_bytes,
)
from gateway.outbox.encoding import BlockEncoder, Encoded, encode_batch, record_samples
from gateway.outbox.records import (
    due_refusals,
    thin_records,
)
from gateway.outbox.rows import NUMBERS, Batch, JsonObject
from gateway.outbox.thin import CHUNK_BYTES, Thinner
from gateway.outbox.unstamped import Unstamped
from wire.errors import StoreFull
from wire.ids import NodeId
from wire.tag import Tag

log = logging.getLogger(__name__)
T = TypeVar("T")

# What a start stumbles over in a file that SQLite reads without complaint, and would again at every next start.
_NONSENSE = (*GARBLED, sqlite3.IntegrityError, ValueError, TypeError, LookupError)


class OpenFile:
    """The life of one outbox file. All methods in one thread."""

    def __init__(
        self,
        path: Path,
        node: NodeId,
        max_bytes: int,
        hosts: frozenset[str],
        clock: Callable[[], int],
        when_full: WhenFull = "drop_oldest",
    ) -> None:
        self._path, self._node, self._hosts, self._clock = path, node, hosts, clock
        self._max_bytes, self._limit, self._when_full = max_bytes, max_bytes - wal_bytes(max_bytes), when_full
        self._thinner = Thinner(node)
        self._db: sqlite3.Connection | None = None
        self._aside: Aside | None = None
        self._opened = self._refusing = False
        self._epoch_id = self._number = self._used = 0
        self._fresh: list[Batch] = []
        self._gap: start.Gap | None = None
        self.epoch = ""
        self.aliases: dict[str, dict[str, int]] = {}
        self._registered: dict[str, dict[str, int]] = {}
        self._tags: Mapping[str, Sequence[Tag]] = {}
        self._encoder = BlockEncoder()
        self.time_known = True  # without a time nobody can say how long a gap was
        self.unstamped: Unstamped  # from open on
        self._lines: Sequence[str] = ()

    @property
    def db(self) -> sqlite3.Connection:
        if self._db is None and self._opened:
            raise Damaged("the outbox was set aside and no new one could be made yet")
        if self._db is None:
            raise RuntimeError("the outbox is not open")
        return self._db

    @property
    def sound(self) -> bool:
        """False when the file's pages contradict each other: then what went wrong was no mistake of ours."""
        try:
            return bool(self.db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return False

    def open(self, tags: Mapping[str, Sequence[Tag]], lines: Sequence[str]) -> None:
        """Begins a new epoch. A damaged file is set aside. Raises StoreFull when the disk refuses, ConfigError."""
        self._tags, self._lines = tags, lines
        try:
            try:
                self._begin(None)
            except Damaged as fault:
                self._begin_anew(self._set_aside(str(fault), running=False))
        except StoreFull as fault:
            raise StoreFull(
                f"{fault}: make room on the disk of {self._path}, or make it writable; nothing is measured until then"
            ) from fault
        self._opened = True

    def renew(self, why: str) -> tuple[Batch, ...]:
        """The file turned out to be damaged: it is set aside, a new one with a new epoch begins; its first batches.

        Aliases stay, and ids go on above the old ones: a running session notices nothing. Raises StoreFull.
        """
        above = self._epoch_id
        if self._db is not None:
            self._db.close()
            self._db = None
        # Kept until a new file stands: the disk may refuse that now, and the next call tries again.
        if self._aside is None and self._path.exists():
            self._aside = self._set_aside(why, running=True)
        self._number = 0
        self._thinner.forget()
        self._begin_anew(self._aside, above)
        self._aside = None
        return tuple(self._fresh)

    def _set_aside(self, why: str, running: bool) -> Aside:
        try:
            return set_aside(self._path, why, running)
        except OSError as fault:
            raise StoreFull(f"the damaged outbox {self._path} cannot be set aside: {fault.strerror}") from fault

    def _begin_anew(self, aside: Aside | None, above: int = 0) -> None:
        try:
            self._begin(aside, above)
        except Damaged as fault:
            if aside is None:
                raise
            log.error("nothing of the damaged outbox could be taken over", extra={"error": str(fault)})
            self._begin(aside.empty(), above)

    def _begin(self, aside: Aside | None, above: int = 0) -> None:
        wal_is_missing = start.wal_is_missing(self._path)
        self._db = connect(self._path, self._max_bytes)
        try:
            self._used = used_bytes(self.db)
            self.unstamped = Unstamped(self.db, self._max_bytes // 2)
            self._write(lambda: self._first_words(aside, above, wal_is_missing))
            if file_bytes(self.db) > self._max_bytes:
                self._shrink()
        except BaseException as fault:
            self._db.close()
            self._db = None
            if isinstance(fault, _NONSENSE) or (isinstance(fault, sqlite3.DatabaseError) and damaged(fault)):
                raise Damaged(f"{type(fault).__name__}: {fault}") from fault
            raise

    def _shrink(self) -> None:
        """max_mb was lowered: what was freed goes back to the disk, if it has the room to do so."""
        try:
            shrink(self.db)
        except sqlite3.OperationalError as fault:
            log.warning("outbox stays larger than max_mb for now", extra={"error": str(fault)})

    def _first_words(self, aside: Aside | None, above: int, wal_is_missing: bool) -> None:
        now = self._clock()
        if aside is not None:
            rows = start.alias_rows(self.aliases, self._tags)
            take_over(self.db, aside, self._node, wal_bytes(self._max_bytes) // 2, rows)
            self.unstamped.reload()
            above = max(above, aside.last_epoch[0])
        start.check_ids(self.db)
        self._epoch_id, self.epoch = start.new_epoch(self.db, now, above)
        self.aliases = start.register_aliases(self.db, self._tags)
        lost = aside.last_epoch[1] if aside is not None and not aside.running else None
        self._gap = start.open_gap(self.db, self._epoch_id, self.epoch, self._lines, now, lost)
        records = start.unrecorded_gaps(self.db, self._epoch_id) + ledger.settle(self.db, self._epoch_id)
        records += due_refusals(self.db, self.epoch, now + 1)
        if aside is not None:
            records.append(aside.record())
        if wal_is_missing:
            log.error("the outbox' WAL is missing: what stood in it is lost", extra={"file": str(self._path)})
            records.append({"kind": "outbox_wal_missing", "file": self._path.name, "epoch": self.epoch})
        self._record(records)

    def register(self, tags: Mapping[str, Sequence[Tag]]) -> tuple[None, tuple[Batch, ...]]:
        """Other tags from now on. Nothing of the old ones may be committed after this. Raises StoreFull."""

        def apply() -> None:
            aliases = start.register_aliases(self.db, tags)
            self._registered = aliases

        done = self._write(apply)
        self.aliases, self._tags = self._registered, tags
        self._thinner.forget()
        return done

    def close(self, clean: bool) -> None:
        """clean: a stop on purpose, so that the next start does not call it a kill."""
        self._opened = False
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
                if self.unstamped.stale:
                    self.unstamped.reload()
                result = action()
                self._make_room()
                if self._number != kept[0]:
                    self.db.execute("UPDATE epoch SET number = ? WHERE id = ?", (self._number, self._epoch_id))
            self._used = used_bytes(self.db)
        except BaseException:
            self._number, self._used = kept
            self.unstamped.stale = True
            raise
        return result, tuple(self._fresh)

    def _make_room(self) -> None:
        """Within the open transaction: once the limit is passed, a part of the space is freed as the policy says."""
        if used_bytes(self.db) <= self._limit:
            return
        target = self._limit - self._limit // policy.CHUNK
        policy.drop_confirmed(self.db, target)
        if self._when_full == "refuse_new" or used_bytes(self.db) <= self._limit:
            return
        if self._when_full == "thin_oldest":
            target = self._limit - min(self._limit // policy.CHUNK, CHUNK_BYTES)
            told, made = self._thinner.thin(self.db, target, (self._epoch_id, self.epoch), self._number)
            for encoded in made:
                self._insert(encoded, thinned=True)
            self._record(thin_records(told, self.epoch))
            if used_bytes(self.db) <= self._limit:
                return
        self._record(policy.drop_oldest(self.db, target))

    def _record(self, records: Sequence[JsonObject]) -> None:
        if records:
            samples = record_samples(records, self._clock())
            self._insert(encode_batch(self._node, self.epoch, self._number + 1, "", samples, self.aliases[""]))

    def _insert(self, made: Encoded, thinned: bool = False) -> None:
        self._number = made.number
        i = self._epoch_id * NUMBERS + made.number
        digest = bytes.fromhex(made.digest)
        self.db.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (i, made.device, made.samples, made.first_ms, made.last_ms, self._clock(), digest, made.body),
        )
        self.db.execute("INSERT INTO unconfirmed VALUES (?, ?, ?, ?)", (i, made.device, made.samples, len(made.body)))
        batch = Batch(i, self.epoch, made.device, made.samples, made.last_ms, made.digest, made.body, thinned)
        self._fresh.append(batch)
