"""A backup made by the running host: the DuckDB file is its own, so nobody else can copy it.

While no round of the collector is written, the state is copied through SQLite's online backup, and a transaction on the
DuckDB file begins, which sees it as it is at this moment. Then the collector goes on, and the file is copied from that
transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from cloud.config import Config, DuckDbFile, InfluxBucket, InfluxV1
from cloud.state.db import StateDb
from cloud.state.place import PostgresDb
from cloud.store.embedded import EmbeddedStore
from cloud.store.port import TelemetryStore
from wire.errors import ConfigError

MANIFEST = "backup.json"
STATE, STORE = "state.db", "samples.duckdb"
FORMAT = 1


class Backups:
    """writing: held while a round is written."""

    def __init__(
        self, config: Config, store: TelemetryStore, db: StateDb, writing: asyncio.Lock, now_ms: Callable[[], int]
    ) -> None:
        self._config, self._store, self._db, self._writing, self._now_ms = config, store, db, writing, now_ms
        self._one = asyncio.Lock()

    async def make(self, target: Path) -> dict[str, Any]:
        """The manifest. Raises StoreDown, and ConfigError: the folder is not empty or cannot be made, or the state is
        in PostgreSQL."""
        if isinstance(self._db.where, PostgresDb):
            raise ConfigError(_with_its_own_tools(self._db.where, self._config))
        if self._one.locked():
            raise ConfigError("a backup is being made; try again when it is done")
        async with self._one:
            temporary = target.with_name(f".{target.name}.unfinished")
            try:
                await asyncio.to_thread(_make_room, target, temporary)
                moment_ms = await self._copy(temporary)
                return await asyncio.to_thread(self._finish, temporary, target, moment_ms)
            except OSError as fault:
                raise ConfigError(
                    f"backup into {target}: {fault.strerror or fault}; choose a folder that the host may write"
                ) from fault
            finally:
                if temporary.exists():
                    await asyncio.to_thread(shutil.rmtree, temporary, True)

    async def _copy(self, folder: Path) -> int:
        async with AsyncExitStack() as stack:
            async with self._writing:
                moment_ms = self._now_ms()
                await self._db.run(lambda con: _copy_sqlite(con, folder / STATE))
                if isinstance(self._store, EmbeddedStore):
                    snapshot = await stack.enter_async_context(self._store.file.snapshot())
            if isinstance(self._store, EmbeddedStore):
                await snapshot(folder / STORE)
        return moment_ms

    def _finish(self, temporary: Path, target: Path, moment_ms: int) -> dict[str, Any]:
        files = {}
        for path in sorted(temporary.iterdir()):
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
        manifest = {
            "format": FORMAT,
            "made": datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "made_ms": moment_ms,
            "gaugeline": version("gaugeline"),
            "store": self._store.about,
            "files": files,
            "also": also(self._config),
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        with suppress(FileNotFoundError):
            target.rmdir()  # an empty folder that was there
        temporary.rename(target)
        return manifest


def also(config: Config) -> list[str]:
    """What else belongs to a backup of this host, in words."""
    words = []
    if not isinstance(config.store, DuckDbFile):
        words.append(
            f"the samples are in InfluxDB and not in this backup: run `{_influx_backup(config.store)}` on its machine"
            " right after this one, and restore both together"
        )
    if config.archive is not None:
        words.append("the archive is not in this backup: copy its folder, which never changes a file that it names")
    words.append("cloud.yaml, the tariff and password files are yours: keep a copy of them")
    return words


def _influx_backup(store: InfluxV1 | InfluxBucket) -> str:
    """The server's own command. 2.x: docs.influxdata.com/influxdb/v2/admin/backup-restore/backup."""
    if isinstance(store, InfluxV1):
        return f"influxd backup -portable -database {store.database} DIR"
    return f"influx backup --bucket {store.bucket} DIR"


def _make_room(target: Path, temporary: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"backup into {target}: there is something already; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(mode=0o700)


def _with_its_own_tools(state: PostgresDb, config: Config) -> str:
    first = f"the state is in PostgreSQL: run `pg_dump --format=custom --file=state.dump --dbname={state}`"
    if not isinstance(config.store, DuckDbFile):
        return f"{first}, then `{_influx_backup(config.store)}`, and restore both together"
    return f"{first} while this host is stopped, copy {config.store.path} too, and restore both together"


def _copy_sqlite(connection: Connection, target: Path) -> None:
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
