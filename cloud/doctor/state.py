"""The SQL state: reachable, may we write, which schema, who is active. Nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, inspect, text

from cloud.config import Config
from cloud.doctor.finding import Finding, failed, ok
from cloud.doctor.here import unwritable
from cloud.state.link import SqlLink
from cloud.state.migrate import revision, revisions
from cloud.state.place import PostgresDb
from wire.errors import StoreDown


class States(NamedTuple):
    """holder: the name of the host that is active by the lease; '' when none is."""

    finding: Finding
    holder: str = ""


async def state(config: Config, host_runs: bool) -> States:
    where = config.state
    if isinstance(where, PostgresDb):
        return await _postgres(where, config.host_id)
    # Two connections to one file can lose committed writes on SQLite 3.40.
    return States(ok("state", f"{where}: the running host has it") if host_runs else sqlite_file(where))


def sqlite_file(path: Path) -> Finding:
    if why := unwritable(path):
        todo = "give the host's user the right to write there, or name another file with `state`"
        return failed("state", f"{path} cannot be written: {why}", todo)
    if not path.exists():
        return ok("state", f"{path} will be made")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=2)) as con:
            tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master")}
            rows = con.execute("SELECT version_num FROM alembic_version").fetchall() if _MARK in tables else []
    except sqlite3.Error as fault:
        todo = "restore it from a backup (`gaugeline cloud restore`), or name another file with `state`"
        return failed("state", f"{path}: {fault}", todo)
    return _schema(str(path), str(rows[0][0]) if rows else None, bool(tables))


_MARK = "alembic_version"


def _schema(about: str, found: str | None, anything: bool) -> Finding:
    known = revisions()
    if found is not None and found not in known:
        todo = "a newer Gaugeline wrote it: install that one again, or name another `state`"
        return failed("state", f"{about} has schema {found}, this program knows {known[-1]}", todo)
    if found == known[-1]:
        return ok("state", f"{about}, schema {found}")
    was = "is of 0.1.0" if found is None and anything else "is empty" if found is None else f"has schema {found}"
    return ok("state", f"{about} {was}; the host brings it to {known[-1]}")


class _Seen(NamedTuple):
    revision: str | None
    tables: bool
    may_create: bool
    holder: str


async def _postgres(where: PostgresDb, host_id: str) -> States:
    link = SqlLink(where, idle_s=5, lock_s=2, deadline_s=15)

    def look(con: Connection) -> _Seen:
        found = inspect(con)
        holder = ""
        if found.has_table("lease"):
            now = "extract(epoch FROM clock_timestamp()) * 1000"
            asked = text(f"SELECT holder FROM lease WHERE host_id = :id AND expires_ms > {now}")  # noqa: S608 - ours
            holder = str(con.execute(asked, {"id": host_id}).scalar() or "")
        may = con.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar()
        return _Seen(revision(con), bool(found.get_table_names()), bool(may), holder)

    link.open()
    try:
        seen = await link.run(look)
    except StoreDown as fault:
        todo = "start it, or correct `state`: host, database, user and password_file"
        return States(failed("state", str(fault), todo))
    finally:
        await link.close()
    if not seen.may_create:
        todo = f"GRANT CREATE ON SCHEMA public TO {where.username or 'its user'}: the host makes its tables itself"
        return States(failed("state", f"{where}: this user may make no tables", todo), seen.holder)
    return States(_schema(str(where), seen.revision, seen.tables), seen.holder)
