"""Boots of the machine: when each was, as soon as that is known, and what is told of those that nobody timed.

Functions over an open transaction; store runs them in its worker thread.
"""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from gateway.outbox.rows import JsonObject, json_rows
from gateway.time_news import Known, Step

_SHOWN = 50


class Extent(NamedTuple):
    """What waits of one boot. last_ms: since that boot."""

    boot: int
    last_ms: int


class Place(NamedTuple):
    """Where a boot is put. offset_ms: UTC of its beginning. off_by_ms: how far that may be off; None: nobody knows."""

    offset_ms: int
    how: str
    off_by_ms: int | None


def places(boots: list[Extent], newest_ms: int | None, begin_ms: int) -> list[Place]:
    """Boots without a time, oldest first, between the newest stamp before them and the beginning of the boot after.

    Each keeps its own spacing; what is left over is shared evenly between them. Where they do not fit, a clock was
    wrong before: then they follow the newest stamp, a millisecond apart.
    """
    spare = 0 if newest_ms is None else begin_ms - newest_ms - 1 - sum(boot.last_ms + 1 for boot in boots)
    found: list[Place] = []
    if newest_ms is not None and spare < 0:
        return [Place(newest_ms - boot.last_ms, "squeezed", None) for boot in boots]
    pause = spare // (len(boots) + 1)
    end = begin_ms
    for i, boot in enumerate(reversed(boots)):
        end -= pause + boot.last_ms + 1
        off_by = None if newest_ms is None else pause * max(i + 1, len(boots) - i)
        found.append(Place(end, "before" if newest_ms is None else "between", off_by))
    return found[::-1]


def number(db: sqlite3.Connection, boot_id: str) -> int:
    """The row of a boot; made at first use."""
    db.execute("INSERT OR IGNORE INTO boot(boot_id) VALUES (?)", (boot_id,))
    (found,) = db.execute("SELECT id FROM boot WHERE boot_id = ?", (boot_id,)).fetchone()
    return int(found)


def anchor(db: sqlite3.Connection, boot_id: str) -> Known | None:
    """What was known of this boot's time."""
    row = db.execute(
        "SELECT offset_ms, how, certain FROM boot WHERE boot_id = ? AND offset_ms IS NOT NULL"
        " AND how NOT IN ('between', 'before', 'squeezed')",
        (boot_id,),
    ).fetchone()
    return None if row is None else Known(boot_id, row[0], row[1], bool(row[2]))


def newest_known(db: sqlite3.Connection) -> int | None:
    """The newest stamp that any sample or poll has borne."""
    (found,) = db.execute(
        "SELECT max(ms) FROM (SELECT max(ts_ms) AS ms FROM high_water UNION ALL SELECT max(polled_ms) FROM line_poll)"
    ).fetchone()
    return None if found is None else int(found)


def learn(db: sqlite3.Connection, known: Known) -> list[JsonObject]:
    """The time of the boot that runs is known: older ones without a time are placed before it. Their records."""
    now = number(db, known.boot_id)
    older = [
        Extent(*row)
        for row in db.execute(
            "SELECT boot.id, max(unstamped.last_ms) FROM boot JOIN unstamped ON unstamped.boot = boot.id"
            " WHERE boot.id < ? AND offset_ms IS NULL GROUP BY boot.id ORDER BY boot.id",
            (now,),
        )
    ]
    records = []
    if older:
        for boot, place in zip(older, places(older, newest_known(db), known.offset_ms), strict=True):
            db.execute(
                "UPDATE boot SET certain = 0, offset_ms = ?, how = ?, off_by_ms = ? WHERE id = ?", (*place, boot.boot)
            )
            records += _listed(db, boot.boot)
    db.execute(
        "UPDATE boot SET offset_ms = ?, certain = ?, how = ? WHERE id = ?",
        (known.offset_ms, known.certain, known.how, now),
    )
    records += _listed(db, now) + _refusals(db)
    db.execute("DELETE FROM boot WHERE id < ? AND samples = 0 AND id NOT IN (SELECT boot FROM unstamped)", (now,))
    return records


