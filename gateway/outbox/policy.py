"""When the outbox is full: confirmed batches go first, then the oldest unconfirmed ones, each with a record."""

from __future__ import annotations

import sqlite3

from gateway.outbox.database import used_bytes
from gateway.outbox.ledger import close_batches
from gateway.outbox.records import Thinned, thin_records
from gateway.outbox.rows import NUMBERS, ROW_OVERHEAD, JsonObject
from wire.delivery import parse_batch_tag

CHUNK = 20
"""1/20 of the space is freed at a time, so that a long outage writes few drop records."""

KEEP_CONFIRMED_MS = 7 * 86_400_000
"""A host restored from a backup of the last week can ask for what it lost."""

_TABLES = ("batch", "parked", "confirmation", "thinned")


def drop_confirmed(db: sqlite3.Connection, target: int) -> None:
    """Confirmed and parked batches go, the oldest first, until no more than target bytes are used."""
    while used_bytes(db) > target:
        rows = _oldest(db, used_bytes(db) - target, "NOT IN (SELECT id FROM unconfirmed)")
        if not rows:
            return
        delete(db, rows)


def drop_oldest(db: sqlite3.Connection, target: int) -> list[JsonObject]:
    """Unconfirmed batches go, the oldest first; the records that say so."""
    records: list[JsonObject] = []
    while used_bytes(db) > target:
        # Records of the node (device '') are small and say what went: they stay.
        rows = _oldest(db, used_bytes(db) - target, "IN (SELECT id FROM unconfirmed WHERE device <> '')")
        if not rows:
            break
        records += drop(db, rows, "space")
    return records


def drop(db: sqlite3.Connection, ids: list[int], why: str) -> list[JsonObject]:
    """Unconfirmed batches go, counted; the records that say so."""
    records = _records(db, ids, why)
    close_batches(db, ids, "dropped")
    delete(db, ids)
    return records


def forget_old(db: sqlite3.Connection, now_ms: int) -> None:
    """Confirmed batches past their age go."""
    rows = db.execute(
        "SELECT id FROM batch WHERE committed_ms < ? AND id NOT IN (SELECT id FROM unconfirmed)"
        " AND id NOT IN (SELECT id FROM parked)",
        (now_ms - KEEP_CONFIRMED_MS,),
    ).fetchall()
    delete(db, [i for (i,) in rows])


def _oldest(db: sqlite3.Connection, wanted: int, which: str) -> list[int]:
    rows: list[int] = []
    size = 0
    for i, body in db.execute(f"SELECT id, length(body) FROM batch WHERE id {which} ORDER BY id"):  # noqa: S608
        if size >= wanted:
            break
        rows.append(i)
        size += body + ROW_OVERHEAD
    return rows


def delete(db: sqlite3.Connection, ids: list[int]) -> None:
    """Takes batches out of every table but the unconfirmed ones."""
    for table in _TABLES:
        db.executemany(f"DELETE FROM {table} WHERE id = ?", [(i,) for i in ids])  # noqa: S608


def _records(db: sqlite3.Connection, ids: list[int], why: str) -> list[JsonObject]:
    groups: dict[tuple[int, str], JsonObject] = {}
    thinned: list[Thinned] = []
    for i in ids:
        device, samples, first_ms, last_ms, epoch, root = db.execute(
            "SELECT device, samples, first_ms, last_ms, epoch, root FROM batch JOIN epoch ON epoch.id = batch.id / ?"
            " LEFT JOIN thinned ON thinned.id = batch.id WHERE batch.id = ?",
            (NUMBERS, i),
        ).fetchone()
        if root is not None:
            thinned.append(Thinned(device, parse_batch_tag(root), samples, 0, None, first_ms, last_ms))
            continue
        record = groups.setdefault(
            (i // NUMBERS, device),
            {"kind": "drop", "epoch": epoch, "numbers": [], "device": device, "from_ms": first_ms, "to_ms": last_ms,
             "samples": 0, "why": why},
        )  # fmt: skip
        numbers = record["numbers"]
        if numbers and numbers[-1][1] == i % NUMBERS - 1:
            numbers[-1][1] = i % NUMBERS
        else:
            numbers.append([i % NUMBERS, i % NUMBERS])
        record["from_ms"] = min(record["from_ms"], first_ms)
        record["to_ms"] = max(record["to_ms"], last_ms)
        record["samples"] += samples
    return [*groups.values(), *thin_records(thinned, "")]
