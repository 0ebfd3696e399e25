"""Batches that the disk has changed: found when they are to be said again, and dropped with a record.

A bit that flips within a row is no damage that SQLite can see. Such a batch could never be confirmed: its host cannot
understand it, or finds another digest. Within a transaction of the caller.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable

from gateway.outbox.bodies import proved, read_body
from gateway.outbox.policy import drop
from gateway.outbox.rows import NUMBERS, JsonObject
from gateway.outbox.thin import names_of_aliases
from wire.errors import PayloadError
from wire.ids import NodeId

log = logging.getLogger(__name__)

_ROW = (
    "SELECT e.epoch, b.device, b.digest, b.body FROM unconfirmed u JOIN batch b ON b.id = u.id"
    " JOIN epoch e ON e.id = b.id / 4294967296 WHERE u.id = ?"
)


def weed(db: sqlite3.Connection, node: NodeId, ids: Iterable[int]) -> tuple[list[int], list[JsonObject]]:
    """Drops those whose samples are not what their digest says; their ids, and the records of it.

    Where only the digest beside the body was changed, that of the body takes its place.
    """
    names = names_of_aliases(db)
    bad = []
    for i in ids:
        row = db.execute(_ROW, (i,)).fetchone()
        if row is None:
            continue
        epoch, device, digest, body = row
        try:
            read = read_body(body, names)
            sound = proved(read, node, device) and (read.tag.epoch, read.tag.number) == (epoch, i % NUMBERS)
        except PayloadError:
            sound = False
        if not sound:
            log.error("a batch of the outbox is damaged and is dropped", extra={"epoch": epoch, "number": i % NUMBERS})
            bad.append(i)
        elif digest != bytes.fromhex(read.tag.digest):
            db.execute("UPDATE batch SET digest = ? WHERE id = ?", (bytes.fromhex(read.tag.digest), i))
    return bad, drop(db, bad, "damaged")
