"""Samples whose time is not known yet: durable with boot and ms since boot, made batches as soon as it is.

A queue: what was taken first is stamped first, so that the stamps of a tag rise and the order of batches is that of
taking. While anything waits, newer samples wait behind it, also when the time is known by then.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gateway.outbox import boots
from gateway.outbox.bodies import read_body, read_names
from gateway.outbox.encoding import Encoded
from gateway.outbox.ledger import count
from gateway.outbox.rows import ROW_OVERHEAD, JsonObject, Window
from gateway.time_news import Known
from gateway.timekeeper import STEP_MS
from wire.block import Quality, Reason, Sample
from wire.errors import PayloadError
from wire.tag import Datatype

log = logging.getLogger(__name__)

DRAIN_SAMPLES = 20_000
"""So many are stamped in one commit: about 0.4 s of a core; 20 times faster than 1,000 samples/s come in."""


class Stamped(NamedTuple):
    """Samples of one device that have their stamps now. aliases: of their names, as they were when they were taken."""

    device: str
    samples: list[Sample]
    aliases: dict[str, int]


class Unstamped:
    """The queue of one open outbox. Everything inside the transaction of its caller; reload after one that failed."""

    def __init__(self, db: sqlite3.Connection, limit: int) -> None:
        """limit: bytes that may wait; beyond it the oldest go, counted as refused."""
        self._db, self._limit = db, limit
        self.rows = self.bytes = 0
        self.stale = False  # a transaction has failed: what is counted here is looked up before the next
        self.reload()

    def reload(self) -> None:
        self.stale = False
        self.rows, bodies = self._db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM unstamped"
        ).fetchone()  # fmt: skip
        self.bytes = bodies + self.rows * ROW_OVERHEAD

    def take(self, epoch_id: int, window: Window, made: Iterable[Encoded]) -> list[JsonObject]:
        """What a window brought: samples, what found no room in memory, what is known now. Records come back."""
        records: list[JsonObject] = []
        for word in window.clock:
            records += boots.learn(self._db, word) if isinstance(word, Known) else [boots.stepped(self._db, word)]
        if window.boot_id:
            self.keep(epoch_id, window.boot_id, made)
            boot = boots.number(self._db, window.boot_id)
            for device, (refused, first_ms, last_ms) in window.unstamped_refused.items():
                boots.refuse(self._db, boot, device, refused, first_ms, last_ms)
                count(self._db, epoch_id, device, "refused", refused)
        return records

    def keep(self, epoch_id: int, boot_id: str, made: Iterable[Encoded]) -> None:
        """At the end of the queue. made: batches whose stamps are ms since boot."""
        boot = boots.number(self._db, boot_id)
        for one in made:
            self._db.execute(
                "INSERT INTO unstamped(boot, device, samples, first_ms, last_ms, body) VALUES (?, ?, ?, ?, ?, ?)",
                (boot, one.device, one.samples, one.first_ms, one.last_ms, one.body),
            )
            self.rows += 1
            self.bytes += len(one.body) + ROW_OVERHEAD
        if self.bytes > self._limit:
            self._make_room(epoch_id)

    def _make_room(self, epoch_id: int) -> None:
        while self.bytes > self._limit - self._limit // 20:
            i, boot, device, samples, first_ms, last_ms, size = self._db.execute(
                "SELECT id, boot, device, samples, first_ms, last_ms, length(body) FROM unstamped ORDER BY id LIMIT 1"
            ).fetchone()
            boots.refuse(self._db, boot, device, samples, first_ms, last_ms)
            count(self._db, epoch_id, device, "refused", samples)
            self._remove(i, size)

    def _remove(self, i: int, size: int) -> None:
        self._db.execute("DELETE FROM unstamped WHERE id = ?", (i,))
        self.rows -= 1
        self.bytes -= size + ROW_OVERHEAD

    def stamped(self, epoch_id: int, at_most: int = DRAIN_SAMPLES) -> Iterator[Stamped]:
        """Takes from the front what has a time, about at_most samples. The caller commits each before the next."""
        named: dict[str, dict[int, tuple[str, Datatype]]] = {}
        taken = 0
        while self.rows and taken < at_most:
            i, boot, device, count_of, first_ms, last_ms, body, offset_ms, certain = self._db.execute(
                "SELECT u.id, u.boot, device, u.samples, first_ms, last_ms, body, offset_ms, certain FROM unstamped u"
                " JOIN boot ON boot.id = u.boot ORDER BY u.id LIMIT 1"
            ).fetchone()
            if offset_ms is None:
                return
            if device not in named:
                named[device] = self._names(device)
            self._remove(i, len(body))
            try:
                samples, aliases, _ = read_body(body, named[device])
            except PayloadError as fault:
                log.error("a row without a time is damaged and is refused", extra={"error": str(fault)[:200]})
                boots.refuse(self._db, boot, device, count_of, first_ms, last_ms)
                count(self._db, epoch_id, device, "refused", count_of)
                continue
            taken += len(samples)
            yield Stamped(device, rising(samples, offset_ms, self._floor(device), bool(certain)), aliases)

    def _names(self, device: str) -> dict[int, tuple[str, Datatype]]:
        rows = self._db.execute("SELECT alias, tag, datatype FROM alias WHERE device = ?", (device,))
        return read_names(rows)

    def _floor(self, device: str) -> int:
        row = self._db.execute("SELECT ts_ms FROM high_water WHERE device = ?", (device,)).fetchone()
        return -1 if row is None else int(row[0])


def rising(samples: Sequence[Sample], offset_ms: int, floor_ms: int, certain: bool) -> list[Sample]:
    """Stamps in ms since boot as UTC, in the same order and above the floor; UNCERTAIN where they cannot be right."""
    stamps: dict[int, tuple[int, bool]] = {}
    newest = floor_ms
    for ms in sorted({s.ts_ms for s in samples}):
        newest = max(ms + offset_ms, newest + 1)
        stamps[ms] = (newest, certain and newest - ms - offset_ms <= STEP_MS)
    return [_at(s, *stamps[s.ts_ms]) for s in samples]


def _at(sample: Sample, ts_ms: int, right: bool) -> Sample:
    if right or sample.quality is not Quality.GOOD:
        return sample._replace(ts_ms=ts_ms)
    return sample._replace(ts_ms=ts_ms, quality=Quality.UNCERTAIN, reason=Reason.CLOCK_UNKNOWN)