def _listed(db: sqlite3.Connection, boot: int) -> list[JsonObject]:
    """The record of a boot whose samples waited; none when none did, or when it is on record already."""
    samples, first, last = db.execute(
        "SELECT coalesce(sum(samples), 0), min(first_ms), max(last_ms) FROM unstamped WHERE boot = ?", (boot,)
    ).fetchone()
    boot_id, offset, how, off_by, before = db.execute(
        "SELECT boot_id, offset_ms, how, off_by_ms, samples FROM boot WHERE id = ?", (boot,)
    ).fetchone()
    if not samples or before:
        return []
    db.execute(
        "UPDATE boot SET from_ms = ?, to_ms = ?, samples = ? WHERE id = ?",
        (first + offset, last + offset, samples, boot),
    )
    return [
        {"kind": "clock", "boot": boot_id, "from_ms": first + offset, "to_ms": last + offset, "samples": samples,
         "placed": how, "off_by_ms": off_by}
    ]  # fmt: skip


def refuse(db: sqlite3.Connection, boot: int, device: str, samples: int, first_ms: int, last_ms: int) -> None:
    """Samples of a boot without a time were not taken; told once the time is known."""
    db.execute(
        "INSERT INTO unstamped_refused VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " samples = samples + excluded.samples, first_ms = min(first_ms, excluded.first_ms),"
        " last_ms = max(last_ms, excluded.last_ms)",
        (boot, device, samples, first_ms, last_ms),
    )


def _refusals(db: sqlite3.Connection) -> list[JsonObject]:
    rows = db.execute(
        "SELECT boot_id, device, r.samples, first_ms + offset_ms, last_ms + offset_ms FROM unstamped_refused r"
        " JOIN boot ON boot.id = r.boot WHERE offset_ms IS NOT NULL"
    ).fetchall()
    db.execute("DELETE FROM unstamped_refused WHERE boot IN (SELECT id FROM boot WHERE offset_ms IS NOT NULL)")
    return [
        {"kind": "refused", "boot": boot_id, "device": device, "from_ms": first, "to_ms": last, "samples": samples,
         "why": "no room for samples without a time"}
        for boot_id, device, samples, first, last in rows
    ]  # fmt: skip


def placed_between(db: sqlite3.Connection, from_ms: int, to_ms: int) -> list[JsonObject]:
    """Boots that never knew the time, as far as their samples were placed in this time."""
    rows = db.execute(
        "SELECT boot_id, from_ms, to_ms, samples FROM boot"
        " WHERE samples > 0 AND how IN ('between', 'before', 'squeezed') AND to_ms >= ? AND from_ms <= ? ORDER BY id",
        (from_ms, to_ms),
    )
    return [dict(zip(("boot", "from_ms", "to_ms", "samples"), row, strict=True)) for row in rows]


def stepped(db: sqlite3.Connection, step: Step) -> JsonObject:
    record = step.record()
    db.execute("INSERT INTO clock_step(record) VALUES (?)", (json.dumps(record),))
    begin_anew(db, step)
    return record


def begin_anew(db: sqlite3.Connection, step: Step) -> None:
    """Where stamps begin anew: what was never right is no newest stamp any more."""
    if step.floor_ms is not None:
        db.execute("UPDATE high_water SET ts_ms = ? WHERE ts_ms > ?", (step.floor_ms, step.beyond_ms))
        db.execute("UPDATE line_poll SET polled_ms = ? WHERE polled_ms > ?", (step.floor_ms, step.beyond_ms))


def listed(db: sqlite3.Connection) -> JsonObject:
    """The outbox' part of `clock` in the status: what waits for the time, boots that were placed, steps."""
    rows, samples = db.execute("SELECT count(*), coalesce(sum(samples), 0) FROM unstamped").fetchone()
    boots = db.execute(
        "SELECT boot_id, from_ms, to_ms, samples, how, off_by_ms FROM"
        " (SELECT * FROM boot WHERE samples > 0 ORDER BY id DESC LIMIT ?) ORDER BY id",
        (_SHOWN,),
    )
    steps = db.execute(
        "SELECT record FROM (SELECT * FROM clock_step ORDER BY id DESC LIMIT ?) ORDER BY id", (_SHOWN,)
    )  # fmt: skip
    names = ("boot", "from_ms", "to_ms", "samples", "placed", "off_by_ms")
    return {
        "waiting_samples": samples,
        "waiting_rows": rows,
        "boots": [dict(zip(names, row, strict=True)) for row in boots],
        "steps_on_record": [step for (text,) in steps for step in json_rows(text)],
    }
