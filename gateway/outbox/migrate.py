"""Brings an outbox file to the newest schema: numbered SQL files, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from wire.errors import ConfigError

_LARGEST = 9_999  # as many versions as four digits of a file's name can say


def schema_versions() -> list[tuple[int, str]]:
    """(version, SQL) of every file of the schema folder, in order."""
    found = [f for f in files("gateway.outbox.schema").iterdir() if f.name.endswith(".sql")]
    return sorted((int(f.name[:4]), f.read_text(encoding="utf-8")) for f in found)


def migrate(db: sqlite3.Connection) -> int:
    """The version that the file has now. Raises ConfigError when a newer program wrote it."""
    versions = schema_versions()
    newest = versions[-1][0]
    (current,) = db.execute("PRAGMA user_version").fetchone()
    if not 0 <= current <= _LARGEST:
        raise sqlite3.DatabaseError(f"no such schema: {current}")  # the number itself was changed
    if current > newest:
        raise ConfigError(
            f"the outbox has schema {current}, this program knows {newest}: a newer Gaugeline wrote it; "
            "install that one again, or name another outbox.path"
        )
    for version, sql in versions:
        if version > current:
            db.execute("BEGIN IMMEDIATE")
            try:
                for statement in _statements(sql):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version}")
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
    return newest


def _statements(sql: str) -> Iterator[str]:
    """One statement after the other: executescript would commit what is open."""
    text = ""
    for line in sql.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
