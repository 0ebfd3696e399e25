"""Samples without a time out of a damaged outbox: every row that is still whole goes into the new file.

They are nowhere else: no host has ever heard of them. Each row bears the digest of its samples (Delivery/Batch, as a
batch does), so that a row that was changed is found out and left behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from gateway.outbox.bodies import Names, proved, read_body
from gateway.outbox.start import MOST_IDS
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.tag import Datatype

MOST_LOOKED_FOR = 200_000
"""Rows that are asked for one by one between the first and the last that cannot be read: 2 s on a slow card."""

_COLUMNS = "SELECT id, boot, device, samples, first_ms, last_ms, body FROM unstamped"
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError)

Row = tuple[int, int, str, int, int, int, bytes]


class Salvaged(NamedTuple):
    """In samples. lost: None where nobody can count any more what the file held."""

    kept: int
    lost: int | None


def salvage(db: sqlite3.Connection, damaged: Path, node: NodeId, most_bytes: int) -> Salvaged:
    """Within a transaction on the new file, after aliases and boots were taken over. most_bytes: of one transaction."""
    try:
        old = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return Salvaged(0, None)
    try:
        kept = _copied(db, old, node, most_bytes)
        try:
            (held,) = old.execute("SELECT coalesce(sum(samples), 0) FROM unstamped").fetchone()
        except _UNREADABLE as fault:
            # A file that is none, or one of before this table: then nothing can have been in it.
            return Salvaged(kept, 0 if "no such table" in str(fault) else None)
        return Salvaged(kept, max(0, int(held) - kept))
    finally:
        old.close()


def _copied(db: sqlite3.Connection, old: sqlite3.Connection, node: NodeId, most_bytes: int) -> int:
    boots = {boot for (boot,) in db.execute("SELECT id FROM boot")}
    names: dict[str, dict[int, tuple[str, Datatype]]] = {}
    for alias, device, tag, datatype in db.execute("SELECT alias, device, tag, datatype FROM alias"):
        if datatype in set(Datatype):  # an alias of the damaged file, too
            names.setdefault(device, {})[alias] = (tag, Datatype(datatype))
    kept = size = 0
    for row in readable(old):
        if row[1] not in boots or not whole(row, node, names.get(row[2], {})):
            continue
        size += len(row[6])
        if size > most_bytes:
            break
        # With its old id: the order of taking.
        db.execute("INSERT OR IGNORE INTO unstamped VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        kept += row[3]
    return kept


def readable(old: sqlite3.Connection) -> Iterator[Row]:
    """Rows that SQLite still finds: from the front to the first fault, from the end to the last one, and between."""
    first, last = 0, 2**63 - 1
    for row in _until_fault(old, f"{_COLUMNS} ORDER BY id"):
        first = row[0]
        yield row
    for row in _until_fault(old, f"{_COLUMNS} WHERE id > {first:d} ORDER BY id DESC"):
        last = row[0]
        yield row
    try:
        (newest,) = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'unstamped'").fetchone() or (first,)
    except _UNREADABLE:
        newest = first
    between = range(first + 1, min(last, int(newest) + 1, first + MOST_LOOKED_FOR))
    yield from chain.from_iterable(_until_fault(old, f"{_COLUMNS} WHERE id = {i:d}") for i in between)


def _until_fault(old: sqlite3.Connection, sql: str) -> Iterator[Row]:
    try:
        for row in old.execute(sql):
            if _typed(row):
                yield row
    except _UNREADABLE:
        return


def _typed(row: tuple[Any, ...]) -> bool:
    return tuple(map(type, row)) == (int, int, str, int, int, int, bytes) and 0 < row[0] <= MOST_IDS


def whole(row: Row, node: NodeId, names: Names) -> bool:
    """True when the row's body has the digest that it bears, and is what its columns say."""
    _, _, device, count, first_ms, last_ms, body = row
    try:
        read = read_body(body, names)
    except PayloadError:
        return False
    stamps = [s.ts_ms for s in read.samples] or [-1]
    said = count, first_ms, last_ms
    return proved(read, node, device) and (len(read.samples), min(stamps), max(stamps)) == said
