"""When the outbox is full: confirmed batches go first, then the oldest unconfirmed ones, each with a record."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from gateway.outbox.ledger import close_batches
from gateway.outbox.rows import NUMBERS, ROW_OVERHEAD, JsonObject

CHUNK = 20
"""1/20 of the space is freed at a time, so that a long outage writes few drop records."""

KEEP_CONFIRMED_MS = 7 * 86_400_000
"""A host restored from a backup of the last week can ask for what it lost."""


class Freed(NamedTuple):
    """size: bytes given back. records: one per epoch and device whose unconfirmed batches were dropped."""

    size: int
    records: list[JsonObject]


def make_room(db: sqlite3.Connection, used: int, limit: int) -> Freed:
    """Within the open transaction: brings `used` bytes to at most 19/20 of limit once limit is passed."""
    if used <= limit:
        return Freed(0, [])
    wanted = used - (limit - limit // CHUNK)
    freed = _delete(db, _oldest(db, wanted, "NOT IN (SELECT id FROM unconfirmed)"))
    if freed >= wanted:
        return Freed(freed, [])
    # Records of the node (device '') are small and say what went: they stay.
    rows = _oldest(db, wanted - freed, "IN (SELECT id FROM unconfirmed WHERE device <> '')")
    records = _records(db, [i for i, _ in rows])
    close_batches(db, [i for i, _ in rows], "dropped")
    return Freed(freed + _delete(db, rows), records)


def forget_old(db: sqlite3.Connection, now_ms: int) -> int:
    """Confirmed batches past their age go; the bytes given back."""
    rows = db.execute(
        "SELECT id, length(body) FROM batch WHERE committed_ms < ? AND id NOT IN (SELECT id FROM unconfirmed)"
        " AND id NOT IN (SELECT id FROM parked)",
        (now_ms - KEEP_CONFIRMED_MS,),
    ).fetchall()
    return _delete(db, rows)


def used_bytes(db: sqlite3.Connection) -> int:
    """What the batches take: bodies and the overhead of their rows."""
    bodies, rows = db.execute("SELECT coalesce(sum(length(body)), 0), count(*) FROM batch").fetchone()
    return int(bodies) + int(rows) * ROW_OVERHEAD


def _oldest(db: sqlite3.Connection, wanted: int, which: str) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    size = 0
    for i, body in db.execute(f"SELECT id, length(body) FROM batch WHERE id {which} ORDER BY id"):  # noqa: S608
        if size >= wanted:
            break
        rows.append((i, body))
        size += body + ROW_OVERHEAD
    return rows


def _delete(db: sqlite3.Connection, rows: list[tuple[int, int]]) -> int:
    for table in ("batch", "parked", "confirmation"):
        db.executemany(f"DELETE FROM {table} WHERE id = ?", [(i,) for i, _ in rows])  # noqa: S608
    return sum(body + ROW_OVERHEAD for _, body in rows)


def _records(db: sqlite3.Connection, ids: list[int]) -> list[JsonObject]:
    groups: dict[tuple[int, str], JsonObject] = {}
    for i in ids:
        device, samples, first_ms, last_ms, epoch = db.execute(
            "SELECT device, samples, first_ms, last_ms, epoch FROM batch JOIN epoch ON epoch.id = batch.id / ?"
            " WHERE batch.id = ?",
            (NUMBERS, i),
        ).fetchone()
        record = groups.setdefault(
            (i // NUMBERS, device),
            {"kind": "drop", "epoch": epoch, "numbers": [], "device": device, "from_ms": first_ms, "to_ms": last_ms,
             "samples": 0, "why": "space"},
        )  # fmt: skip
        numbers = record["numbers"]
        if numbers and numbers[-1][1] == i % NUMBERS - 1:
            numbers[-1][1] = i % NUMBERS
        else:
            numbers.append([i % NUMBERS, i % NUMBERS])
        record["from_ms"] = min(record["from_ms"], first_ms)
        record["to_ms"] = max(record["to_ms"], last_ms)
        record["samples"] += samples
    return list(groups.values())
