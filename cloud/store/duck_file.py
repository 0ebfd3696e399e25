"""One DuckDB file: its one writing transaction at a time, and readers in threads of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from cloud.store.duck_schema import SCHEMA
from wire.errors import StoreDown

Result = TypeVar("Result")

INTERRUPT_S = 0.05
REPLACE_S = 30.0


class DuckFile:
    """A DuckDB file belongs to one process; the host's store and ledger share this object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._con: duckdb.DuckDBPyConnection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._writing = asyncio.Lock()
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._snapshots = 0  # open ones: each has a cursor of its own for as long
        self._shut = False  # nobody begins to read
        self._gate = threading.Condition()  # between readers and whoever closes
        self._on_commit: list[Callable[[], None]] = []
        self._on_rollback: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Raises StoreDown when the file cannot be opened, or another process has it."""
        if self._con is None:
            # A connection refuses a call while another one runs. In one thread they follow each other, also when
            # whoever waited for the first one was cancelled. Readers have cursors, which are their own connections.
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="duckdb")
            await self._in_order(self._connect)

    def _connect(self) -> None:
        """In the one thread, where `_disconnect` follows it, also when nobody waits for it any more."""
        if self._con is None:
            con = duckdb.connect(str(self.path))
            try:
                con.execute(SCHEMA)
            except duckdb.Error:
                con.close()
                raise
            self._con = con

    async def close(self) -> None:
        """Once it returns the file is anybody's, whatever ran before: readers that nobody waits for are interrupted."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
        except duckdb.Error as fault:
            raise StoreDown(f"{self.path}: {fault}") from fault
        finally:
            thread.shutdown(wait=False)

    def _disconnect(self) -> None:
        with self._gate:
            con, self._con = self._con, None
            while not self._gate.wait_for(lambda: not self._readers, INTERRUPT_S):  # one may only begin its query now
                for cursor in self._readers:
                    cursor.interrupt()
        if con is not None:
            con.close()

    @contextmanager
    def _reader(self, of: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor while it is used, in a thread; the file is not closed meanwhile. of: one that is there already."""
        with self._gate:
            if of is None:
                self._gate.wait_for(lambda: not self._shut)
            cursor = of or self._connection().cursor()
            self._readers.add(cursor)
        try:
            yield cursor
        finally:
            if of is None:
                cursor.close()
            with self._gate:
                self._readers.discard(cursor)
                self._gate.notify_all()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """BEGIN, and COMMIT at the end; ROLLBACK when anything is raised inside."""
        async with self._writing:
            await self.open()  # again, when a fault closed it
            self._on_commit.clear()
            self._on_rollback.clear()
            try:
                await self.execute("BEGIN")
                yield
                await self.execute("COMMIT")
            except BaseException:
                await asyncio.shield(self._roll_back())
                raise
            for done in self._on_commit:
                done()

    async def _roll_back(self) -> None:
        """After a fault the connection may be unusable (disk full): it is closed, the next transaction opens anew."""
        for undo in self._on_rollback:
            undo()
        try:
            await self.execute("ROLLBACK")
        except StoreDown as fault:
            if not isinstance(fault.__cause__, duckdb.TransactionException):  # that one: there was none to roll back
                await self.close()

    def on_commit(self, done: Callable[[], None]) -> None:
        """To be called after the COMMIT of the transaction that runs now."""
        self._on_commit.append(done)

    def on_rollback(self, undo: Callable[[], None]) -> None:
        self._on_rollback.append(undo)

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """A statement of the running transaction."""
        con = self._connection()
        await self._in_order(lambda: con.execute(sql, list(values)))

    async def changed(self, sql: str, values: Sequence[Any] = ()) -> int:
        """A DELETE or UPDATE of the running transaction: how many rows it changed."""
        con = self._connection()
        ((rows,),) = await self._in_order(lambda: con.execute(sql, list(values)).fetchall())
        return int(rows)

    async def insert(self, table: str, columns: dict[str, Any]) -> None:
        """A bulk insert of equally long numpy columns into the table's columns of the same names."""
        con = self._connection()
        names = ", ".join(f'"{name}"' for name in columns)

        def work() -> None:
            con.register("incoming", columns)
            con.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")  # noqa: S608 - names are ours
            con.unregister("incoming")

        await self._in_order(work)

    async def replace(self, table: str, columns: dict[str, Any], keys: Sequence[str], bounds: tuple[int, int]) -> None:
        """`insert` in the place of rows with the same keys. bounds: lowest and highest of the last key."""
        con = self._connection()
        names = ", ".join(f'"{name}"' for name in columns)
        same = " AND ".join(f"{table}.{key} = incoming.{key}" for key in keys)

        def work() -> None:
            con.register("incoming", columns)
            # The bounds let DuckDB pass over most of the table.
            within = f"{table}.{keys[-1]} BETWEEN ? AND ?"
            con.execute(f"DELETE FROM {table} USING incoming WHERE {within} AND {same}", list(bounds))  # noqa: S608
            con.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")  # noqa: S608 - names are ours
            con.unregister("incoming")

        await self._in_order(work)

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, in a thread, through a cursor of its own: sees what is committed."""

        def work() -> list[tuple[Any, ...]]:
            with self._reader() as cursor:
                rows: list[tuple[Any, ...]] = cursor.execute(sql, list(values)).fetchall()
                return rows

        return await self._in_thread(work)

    async def arrays(self, sql: str, values: Sequence[Any] = ()) -> dict[str, Any]:
        """The same, as numpy columns (masked where NULL)."""

        def work() -> dict[str, Any]:
            with self._reader() as cursor:
                columns: dict[str, Any] = cursor.execute(sql, list(values)).fetchnumpy()
                return columns

        return await self._in_thread(work)

    async def table(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The same, as an Arrow table."""

        def work() -> Any:
            with self._reader() as cursor:
                return cursor.sql(sql, params=list(values)).to_arrow_table()

        return await self._in_thread(work)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[[Path], Awaitable[None]]]:
        """All that is committed now; what it yields copies it into a new DuckDB file, whatever is written meanwhile."""
        kept = asyncio.ensure_future(asyncio.to_thread(self._cursor_kept))
        try:
            own = await asyncio.shield(kept)
        except asyncio.CancelledError:
            kept.add_done_callback(lambda done: None if done.exception() else self._given_back(done.result()))
            raise

        def begin() -> str:
            with self._reader(own) as cursor:
                cursor.execute("BEGIN")
                ((name, _),) = cursor.execute("SELECT current_database(), count(*) FROM ledger").fetchall()
                return str(name)

        def copy(source: str, target: Path) -> None:
            path = str(target).replace("'", "''")
            with self._reader(own) as cursor:
                cursor.execute(f"ATTACH '{path}' AS backup_copy")
                cursor.execute(f'COPY FROM DATABASE "{source}" TO backup_copy')
                cursor.execute("COMMIT")
                cursor.execute("DETACH backup_copy")

        try:
            source = await self._in_thread(begin)
            yield lambda target: self._in_thread(lambda: copy(source, target))
        finally:
            await asyncio.to_thread(self._given_back, own)

    def _cursor_kept(self) -> duckdb.DuckDBPyConnection:
        with self._gate:
            self._gate.wait_for(lambda: not self._shut)
            cursor = self._connection().cursor()
            self._snapshots += 1
            return cursor

    def _given_back(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.close()
        with self._gate:
            self._snapshots -= 1
            self._gate.notify_all()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing is written meanwhile."""
        async with self._writing:
            await self.open()
            yield

    async def take_place(self, other: Path) -> None:
        """Another file, which nobody has open, takes the place of this one, once nobody reads. Within `still`.

        Raises StoreDown when somebody reads for too long; then all is as it was.
        """
        await self._in_order(lambda: self._replace(other))

    def _replace(self, other: Path) -> None:
        with self._gate:
            self._shut = True
            try:
                # An open cursor would keep the old file, and the next connection would be one to it.
                if not self._gate.wait_for(lambda: not self._readers and not self._snapshots, REPLACE_S):
                    raise StoreDown(f"{self.path} cannot be replaced: somebody reads for longer than {REPLACE_S:g} s")
                con, self._con = self._connection(), None  # when this fails the next transaction opens it anew
                con.close()
                other.replace(self.path)
                self._connect()
            finally:
                self._shut = False
                self._gate.notify_all()

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            raise StoreDown(f"{self.path} is not open")
        return self._con

    async def _in_order(self, work: Callable[[], Result]) -> Result:
        """A call of the one writing connection."""
        if self._thread is None:
            raise StoreDown(f"{self.path} is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except duckdb.Error as fault:
            raise StoreDown(f"{self.path}: {fault}") from fault

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.to_thread(work)
        except duckdb.Error as fault:
            raise StoreDown(f"{self.path}: {fault}") from fault
