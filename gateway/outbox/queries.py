"""Reads of the outbox that the uplink needs: batches that wait, oldest first; by id; the newest stamps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from gateway.outbox.rows import Batch

_SELECT = (
    "SELECT b.id, e.epoch, b.device, b.samples, b.last_ms, b.digest, b.body FROM unconfirmed u"
    " JOIN batch b ON b.id = u.id JOIN epoch e ON e.id = b.id / 4294967296"
)
Row = tuple[int, str, str, int, int, bytes, bytes]


def unconfirmed(db: sqlite3.Connection, after: int, upto: int, limit: int, max_bytes: int) -> list[Batch]:
    """Unconfirmed batches with after < id <= upto, oldest first; at least one if there is one."""
    rows = db.execute(f"{_SELECT} WHERE u.id > ? AND u.id <= ? ORDER BY u.id LIMIT ?", (after, upto, limit))
    found: list[Batch] = []
    for row in rows:
        max_bytes -= len(row[6])
        if found and max_bytes < 0:
            break
        found.append(_batch(row))
    return found


def batches(db: sqlite3.Connection, ids: Iterable[int]) -> list[Batch]:
    """Those of the ids that are still unconfirmed."""
    found = []
    for i in ids:
        row = db.execute(f"{_SELECT} WHERE u.id = ?", (i,)).fetchone()
        if row is not None:
            found.append(_batch(row))
    return found


def high_water(db: sqlite3.Connection) -> dict[str, int]:
    """device -> newest stamp that a committed sample of it bears. Kept per device: one row a commit, and every tag
    of it restarts above."""
    return dict(db.execute("SELECT device, ts_ms FROM high_water").fetchall())


def waiting_devices(db: sqlite3.Connection) -> frozenset[str]:
    """Devices with unconfirmed batches."""
    return frozenset(d for (d,) in db.execute("SELECT DISTINCT device FROM unconfirmed WHERE device <> ''"))


def _batch(row: Row) -> Batch:
    i, epoch, device, samples, last_ms, digest, body = row
    return Batch(i, epoch, device, samples, last_ms, digest.hex(), body)
