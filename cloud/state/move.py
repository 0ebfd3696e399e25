"""The whole state from one database into another: SQLite to PostgreSQL, or back. The source is only read.

All tables go in one transaction of the target. Before it is committed every table is read back from there, and must
have as many rows, and the same content, as it has in the source.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from cloud.state.link import LOCK_S, engine_of
from cloud.state.migrate import migrate, revision, revisions
from cloud.state.place import PostgresDb, StateChoice
from cloud.state.schema import lease, metadata
from wire.errors import ConfigError, StoreDown

ROWS = 2_000
DEADLINE_S = 6 * 3600.0
LOOKS, LOOK_S = 10, 0.2
"""The server takes a moment to notice that a host has gone."""
_LOCK = 7_236_455_002  # of PostgreSQL: of two that move into one database, one waits
Progress = Callable[[str, int, int], None]  # table, rows done, all rows


class Moved(NamedTuple):
    """rows, sha256: of a table, in source and target."""

    table: str
    rows: int
    sha256: str


class Content(NamedTuple):
    rows: int
    sha256: str


def tables() -> list[Table]:
    """Whose content makes a state. The lease is the hosts' own of one database, and stays behind."""
    return [table for table in metadata.sorted_tables if table is not lease]


def move(source: StateChoice, target: StateChoice, progress: Progress = lambda *_: None) -> list[Moved]:
    """Raises ConfigError with what to do: a host runs on it, the target is not empty, another schema; StoreDown."""
    if source == target:
        raise ConfigError(f"{source}: that is where the state is already")
    before = set(_files(target))
    try:
        with _told(source), _alone(source) as out, out.begin(), _told(target), _connected(target) as into, into.begin():
            _no_host(out, source)
            _no_host(into, target)
            _ours(out, source)
            return _copied(out, into, target, progress)
    except BaseException:
        for path in set(_files(target)) - before:
            path.unlink()
        raise


@contextmanager
def _alone(where: StateChoice) -> Iterator[Connection]:
    """The source. A SQLite file is nobody else's meanwhile; what PostgreSQL shows is of one moment."""
    if isinstance(where, PostgresDb):
        with _connected(where) as con:
            yield con.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return
    _there(where)
    raw = sqlite3.connect(where, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        try:
            # A connection holds a lock on the file as long as it is open, which a host's always is.
            raw.execute("PRAGMA locking_mode=EXCLUSIVE")
            raw.execute("SELECT count(*) FROM sqlite_master")
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("ROLLBACK")
        except sqlite3.OperationalError as fault:
            raise ConfigError(f"{where} is in use ({fault}): stop the host first") from fault
        except sqlite3.DatabaseError as fault:
            raise ConfigError(f"{where} is no state file: {fault}") from fault
        engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        event.listen(engine, "begin", lambda con: con.exec_driver_sql("BEGIN"))
        with engine.connect() as con:
            yield con
        engine.dispose()
    finally:
        raw.close()


@contextmanager
def _connected(where: StateChoice) -> Iterator[Connection]:
    engine = engine_of(where, DEADLINE_S, LOCK_S, DEADLINE_S)
    try:
        with engine.connect() as con:
            yield con
    finally:
        engine.dispose()


@contextmanager
def _told(where: StateChoice) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as fault:
        raise StoreDown(f"state {where}: {str(getattr(fault, 'orig', None) or fault).strip()}") from fault


def _no_host(con: Connection, where: StateChoice) -> None:
    """Raises ConfigError when a host is connected: every one has a name, and is connected as long as it runs."""
    if con.dialect.name != "postgresql":
        return
    for _ in range(LOOKS):
        con.execute(text("SELECT pg_stat_clear_snapshot()"))
        others = con.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'gaugeline' AND pid <> pg_backend_pid()"
            )
        ).scalar()
        if not others:
            return
        time.sleep(LOOK_S)
    raise ConfigError(f"a host is connected to {where}: stop every host on it first")


