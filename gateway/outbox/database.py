"""The one SQLite connection of an outbox file: WAL, synchronous=FULL, errors in our words.

One connection only: SQLite up to 3.51.2 can lose committed writes when two connections write and checkpoint.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.outbox.migrate import migrate
from wire.errors import StoreFull

_PAGE = 4096
_DEFAULT_BYTES = 512_000_000
# Reading all of a file before sampling begins: 32 MB take a second on a slow card. A larger one shows damage when read.
_CHECKED_BYTES = 32_000_000
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Damaged(StoreFull):
    """The file is no sound database any more: set it aside, go on with a new one."""


# What Python makes of a damaged file: a text that is none (also in SQLite's own words), a number that no column holds.
GARBLED = (UnicodeDecodeError, OverflowError)
# What SQLite finds where the schema is not the one that its number says.
_OTHER_SCHEMA = ("no such ", "already exists", "has no column", "duplicate column", "Could not decode to UTF-8")


def damaged(fault: sqlite3.Error) -> bool:
    """True when SQLite says that the file itself is damaged."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    other = code in (0, sqlite3.SQLITE_ERROR) and any(words in str(fault) for words in _OTHER_SCHEMA)
    return code in _DAMAGE or other


def connect(path: Path, max_bytes: int = _DEFAULT_BYTES) -> sqlite3.Connection:
    """An open, migrated outbox. Raises StoreFull when the disk refuses, Damaged, ConfigError for a newer file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open(path, max_bytes)
    except sqlite3.DatabaseError as fault:
        if damaged(fault):
            raise Damaged(str(fault)) from fault
        raise StoreFull(f"outbox {path} cannot be opened: {fault}") from fault
    except GARBLED as fault:
        raise Damaged(str(fault)) from fault
    except OSError as fault:
        raise StoreFull(f"outbox {path} cannot be opened: {fault.strerror}") from fault


def _open(path: Path, max_bytes: int) -> sqlite3.Connection:
    # The thread that opens is the store's worker thread, and the only one that ever uses the connection.
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL").fetchone()
        db.execute("PRAGMA synchronous=FULL")
        # The WAL counts into the space that was given: a small outbox checkpoints more often, and shortens it then.
        wal = wal_bytes(max_bytes)
        db.execute(f"PRAGMA wal_autocheckpoint = {max(16, min(1000, wal // 8 // _PAGE))}")
        db.execute(f"PRAGMA journal_size_limit = {wal // 8}")
        if path.stat().st_size <= _CHECKED_BYTES:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise Damaged(str(found))
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def wal_bytes(max_bytes: int) -> int:
    """The part of the outbox' space that is left to the WAL and to one transaction."""
    return min(max_bytes // 4, 32_000_000)


def used_bytes(db: sqlite3.Connection) -> int:
    """Pages of the file that hold something. Free pages are used again before the file grows."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return (int(pages) - int(free)) * _PAGE


def shrink(db: sqlite3.Connection) -> None:
    """Gives free pages back to the disk; needs as much room as the pages in use. Raises sqlite3.OperationalError."""
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def file_bytes(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return int(pages) * _PAGE


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises StoreFull when the disk is full, read-only or broken, Damaged; our own mistakes pass."""
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as fault:
        if damaged(fault):
            raise Damaged(str(fault)) from fault
        raise StoreFull(f"the outbox cannot be written: {fault}") from fault
