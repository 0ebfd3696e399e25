"""The ledger's entries one page after the other, the same on DuckDB, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from cloud.state.db import StateDb
from cloud.store.embedded import EmbeddedStore
from cloud.store.port import TelemetryStore

AT_ONCE = 50_000
"""Entries of the SQL state that are looked through for one page: everybody else waits for its one connection."""
KEY = ("group", "node", "epoch", "number")
COLUMNS = (*KEY, "device", "digest", "samples", "dead", "collided", "first_ms", "last_ms")
_KEYS, _ALL = (", ".join(f'"{name}"' for name in names) for names in (KEY, COLUMNS))

Row = tuple[Any, ...]
Read = Callable[[str, Sequence[Any]], Awaitable[list[Row]]]
Key = tuple[str | int, ...]


class Entries(NamedTuple):
    """Which entries; None: all. device '': a gateway's own. number_from, number_to: both included.

    from_ms (included), to_ms (not included): those that hold samples of this time.
    """

    group: str | None = None
    node: str | None = None
    device: str | None = None
    epoch: str | None = None
    number_from: int | None = None
    number_to: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def beginning(self) -> Entries:
        """What of it says which part of the primary key's index is looked through."""
        if self.group is None:
            return Entries()
        if self.node is None:
            return Entries(self.group)
        if self.epoch is None:
            return Entries(self.group, self.node)
        return Entries(self.group, self.node, None, self.epoch, self.number_from, self.number_to)

    def where(self) -> tuple[str, list[Any]]:
        texts: list[str] = []
        values: list[Any] = []
        for text, value in (
            ('"group" = ?', self.group), ("node = ?", self.node), ("device = ?", self.device),
            ("epoch = ?", self.epoch), ("number >= ?", self.number_from), ("number <= ?", self.number_to),
            ("last_ms > 0 AND last_ms >= ?", self.from_ms), ("last_ms > 0 AND first_ms < ?", self.to_ms),
        ):  # fmt: skip
            if value is not None:
                texts.append(text)
                values.append(value)
        return "".join(f" AND {text}" for text in texts), values


class LedgerPages:
    """read: a query with '?' and its values. at_once: how many entries one page may look through; None: all of them."""

    def __init__(self, read: Read, at_once: int | None = None) -> None:
        self._read, self._at_once = read, at_once

    async def page(self, which: Entries, limit: int, after: Key | None) -> tuple[list[Row], Key | None]:
        """Rows of COLUMNS sorted by KEY, and the key behind which the next page begins. Raises StoreDown."""
        behind, begin = ("", []) if after is None else (f" AND ({_KEYS}) > (?, ?, ?, ?)", list(after))
        end = await self._end(which.beginning(), behind, begin)
        within, until = ("", []) if end is None else (f" AND ({_KEYS}) <= (?, ?, ?, ?)", list(end))
        only, values = which.where()
        rows = await self._read(
            f"SELECT {_ALL} FROM ledger WHERE 1 = 1{behind}{within}{only} ORDER BY {_KEYS} LIMIT {limit + 1:d}",  # noqa: S608 - texts of ours, values are bound
            [*begin, *until, *values],
        )
        if len(rows) > limit:
            return rows[:limit], tuple(rows[limit - 1][: len(KEY)])
        return rows, end

    async def _end(self, which: Entries, behind: str, begin: list[Any]) -> Key | None:
        """The last key that this page looks at; None: the end of the ledger."""
        if self._at_once is None:
            return None
        only, values = which.where()
        rows = await self._read(
            f"SELECT {_KEYS} FROM ledger WHERE 1 = 1{behind}{only} ORDER BY {_KEYS}"  # noqa: S608
            f" LIMIT 1 OFFSET {self._at_once - 1:d}",
            [*begin, *values],
        )
        return tuple(rows[0]) if rows else None


def ledger_pages(store: TelemetryStore, db: StateDb) -> LedgerPages:
    """Of the ledger that goes with this store."""
    if isinstance(store, EmbeddedStore):
        return LedgerPages(store.file.read)

    async def read(sql: str, values: Sequence[Any]) -> list[Row]:
        def work(con: Connection) -> list[Row]:
            asked = sql.replace("?", "%s") if con.dialect.paramstyle in ("format", "pyformat") else sql
            return [tuple(row) for row in con.exec_driver_sql(asked, tuple(values)).all()]

        return await db.run(work)

    return LedgerPages(read, AT_ONCE)
