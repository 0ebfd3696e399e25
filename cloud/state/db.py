"""The SQL state's one connection: SQLite, every commit on the disk before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from cloud.state.schema import metadata
from wire.errors import StoreDown

Result = TypeVar("Result")


def _pragmas(connection, _record) -> None:  # type: ignore[no-untyped-def]  # a DBAPI connection of sqlite3
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


class StateDb:
    """One SQLite file, one connection, one thread. (Two connections can lose committed writes on SQLite 3.40.)"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Raises StoreDown when the file cannot be opened or made."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        engine = create_engine(
            f"sqlite:///{self.path}", poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 5}
        )
        event.listen(engine, "connect", _pragmas)
        self._engine = engine
        try:
            await self.run(metadata.create_all)
        except StoreDown:
            await self.close()
            raise

    async def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Runs the work in one transaction, committed when it returns. Raises StoreDown."""
        if self._engine is None or self._thread is None:
            raise StoreDown(f"the state file {self.path} is not open")
        engine = self._engine

        def transaction() -> Result:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as fault:
                said = getattr(fault, "orig", None) or fault
                raise StoreDown(f"state file {self.path}: {said}") from fault

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
