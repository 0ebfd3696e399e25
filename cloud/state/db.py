"""The host's SQL state: opened at the newest schema, written only by the host that may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from cloud.state.link import DEADLINE_S, IDLE_S, LOCK_S, SqlLink
from cloud.state.migrate import migrate
from cloud.state.place import StateChoice

Result = TypeVar("Result")


class Fence(Protocol):
    """Who may write. Each method raises LeaseLost when another host is active by now."""

    @property
    def lease_s(self) -> float: ...

    def still(self) -> None:
        """By this machine's clock alone."""
        ...

    def hold(self, connection: Connection) -> None:
        """In the transaction of the write: until it ends, nobody else becomes active."""
        ...


class StateDb:
    """One connection, one thread. `run` reads, `write` writes."""

    def __init__(self, where: StateChoice, fence: Fence | None = None) -> None:
        self._fence = fence
        # A host that is stopped within a transaction must not keep another one from becoming active.
        idle_s = IDLE_S if fence is None else fence.lease_s
        self._link = SqlLink(where, idle_s, min(LOCK_S, idle_s), DEADLINE_S)

    @property
    def where(self) -> StateChoice:
        return self._link.where

    async def open(self) -> None:
        """Raises StoreDown when it cannot be opened or made, ConfigError when a newer program wrote it."""
        self._link.open()
        try:
            await self.write(migrate)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._link.close()

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Reads in one transaction. Raises StoreDown."""
        return await self._link.run(work)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Runs the work in one transaction, durable when it returns. Raises StoreDown, LeaseLost."""
        fence = self._fence
        if fence is None:
            return await self._link.run(work, writes=True)
        fence.still()

        def fenced(connection: Connection) -> Result:
            fence.hold(connection)
            return work(connection)

        return await self._link.run(fenced, writes=True)
