"""Thinning: of the oldest unconfirmed batches every second sample of a tag goes: a long outage keeps its course.

Kept whatever else: a tag's first sample, a change of quality, a change of a text or a switch. What is kept of a batch
goes on under a new number and names the batch as it was first made (wire.thinned).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from gateway.outbox.bodies import read_body, read_names
from gateway.outbox.database import used_bytes
from gateway.outbox.encoding import Encoded, encode_batch
from gateway.outbox.ledger import count
from gateway.outbox.policy import delete
from gateway.outbox.records import Thinned
from gateway.outbox.rows import NUMBERS
from wire.block import Quality, Sample, Value
from wire.delivery import BatchTag, parse_batch_tag
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.tag import Datatype
from wire.thinned import REPLACES, replaces_sample

log = logging.getLogger(__name__)

MOST_SAMPLES = 50_000
"""Decoded in one commit, about 0.5 s of the worker thread on a slow board; what is still too much is dropped."""

CHUNK_BYTES = 500_000

_REST_CALLS = 20  # after a walk that found nothing to leave out: looking again at once would cost the same for nothing

_OLDEST = (
    "SELECT b.id, b.device, b.samples, b.first_ms, b.last_ms, b.digest, b.body, e.epoch, t.root FROM unconfirmed u"
    " JOIN batch b ON b.id = u.id JOIN epoch e ON e.id = b.id / 4294967296 LEFT JOIN thinned t ON t.id = b.id"
    " WHERE u.id > ? AND u.id <= ? AND u.device <> '' ORDER BY u.id LIMIT 1"
)


class _Last(NamedTuple):
    quality: Quality
    value: Value | None
    skip_next: bool


class _Old(NamedTuple):
    id: int
    device: str
    samples: int
    first_ms: int
    last_ms: int
    root: BatchTag


class Thinner:
    """One walk over the unconfirmed batches after the other; each walk halves what it meets."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._after = 0  # the walk has come as far as this id
        self._rest = 0  # calls to pass by
        self._last: dict[tuple[str, str], _Last] = {}
        self._names: dict[int, tuple[str, Datatype]] = {}
        self._types: dict[int, Datatype] = {}

    def forget(self) -> None:
        """Another file, or other aliases."""
        self._after = 0
        self._last.clear()
        self._names.clear()

    def thin(
        self, db: sqlite3.Connection, target: int, epoch: tuple[int, str], number: int
    ) -> tuple[list[Thinned], list[Encoded]]:
        """Within a transaction: until target bytes are used, the work is too much or nothing more can go.

        Old rows are gone then and counted; the new batches, numbered from `number` + 1, are for the caller to insert.
        """
        told: list[Thinned] = []
        made: list[Encoded] = []
        if self._rest:
            self._rest -= 1
            return told, made
        upto = epoch[0] * NUMBERS + number
        wrapped = False
        seen = pending = 0
        while used_bytes(db) + pending > target and seen < MOST_SAMPLES:
            row = db.execute(_OLDEST, (self._after, upto)).fetchone()
            if row is None:
                if wrapped:
                    break
                wrapped = True
                self._after = 0
                self._last.clear()
                continue
            self._after = row[0]
            i, device, samples, first_ms, last_ms, digest, body, of_epoch, root = row
            first = parse_batch_tag(root) if root else BatchTag(of_epoch, i % NUMBERS, samples, digest.hex())
            old = _Old(i, device, samples, first_ms, last_ms, first)
            seen += samples
            try:
                found, aliases = self._decoded(db, old, body)
            except PayloadError as fault:
                log.error("a batch of the outbox is damaged and is dropped", extra={"error": str(fault)[:200]})
                found, aliases = [], {}
            kept = [s for s in found if self._keeps(device, s)]
            if found and len(kept) == len(found):
                continue
            new = self._replace(db, old, kept, aliases, epoch, number + len(made) + 1)
            if new is not None:
                made.append(new)
                pending += len(new.body)
            told.append(Thinned(device, first, samples, len(kept), new.number if new else None, first_ms, last_ms))
        self._rest = 0 if told else _REST_CALLS
        return told, made

    def _replace(
        self, db: sqlite3.Connection, old: _Old, kept: list[Sample], aliases: Mapping[str, int],
        epoch: tuple[int, str], number: int,
    ) -> Encoded | None:  # fmt: skip
        """The old one goes. What is kept of it counts as produced in the epoch that its new number belongs to."""
        count(db, old.id // NUMBERS, old.device, "dropped", old.samples - len(kept))
        db.execute("DELETE FROM unconfirmed WHERE id = ?", (old.id,))
        delete(db, [old.id])
        if not kept:
            return None
        if epoch[0] != old.id // NUMBERS:
            count(db, old.id // NUMBERS, old.device, "produced", -len(kept))
            count(db, epoch[0], old.device, "produced", len(kept))
        marker = replaces_sample(old.root, kept[0].ts_ms)
        made = encode_batch(self._node, epoch[1], number, old.device, [marker, *kept], aliases)
        db.execute("INSERT INTO thinned(id, root) VALUES (?, ?)", (epoch[0] * NUMBERS + number, str(old.root)))
        return made._replace(samples=len(kept))

    def _decoded(self, db: sqlite3.Connection, old: _Old, body: bytes) -> tuple[list[Sample], dict[str, int]]:
        """The samples, without marker, and the aliases that the batch uses: a retyped tag keeps its old one.

        Raises PayloadError where the disk has changed it.
        """
        if not self._names:
            self._names = names_of_aliases(db)
            self._types = {alias: datatype for alias, (_, datatype) in self._names.items()}
        read = read_body(body, self._names, self._types)
        if REPLACES not in read.aliases:
            read.aliases[REPLACES] = replaces_alias(db, old.device)
        return [s for s in read.samples if s.name != REPLACES], read.aliases

    def _keeps(self, device: str, s: Sample) -> bool:
        key = (device, s.name)
        last = self._last.get(key)
        same = last is not None and s.quality == last.quality
        if same and last is not None and isinstance(s.value, bool | str):
            same = s.value == last.value
        if same and last is not None and last.skip_next:
            self._last[key] = last._replace(skip_next=False)
            return False
        self._last[key] = _Last(s.quality, s.value, True)
        return True


def names_of_aliases(db: sqlite3.Connection) -> dict[int, tuple[str, Datatype]]:
    """alias -> tag name, datatype: for life, so that every batch of the file can be read."""
    return read_names(db.execute("SELECT alias, tag, datatype FROM alias"))


def replaces_alias(db: sqlite3.Connection, device: str) -> int:
    """The alias of Delivery/Replaces; given now to a device that was removed before there was thinning."""
    key = (device, REPLACES, int(Datatype.STRING))
    db.execute("INSERT OR IGNORE INTO alias(device, tag, datatype, unit) VALUES (?, ?, ?, '')", key)
    row = db.execute("SELECT alias FROM alias WHERE device = ? AND tag = ? AND datatype = ? AND unit = ''", key)
    return int(row.fetchone()[0])
