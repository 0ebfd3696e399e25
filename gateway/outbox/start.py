"""What a process start means to the outbox: a new epoch, aliases for what is configured, the gap since the last run."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.outbox.rows import AliasRow, GapLine, JsonObject, json_rows
from wire.delivery import BATCH, COUNTERS, PROTOCOL_METRIC, RECORD
from wire.tag import Datatype, Tag
from wire.thinned import REPLACES

GAP_WAIT_MS = 15_000
"""A line that has not been polled by then stands in the gap record without a first new stamp."""


MOST_EPOCHS, MOST_IDS = 2**30, 2**53  # ids above were changed by the disk; a batch's id is its epoch's times 2^32


@dataclass(slots=True)
class Gap:
    """The gap record of this start, until it is written. lines: line -> [last poll, first new poll]."""

    epoch: str
    previous: str
    reason: str
    due_ms: int
    lines: dict[str, list[int | None]] = field(default_factory=dict)

    def poll(self, first_poll: Mapping[str, int]) -> bool:
        """Takes the first new stamps; True when one was news."""
        news = False
        for line, ts_ms in first_poll.items():
            if line in self.lines and self.lines[line][1] is None:
                self.lines[line][1] = ts_ms
                news = True
        return news

    def complete(self, now_ms: int) -> bool:
        return now_ms >= self.due_ms or all(first is not None for _, first in self.lines.values())

    def span(self, now_ms: int) -> tuple[int, int]:
        """From the first last poll to the last first one, as far as they are known."""
        last = [last for last, _ in self.lines.values() if last is not None]
        first = [first for _, first in self.lines.values() if first is not None]
        return min(last, default=0), max(first, default=now_ms)

    def lines_json(self) -> str:
        rows = [{"line": n, "last_poll_ms": last, "first_new_ms": first} for n, (last, first) in self.lines.items()]
        return json.dumps(rows, separators=(",", ":"))


def gap_record(epoch: str, previous: str, reason: str, lines_json: str) -> JsonObject:
    return {"kind": "gap", "reason": reason, "epoch": epoch, "previous": previous, "lines": json_rows(lines_json)}


def check_ids(db: sqlite3.Connection) -> None:
    """Raises OverflowError where an id is one that was never given: what comes after it would find none."""
    for table, column, most in (
        ("epoch", "id", MOST_EPOCHS),
        ("alias", "alias", MOST_IDS),
        ("unstamped", "id", MOST_IDS),
    ):
        (found,) = db.execute(
            f"SELECT max(coalesce((SELECT max({column}) FROM {table}), 0),"  # noqa: S608  # the three above
            " coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = ?), 0))",
            (table,),
        ).fetchone()
        if not 0 <= found <= most:
            raise OverflowError(f"{table} has an id {found}")


def new_epoch(db: sqlite3.Connection, now_ms: int, above: int = 0) -> tuple[int, str]:
    """(id, epoch). Random, never counted: a restored card image must not use a batch key again.

    above: the last id of a file that was set aside; a running session still knows its batches by their ids.
    """
    epoch = secrets.token_hex(8)
    row = db.execute(
        "INSERT INTO epoch(id, epoch, started_ms) VALUES ("
        " max(?, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'epoch')) + 1, ?, ?) RETURNING id",
        (above, epoch, now_ms),
    ).fetchone()
    return int(row[0]), epoch


def open_gap(
    db: sqlite3.Connection, epoch_id: int, epoch: str, lines: Sequence[str], now_ms: int, lost: str | None = None
) -> Gap | None:
    """The gap since the run before, made durable at once; None at the very first start.

    lost: the epoch of that run ('' when nobody knows), where its file was found damaged; reason 'damaged'.
    """
    before: tuple[str, int] | None = db.execute(
        "SELECT epoch, clean FROM epoch WHERE id < ? ORDER BY id DESC LIMIT 1", (epoch_id,)
    ).fetchone()
    if before is None and lost is None:
        return None
    previous, reason = (lost, "damaged") if before is None else (before[0], "stopped" if before[1] else "killed")
    last: dict[str, int] = dict(db.execute("SELECT line, polled_ms FROM line_poll").fetchall())
    gap = Gap(epoch, previous or "", reason, now_ms + GAP_WAIT_MS)
    gap.lines = {line: [last.get(line), None] for line in lines}
    db.execute(
        "INSERT INTO gap(epoch_id, previous, reason, lines) VALUES (?, ?, ?, ?)",
        (epoch_id, gap.previous, gap.reason, gap.lines_json()),
    )
    return gap


def unrecorded_gaps(db: sqlite3.Connection, epoch_id: int) -> list[JsonObject]:
    """Gap records of starts that ended before they could write theirs; they count as written now."""
    rows = db.execute(
        "SELECT epoch, previous, reason, lines FROM gap JOIN epoch ON epoch.id = gap.epoch_id"
        " WHERE recorded = 0 AND epoch_id < ? ORDER BY epoch_id",
        (epoch_id,),
    ).fetchall()
    db.execute("UPDATE gap SET recorded = 1 WHERE epoch_id < ?", (epoch_id,))
    return [gap_record(*row) for row in rows]


def register_aliases(db: sqlite3.Connection, tags: Mapping[str, Sequence[Tag]]) -> dict[str, dict[str, int]]:
    """device -> tag name -> alias, '' being the node; assigned once, for life."""
    wanted = [("", name, Datatype.STRING, "") for name in (PROTOCOL_METRIC, BATCH, RECORD, COUNTERS)]
    for device, found in tags.items():
        wanted += [(device, tag.name, tag.datatype, tag.unit) for tag in found]
        wanted += [(device, name, Datatype.STRING, "") for name in (BATCH, REPLACES)]
    aliases: dict[str, dict[str, int]] = {}
    for device, name, datatype, unit in wanted:
        key = (device, name, int(datatype), unit)
        db.execute("INSERT OR IGNORE INTO alias(device, tag, datatype, unit) VALUES (?, ?, ?, ?)", key)
        (alias,) = db.execute(
            "SELECT alias FROM alias WHERE device = ? AND tag = ? AND datatype = ? AND unit = ?", key
        ).fetchone()
        aliases.setdefault(device, {})[name] = alias
    return aliases


def alias_rows(aliases: Mapping[str, Mapping[str, int]], tags: Mapping[str, Sequence[Tag]]) -> list[tuple[object, ...]]:
    """Rows of table alias for what a running session uses: they go into a new file as they are."""
    known = {(device, tag.name): tag for device, found in tags.items() for tag in found}
    rows: list[tuple[object, ...]] = []
    for device, names in aliases.items():
        for name, alias in names.items():
            tag = known.get((device, name))
            rows.append((alias, device, name, int(tag.datatype if tag else Datatype.STRING), tag.unit if tag else ""))
    return rows


def wal_is_missing(path: Path) -> bool:
    """True when the process before was killed (its -shm lies there) and its -wal was taken away since."""
    wal, shm = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    return path.exists() and shm.exists() and not wal.exists()


def retired_aliases(db: sqlite3.Connection, current: set[int]) -> list[AliasRow]:
    """Aliases that no configured tag has, of devices with batches that still wait: they must be born to drain."""
    rows = db.execute(
        "SELECT alias, device, tag, datatype, unit FROM alias"
        " WHERE device IN (SELECT DISTINCT device FROM unconfirmed) AND device <> '' ORDER BY alias"
    )
    kinds = set(Datatype)  # another one was changed by the disk
    return [AliasRow(a, d, t, Datatype(dt), u) for a, d, t, dt, u in rows if a not in current and dt in kinds]


def read_gaps(db: sqlite3.Connection) -> list[GapLine]:
    """Gaps of the last 50 starts, a line each."""
    rows = db.execute("SELECT reason, lines FROM (SELECT * FROM gap ORDER BY epoch_id DESC LIMIT 50) ORDER BY epoch_id")
    return [
        GapLine(str(line.get("line")), line.get("last_poll_ms"), line.get("first_new_ms"), reason)
        for reason, lines in rows
        for line in json_rows(lines)
    ]
