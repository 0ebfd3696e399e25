"""The one SQLite connection of an outbox file: WAL, synchronous=FULL, errors in our words.

One connection only: SQLite up to 3.51.2 can lose committed writes when two connections write and checkpoint.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.outbox.migrate import migrate
from wire.errors import StoreFull

log = logging.getLogger(__name__)


def connect(path: Path) -> sqlite3.Connection:
    """An open, migrated outbox. Raises StoreFull when the disk refuses, ConfigError for a newer file.

    A file that is no database any more is set aside beside the new one: its rows wait for a person.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path)
        except sqlite3.DatabaseError as fault:
            if isinstance(fault, sqlite3.OperationalError):
                raise
            aside = _set_aside(path)
            log.error("outbox is corrupt and was set aside", extra={"file": str(aside), "error": str(fault)})
            return _open(path)
    except sqlite3.OperationalError as fault:
        raise StoreFull(f"outbox {path} cannot be opened: {fault}") from fault
    except OSError as fault:
        raise StoreFull(f"outbox {path} cannot be opened: {fault.strerror}") from fault


def _open(path: Path) -> sqlite3.Connection:
    # The thread that opens is the store's worker thread, and the only one that ever uses the connection.
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL").fetchone()
        db.execute("PRAGMA synchronous=FULL")
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _set_aside(path: Path) -> Path:
    count = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{count}")).exists():
        count += 1
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        companion = path.with_name(path.name + tail)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + tail))
    return aside


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises StoreFull when the disk is full, read-only or broken; our own mistakes pass through."""
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
        raise StoreFull(f"the outbox cannot be written: {fault}") from fault
