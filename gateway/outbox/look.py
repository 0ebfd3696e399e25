"""What `gaugeline gateway outbox` shows: epochs, batches, samples, conflicts. Reads only.

Asked of the running gateway, or of the file itself when none runs; the same answers either way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.outbox import ledger, start
from gateway.outbox.aside import set_aside_files
from gateway.outbox.database import GARBLED, used_bytes
from gateway.outbox.rows import NUMBERS, JsonObject
from gateway.outbox.thin import names_of_aliases
from wire.delivery import BATCH, parse_batch_tag
from wire.errors import ConfigError, PayloadError
from wire.payload import decode
from wire.thinned import REPLACES

if TYPE_CHECKING:
    import sqlite_utils

STATES = ("unconfirmed", "confirmed", "parked")
MOST_ROWS = 10_000

_STATE = (
    "CASE WHEN u.id IS NOT NULL THEN 'unconfirmed' WHEN p.id IS NOT NULL THEN 'parked' ELSE 'confirmed' END AS state"
)
_BATCHES = (
    f"SELECT e.epoch, b.id % {NUMBERS} AS number, b.device, b.samples, b.first_ms, b.last_ms, b.committed_ms,"  # noqa: S608
    f" length(b.body) AS bytes, {_STATE}, t.root AS replaces FROM batch b JOIN epoch e ON e.id = b.id / {NUMBERS}"
    " LEFT JOIN unconfirmed u ON u.id = b.id LEFT JOIN parked p ON p.id = b.id LEFT JOIN thinned t ON t.id = b.id"
)
_EPOCHS = (
    f"SELECT e.epoch, e.started_ms, e.number, e.clean, count(b.id) AS kept, count(u.id) AS unconfirmed"  # noqa: S608
    f" FROM epoch e LEFT JOIN batch b ON b.id BETWEEN e.id * {NUMBERS} AND (e.id + 1) * {NUMBERS} - 1"
    " LEFT JOIN unconfirmed u ON u.id = b.id GROUP BY e.id HAVING kept > 0 OR e.id = (SELECT max(id) FROM epoch)"
    " ORDER BY e.id"
)


def answer(db: sqlite3.Connection, path: Path, asked: Mapping[str, Any], now_ms: int) -> JsonObject:
    """asked: what 'summary', 'list', 'show' or 'parked', with their filters. {'error': text} for what is not there."""
    import sqlite_utils  # 4 MB that only those who look pay

    tables = sqlite_utils.Database(db, execute_plugins=False)
    try:
        match asked.get("what"):
            case "summary":
                return summary(tables, path, now_ms)
            case "list":
                return {"batches": batches(tables, asked)}
            case "show":
                return show(tables, int(asked["number"]), str(asked.get("epoch") or ""))
            case "parked":
                return {"batches": batches(tables, {**asked, "state": "parked"})}
    except (ConfigError, PayloadError) as fault:
        return {"error": str(fault)}
    return {"error": "outbox can be asked for summary, list, show, parked"}


def read_file(path: Path, asked: Mapping[str, Any], now_ms: int) -> JsonObject:
    """The same from the file of a gateway that does not run; call only as its sole owner. Raises ConfigError."""
    if not path.exists():
        raise ConfigError(f"no gateway runs and there is no outbox at {path}: it has never run here")
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < 2:
            raise ConfigError(
                f"the outbox {path} is of an older version: the next `gaugeline gateway run` brings it up"
            )
        return answer(db, path, asked, now_ms)
    except (sqlite3.DatabaseError, *GARBLED) as fault:
        raise ConfigError(
            f"the outbox {path} cannot be read: {fault}; the next start sets it aside and begins a new one"
        ) from fault
    finally:
        db.close()


def summary(tables: sqlite_utils.Database, path: Path, now_ms: int) -> JsonObject:
    db = tables.conn
    (oldest,) = db.execute(
        "SELECT min(committed_ms) FROM batch WHERE id = (SELECT min(id) FROM unconfirmed WHERE device <> '')"
    ).fetchone()
    totals = ledger.totals(db)
    sizes = [p.stat().st_size for tail in ("", "-wal") if (p := path.with_name(path.name + tail)).exists()]
    return {
        "file": str(path),
        "file_bytes": sum(sizes),
        "used_bytes": used_bytes(db),
        "set_aside": set_aside_files(path),
        "batches": tables["batch"].count,
        "unconfirmed": tables["unconfirmed"].count,
        "parked": tables["parked"].count,
        "thinned": tables["thinned"].count,
        "oldest_unconfirmed_s": None if oldest is None else max(0.0, (now_ms - oldest) / 1000),
        "samples": {name: sum(c[name] for c in totals.values()) for name in (*ledger.COUNTERS, "in_flight")},
        "devices": totals,
        "epochs": list(tables.query(_EPOCHS)),
        "gaps": [
            {"line": g.line, "last_poll_ms": g.last_poll_ms, "first_new_ms": g.first_new_ms, "reason": g.reason}
            for g in start.read_gaps(db)
        ],
    }


def batches(tables: sqlite_utils.Database, asked: Mapping[str, Any]) -> list[JsonObject]:
    """Newest last; at most `limit` of the newest. Filters: device, state, epoch, from_ms, to_ms."""
    wanted = {name: asked.get(name) for name in ("device", "state", "epoch", "from_ms", "to_ms")}
    where = [
        clause
        for name, clause in (
            ("device", "b.device = :device"), ("epoch", "e.epoch = :epoch"), ("state", "state = :state"),
            ("from_ms", "b.last_ms >= :from_ms"), ("to_ms", "b.first_ms <= :to_ms"),
        )
        if wanted[name] is not None
    ]  # fmt: skip
    limit = max(1, min(MOST_ROWS, int(asked.get("limit") or 100)))
    sql = f"{_BATCHES} WHERE {' AND '.join(where) or '1'} ORDER BY b.id DESC LIMIT {limit}"
    return list(tables.query(sql, wanted))[::-1]


def show(tables: sqlite_utils.Database, number: int, epoch: str) -> JsonObject:
    """One batch with its samples. epoch '': the newest that has this number. Raises ConfigError when there is none."""
    found = list(
        tables.query(
            f"{_BATCHES} WHERE b.id % {NUMBERS} = :number AND (:epoch = '' OR e.epoch = :epoch)"
            " ORDER BY b.id DESC LIMIT 1",
            {"number": number, "epoch": epoch},
        )
    )
    if not found:
        of = f" of epoch {epoch}" if epoch else ""
        raise ConfigError(f"there is no batch {number}{of} in the outbox; `list` shows what is there")
    batch = found[0]
    (body,) = tables.conn.execute(
        f"SELECT body FROM batch JOIN epoch ON epoch.id = batch.id / {NUMBERS}"  # noqa: S608  # a constant
        f" WHERE epoch.epoch = ? AND batch.id % {NUMBERS} = ?",
        (batch["epoch"], number),
    ).fetchone()
    names = names_of_aliases(tables.conn)
    samples = []
    for m in decode(body, {alias: kind for alias, (_, kind) in names.items()}).metrics:
        if m.alias not in names:
            raise PayloadError(f"batch {number} is damaged: a metric without a known alias")
        name, kind = names[m.alias]
        if name == BATCH:
            batch["digest"] = parse_batch_tag(str(m.value)).digest
        elif name != REPLACES:
            samples.append(
                {
                    "ts_ms": m.ts_ms, "tag": name, "value": m.value, "quality": m.quality.name,
                    "reason": m.reason.name.lower() if m.reason else "", "datatype": kind.name,
                }
            )  # fmt: skip
    return {"batch": batch, "samples": samples}
