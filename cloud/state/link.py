"""One connection to the state's database and the one thread that uses it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from cloud.state.place import PostgresDb, StateChoice
from wire.errors import StoreDown

Result = TypeVar("Result")

LOCK_S = 10.0  # how long a statement waits for another one's lock
IDLE_S = 60.0
"""A transaction whose process stands still (stopped, or its machine is gone) is ended by the server after so long."""
DEADLINE_S = 120.0  # for a whole transaction; the index of a large ledger is read in one
CLOSE_S = 2.0
CONNECT_S = (2, 5)  # at least, which is libpq's limit, and at most


class SqlLink:
    """`open`, `run`, `close`. SQLite: every commit on the disk. (Two connections to one file can lose committed writes
    on SQLite 3.40.) PostgreSQL: a lost connection is made anew by the next `run`.

    idle_s, lock_s: limits of the PostgreSQL server. deadline_s: after so long a `run` is given up and its connection
    is cut.
    """

    def __init__(
        self, where: StateChoice, idle_s: float = IDLE_S, lock_s: float = LOCK_S, deadline_s: float = DEADLINE_S
    ) -> None:
        self.where = where
        self._idle_s, self._lock_s, self._deadline_s = idle_s, lock_s, deadline_s
        self._engine: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._raw: Any = None  # the driver's connection, so that it can be cut

    @property
    def about(self) -> str:
        return f"state {'file ' if isinstance(self.where, Path) else ''}{self.where}"

    def open(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._engine = engine_of(self.where, self._idle_s, self._lock_s, self._deadline_s)
        event.listen(self._engine, "connect", self._connected)

    def _connected(self, connection: Any, _record: Any) -> None:
        self._raw = connection

    async def run(self, work: Callable[[Connection], Result], writes: bool = False) -> Result:
        """Runs the work in one transaction, committed when it returns. Raises StoreDown, and what the work raises.

        writes: without it PostgreSQL refuses to change anything.
        """
        if self._engine is None or self._thread is None:
            raise StoreDown(f"the {self.about} is not open")
        engine = self._engine

        def transaction() -> Result:
            try:
                with engine.connect() as connection:
                    if not writes and engine.dialect.name == "postgresql":
                        connection.execution_options(postgresql_readonly=True)
                    with connection.begin():
                        return work(connection)
            except SQLAlchemyError as fault:
                said = str(getattr(fault, "orig", None) or fault).strip()
                raise StoreDown(f"{self.about}: {said}") from fault

        future = asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        future.add_done_callback(_heard)
        try:
            done, _ = await asyncio.wait([future], timeout=self._deadline_s)
        except asyncio.CancelledError:
            future.cancel()  # if it has not begun
            raise
        if not done:
            future.cancel()
            self._cut()
            raise StoreDown(f"{self.about}: no answer for {self._deadline_s:g} s")
        return future.result()

    async def close(self) -> None:
        """What runs is finished, unless the server does not answer."""
        engine, thread = self._engine, self._thread
        self._engine = self._thread = None
        if thread is not None:
            ended = asyncio.get_running_loop().run_in_executor(None, thread.shutdown)
            if isinstance(self.where, PostgresDb):
                done, _ = await asyncio.wait([ended], timeout=CLOSE_S)
                if not done:
                    self._cut()
            await ended
        if engine is not None:
            engine.dispose()
        self._raw = None

    def _cut(self) -> None:
        """Ends the connection beneath whoever waits for its answer: a server that stands still must hold nobody."""
        if self._raw is None or isinstance(self.where, Path):
            return
        import psycopg  # where it is used at all

        # One that is lost already has no socket; one that is being made has its own time limit.
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._raw.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)


def _heard(future: asyncio.Future[Any]) -> None:
    """The fault of a `run` that nobody waits for any more is nobody's."""
    if not future.cancelled():
        future.exception()


def engine_of(where: StateChoice, idle_s: float, lock_s: float, deadline_s: float) -> Engine:
    """See SqlLink for the limits, which are PostgreSQL's."""
    return _sqlite(where) if isinstance(where, Path) else _postgres(where, idle_s, lock_s, deadline_s)


def _sqlite(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 5}
    )

    def pragmas(connection: Any, _record: Any) -> None:
        # Transactions are ours: the module would leave tables that are made or altered outside of them.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", pragmas)
    event.listen(engine, "begin", begin)
    return engine


def _postgres(where: PostgresDb, idle_s: float, lock_s: float, deadline_s: float) -> Engine:
    settings = {
        "synchronous_commit": "on",
        "idle_in_transaction_session_timeout": str(round(idle_s * 1000)),
        "lock_timeout": str(round(lock_s * 1000)),
        "timezone": "UTC",
    }
    arguments = {
        "connect_timeout": max(CONNECT_S[0], min(CONNECT_S[1], round(deadline_s))),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "gaugeline",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    url = URL.create(
        "postgresql+psycopg", where.username or None, where.password or None, where.host, where.port, where.database,
        dict(where.options),
    )  # fmt: skip
    return create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args=arguments)
