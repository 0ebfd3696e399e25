"""What the host is told of samples that it will never get: thinned and refused ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.outbox.rows import JsonObject
from wire.delivery import BatchTag

REFUSAL_EVERY_MS = 3_600_000
"""While the outbox refuses, a record an hour and device: what says that there is no room must not take it."""

_MOST_IN_RECORD = 500


class Thinned(NamedTuple):
    """One batch that lost samples: `before` it had, `after` are left under `number`; None when nothing is left."""

    device: str
    root: BatchTag
    before: int
    after: int
    number: int | None
    first_ms: int
    last_ms: int


def thin_records(found: Sequence[Thinned], into: str) -> list[JsonObject]:
    """One a device and epoch of the first version. batches: [first number, samples before, after, new number].

    into: the epoch of the new numbers. samples: those that were left out.
    """
    groups: dict[tuple[str, str], list[list[Thinned]]] = {}
    for one in found:
        parts = groups.setdefault((one.root.epoch, one.device), [[]])
        if len(parts[-1]) == _MOST_IN_RECORD:
            parts.append([])
        parts[-1].append(one)
    return [
        {
            "kind": "thin",
            "epoch": epoch,
            "device": device,
            "into": into,
            "from_ms": min(t.first_ms for t in part),
            "to_ms": max(t.last_ms for t in part),
            "samples": sum(t.before - t.after for t in part),
            "batches": [[t.root.number, t.before, t.after, t.number] for t in part],
            "why": "space",
        }
        for (epoch, device), parts in groups.items()
        for part in parts
    ]


def refused_record(epoch: str, device: str, span: tuple[int, int], samples: int, why: str) -> JsonObject:
    """why: 'disk' (it could not be written in time) or 'space' (refuse_new)."""
    return {"kind": "refused", "epoch": epoch, "device": device, "from_ms": span[0], "to_ms": span[1],
            "samples": samples, "why": why}  # fmt: skip


def remember_refusals(db: sqlite3.Connection, refused: Mapping[str, tuple[int, int, int]], now_ms: int) -> None:
    """refused: device -> first stamp, last stamp, samples. Durable with the counters; the record comes later."""
    db.executemany(
        "INSERT INTO refusal(device, from_ms, to_ms, samples, since_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET from_ms = min(from_ms, excluded.from_ms), to_ms = max(to_ms, excluded.to_ms),"
        " samples = samples + excluded.samples",
        [(device, first, last, samples, now_ms) for device, (first, last, samples) in refused.items()],
    )


def due_refusals(db: sqlite3.Connection, epoch: str, before_ms: int) -> list[JsonObject]:
    """Records of refusals that began before before_ms; they count as written now."""
    rows = db.execute(
        "DELETE FROM refusal WHERE since_ms < ? RETURNING device, from_ms, to_ms, samples", (before_ms,)
    ).fetchall()
    return [refused_record(epoch, device, (first, last), n, "space") for device, first, last, n in sorted(rows)]