def _ours(con: Connection, where: StateChoice) -> None:
    found, wanted = revision(con), revisions()[-1]
    if found != wanted:
        raise ConfigError(
            f"{where} has schema {found or 'none'}, this program has {wanted}: start the host on it once with this"
            " version, stop it, and move it then"
        )


def _copied(source: Connection, target: Connection, place: StateChoice, progress: Progress) -> list[Moved]:
    if target.dialect.name == "postgresql":
        target.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    there = set(inspect(target).get_table_names()) & {table.name for table in metadata.sorted_tables}
    full = [name for name in sorted(there) if target.execute(text(f'SELECT 1 FROM "{name}" LIMIT 1')).first()]  # noqa: S608
    if full:
        raise ConfigError(
            f"{place} is not empty: {', '.join(full)} have rows; give an empty database, or drop what is there"
        )
    migrate(target)
    moved = []
    for table in tables():
        total = source.execute(select(func.count()).select_from(table)).scalar() or 0
        done = 0
        progress(table.name, 0, total)
        for rows in _pieces(source, table):
            target.execute(insert(table), rows)
            done += len(rows)
            progress(table.name, done, total)
        mine, its = content(source, table), content(target, table)
        if mine != its:
            raise ConfigError(
                f"{table.name}: {mine.rows:,} rows were read and {its.rows:,} are there, or they differ; nothing was"
                " moved: this is a fault of ours, please report it"
            )
        moved.append(Moved(table.name, mine.rows, mine.sha256))
    _count_on(target)
    return moved


def _count_on(target: Connection) -> None:
    """PostgreSQL numbers new letters after those that came with their numbers."""
    if target.dialect.name == "postgresql":
        target.execute(
            text(
                "SELECT setval(pg_get_serial_sequence('dead_letters', 'id'),"
                " greatest(1, (SELECT coalesce(max(id), 1) FROM dead_letters)),"
                " EXISTS (SELECT 1 FROM dead_letters))"
            )
        )


def _pieces(con: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    with con.execute(select(table), execution_options={"yield_per": ROWS}) as result:
        for rows in result.mappings().partitions(ROWS):
            yield [dict(row) for row in rows]


def content(con: Connection, table: Table) -> Content:
    """Rows and a sum of their hashes: the order in which a database gives them does not matter.

    A character 0, which PostgreSQL cannot hold, counts as its sign: that is what it becomes there.
    """
    total, n = 0, 0
    for rows in _pieces(con, table):
        for row in rows:
            said = repr([v.replace("\0", "␀") if isinstance(v, str) else v for v in row.values()])
            total += int.from_bytes(hashlib.sha256(said.encode()).digest(), "big")
            n += 1
    return Content(n, f"{total % (1 << 256):064x}")


class Info(NamedTuple):
    """schema: None where there is none yet."""

    place: str
    schema: str | None
    newest: str
    tables: dict[str, int]
    bytes: int


def info(where: StateChoice) -> Info:
    """Also while a host runs. Raises ConfigError, StoreDown."""
    if isinstance(where, Path):
        _there(where)
    with _told(where), _connected(where) as con, con.begin():
        names = sorted(set(inspect(con).get_table_names()) & {t.name for t in metadata.sorted_tables})
        count = {n: con.execute(text(f'SELECT count(*) FROM "{n}"')).scalar() or 0 for n in names}  # noqa: S608
        if isinstance(where, PostgresDb):
            size = con.execute(text("SELECT pg_database_size(current_database())")).scalar() or 0
        else:
            size = sum(path.stat().st_size for path in _files(where))
        return Info(str(where), revision(con), revisions()[-1], count, size)


def _there(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no state file; name it with --state, or give the host's --config")


def _files(where: StateChoice) -> list[Path]:
    if isinstance(where, PostgresDb):
        return []
    return [path for path in (where, Path(f"{where}-wal"), Path(f"{where}-shm")) if path.exists()]
