"""What became of each batch: confirmed, parked, dropped, asked for again; and the counters that say so.

Functions over an open transaction; store runs them in its worker thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from gateway.outbox.rows import NUMBERS, JsonObject
from wire.delivery import Confirmation, ConfirmedRange, check_confirmation

COUNTERS = ("produced", "suppressed", "refused", "dropped", "parked", "confirmed")
_MOST_NUMBERS = 100_000  # of one confirmed range: more is not believed


def count(db: sqlite3.Connection, epoch_id: int, device: str, counter: str, samples: int) -> None:
    """Adds samples to one counter of one device."""
    if counter not in COUNTERS:
        raise ValueError(counter)
    db.execute(
        f"INSERT INTO counter(epoch_id, device, {counter}) VALUES (?, ?, ?)"  # noqa: S608  # one of COUNTERS
        f" ON CONFLICT DO UPDATE SET {counter} = {counter} + excluded.{counter}",
        (epoch_id, device, samples),
    )


def close_batches(db: sqlite3.Connection, ids: Iterable[int], counter: str) -> list[int]:
    """Takes batches off the unconfirmed ones and counts their samples; the ids that were still there."""
    closed = []
    for i in ids:
        row = db.execute("DELETE FROM unconfirmed WHERE id = ? RETURNING device, samples", (i,)).fetchone()
        if row is not None:
            count(db, i // NUMBERS, row[0], counter, row[1])
            closed.append(i)
    return closed


def epoch_id(db: sqlite3.Connection, epoch: str) -> int | None:
    row = db.execute("SELECT id FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
    return None if row is None else int(row[0])


def believed(db: sqlite3.Connection, epoch: int, confirmation: Confirmation) -> tuple[list[int], int]:
    """(batch ids that a confirmation truly confirms, ranges that were not believed)."""
    digests: dict[int, str] = {}
    sound: list[ConfirmedRange] = []
    for r in confirmation.ranges:
        if r.last - r.first < _MOST_NUMBERS and r.last < NUMBERS:
            sound.append(r)
            rows = db.execute(
                "SELECT id, digest FROM batch WHERE id BETWEEN ? AND ?",
                (epoch * NUMBERS + r.first, epoch * NUMBERS + r.last),
            )
            digests.update((i % NUMBERS, digest.hex()) for i, digest in rows)
    numbers, refused = check_confirmation(confirmation._replace(ranges=tuple(sound)), digests)
    return [epoch * NUMBERS + n for n in numbers], refused + len(confirmation.ranges) - len(sound)


def confirm(db: sqlite3.Connection, ids: Sequence[int], host: str, required: frozenset[str]) -> list[int]:
    """Batches that every required host has confirmed now."""
    if required != {host}:
        db.executemany("INSERT OR IGNORE INTO confirmation(id, host) VALUES (?, ?)", [(i, host) for i in ids])
        ids = [i for i in ids if required <= _hosts(db, i)]
        db.executemany("DELETE FROM confirmation WHERE id = ?", [(i,) for i in ids])
    return close_batches(db, ids, "confirmed")


def _hosts(db: sqlite3.Connection, batch: int) -> set[str]:
    return {host for (host,) in db.execute("SELECT host FROM confirmation WHERE id = ?", (batch,))}


def park(db: sqlite3.Connection, batch: int, digest: str) -> bool:
    """True when the batch was unconfirmed, bore this digest, and is parked now."""
    row = db.execute("SELECT digest FROM batch WHERE id = ?", (batch,)).fetchone()
    if row is None or row[0].hex() != digest or not close_batches(db, [batch], "parked"):
        return False
    db.execute("INSERT INTO parked(id) VALUES (?)", (batch,))
    return True


def refill(db: sqlite3.Connection, from_ms: int, to_ms: int) -> list[int]:
    """Confirmed batches with a sample in from_ms..to_ms become unconfirmed again; their ids."""
    rows = db.execute(
        "INSERT INTO unconfirmed(id, device, samples, size)"
        " SELECT id, device, samples, length(body) FROM batch WHERE last_ms >= ? AND first_ms <= ?"
        " AND id NOT IN (SELECT id FROM unconfirmed) AND id NOT IN (SELECT id FROM parked)"
        " RETURNING id, device, samples",
        (from_ms, to_ms),
    ).fetchall()
    for i, device, samples in rows:
        count(db, i // NUMBERS, device, "confirmed", -samples)
    db.executemany("UPDATE epoch SET settled = 0 WHERE id = ?", [(e,) for e in {i // NUMBERS for i, _, _ in rows}])
    return sorted(i for i, _, _ in rows)


def settle(db: sqlite3.Connection, current: int) -> list[JsonObject]:
    """Closing records of ended epochs of which nothing is unconfirmed any more."""
    rows = db.execute(
        "SELECT id, epoch, number FROM epoch e WHERE settled = 0 AND id < ? AND NOT EXISTS"
        " (SELECT 1 FROM unconfirmed WHERE id BETWEEN e.id * ? AND (e.id + 1) * ? - 1) ORDER BY id",
        (current, NUMBERS, NUMBERS),
    ).fetchall()
    db.executemany("UPDATE epoch SET settled = 1 WHERE id = ?", [(e,) for e, _, _ in rows])
    return [
        {"kind": "epoch_closed", "epoch": epoch, "number": number, "devices": device_counters(db, e)}
        for e, epoch, number in rows
    ]


def device_counters(db: sqlite3.Connection, epoch: int) -> dict[str, dict[str, int]]:
    """device -> counters of one epoch as they are published; in_flight counted from the unconfirmed rows."""
    found: dict[str, dict[str, int]] = {}
    rows = db.execute(
        "SELECT device, produced, suppressed, refused, dropped, parked FROM counter"
        " WHERE epoch_id = ? AND device <> '' ORDER BY device",
        (epoch,),
    )
    for device, *values in rows:
        found[device] = dict(zip((*COUNTERS[:5], "in_flight"), (*values, 0), strict=True))
    in_flight = db.execute(
        "SELECT device, sum(samples) FROM unconfirmed WHERE id BETWEEN ? AND ? AND device <> '' GROUP BY device",
        (epoch * NUMBERS, (epoch + 1) * NUMBERS - 1),
    )
    for device, samples in in_flight:
        found.setdefault(device, dict.fromkeys((*COUNTERS[:5], "in_flight"), 0))["in_flight"] = samples
    return found


def snapshot(db: sqlite3.Connection) -> JsonObject:
    """Delivery/Counters: the current epoch and every ended one that is not settled."""
    epochs = []
    for e, epoch, number in db.execute("SELECT id, epoch, number FROM epoch WHERE settled = 0 ORDER BY id").fetchall():
        ranges = db.execute(
            "SELECT min(id), max(id) FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS run FROM unconfirmed"
            " WHERE id BETWEEN ? AND ?) GROUP BY run ORDER BY 1",
            (e * NUMBERS, (e + 1) * NUMBERS - 1),
        )
        unconfirmed = [[a % NUMBERS, b % NUMBERS] for a, b in ranges]
        devices = device_counters(db, e)
        epochs.append({"epoch": epoch, "number": number, "devices": devices, "unconfirmed": unconfirmed})
    return {"epochs": epochs}


def totals(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """device -> counters over all epochs, in_flight included: what `gateway status` shows."""
    sums = ", ".join(f"sum({c})" for c in COUNTERS)
    found = {
        device: dict(zip((*COUNTERS, "in_flight"), (*values, 0), strict=True))
        for device, *values in db.execute(
            f"SELECT device, {sums} FROM counter WHERE device <> '' GROUP BY device ORDER BY device"  # noqa: S608
        )
    }
    for device, samples in db.execute(
        "SELECT device, sum(samples) FROM unconfirmed WHERE device <> '' GROUP BY device"
    ):
        found.setdefault(device, dict.fromkeys((*COUNTERS, "in_flight"), 0))["in_flight"] = samples
    return found
