"""The lease: one row in the state says which one of several hosts is active, until when, by the database's clock.

Each change of the active host gives the row a greater token. Every write of the state holds the row with its own
token until it is committed (`Term.hold`), and a host becomes active only when nobody holds the row: so whoever was
active before, and wakes up late, can write nothing any more. A host that cannot renew knows by its own clock, from
before it asked, that its time is over, without having to reach anybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, text

from cloud.duty import Duty
from cloud.state.db import StateDb
from cloud.state.link import SqlLink
from cloud.state.migrate import LEASE, migrate
from cloud.state.place import PostgresDb
from wire.errors import ConfigError, LeaseLost, StoreDown

log = logging.getLogger(__name__)

RENEWALS = 4  # within one lease: three may be lost
LOOKS = 5  # of a waiting host, within one lease

_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_MADE = text("""
    INSERT INTO lease (host_id, holder, instance, token, since_ms, expires_ms) VALUES (:host, '', '', 0, 0, 0)
    ON CONFLICT DO NOTHING""")
_LOOK = text(f"SELECT holder, token, since_ms, expires_ms, {_NOW} AS now_ms FROM lease WHERE host_id = :host")  # noqa: S608
_ALONE = text("SELECT 1 FROM lease WHERE host_id = :host FOR UPDATE")
_TAKE = text(f"""
    UPDATE lease SET holder = :name, instance = :instance, token = token + 1, since_ms = {_NOW},
           expires_ms = {_NOW} + :lease_ms
    WHERE host_id = :host RETURNING token, {_NOW} AS now_ms""")  # noqa: S608
_RENEW = text(f"""
    UPDATE lease SET expires_ms = {_NOW} + :lease_ms WHERE host_id = :host AND token = :token RETURNING {_NOW}""")  # noqa: S608
_GIVE_BACK = text("UPDATE lease SET expires_ms = 0 WHERE host_id = :host AND token = :token")
_MINE = text("SELECT 1 FROM lease WHERE host_id = :host AND token = :token")
# Against it stands who takes the lease, not who renews it: a long write does not keep its own host from renewing.
_HOLD = text("SELECT 1 FROM lease WHERE host_id = :host AND token = :token FOR KEY SHARE")


class Seen(NamedTuple):
    """The row as it was looked at last. left_s: until it expires; 0 or less: nobody is active."""

    holder: str = ""
    token: int = 0
    since_ms: int = 0
    left_s: float = 0.0


class Lease:
    """This host's side of it. `open`, then `take` and `renew`; `seen` is what the last of them saw."""

    def __init__(
        self, where: PostgresDb, host_id: str, name: str, lease_s: float, groups: tuple[str, ...] = ()
    ) -> None:
        self.name, self.lease_s, self._host_id, self.groups = name, lease_s, host_id, groups
        self._instance = uuid4().hex
        self.where = where
        self._link = SqlLink(where, idle_s=lease_s, lock_s=lease_s / 2, deadline_s=lease_s)
        self.seen = Seen()

    async def open(self) -> None:
        """Raises StoreDown, and ConfigError when a newer program wrote the state."""
        self._link.open()
        try:
            await self._link.run(self._prepare, writes=True)
        except BaseException:
            await self._link.close()
            raise

    def _prepare(self, con: Connection) -> None:
        migrate(con, LEASE)
        con.execute(_MADE, {"host": self._host_id})

    async def close(self) -> None:
        await self._link.close()

    async def take(self) -> Term | None:
        """This host's term when nobody else is active. Raises StoreDown."""
        self.seen = await self._link.run(self._look)
        if self.seen.left_s > 0:
            return None
        asked_s = _now_s()
        taken = await self._link.run(self._take, writes=True)
        if taken is None:
            return None
        token, now_ms = taken
        self.seen = Seen(self.name, token, now_ms, self.lease_s)
        return Term(self, token, asked_s + self.lease_s, now_ms)

    def _look(self, con: Connection) -> Seen:
        row = con.execute(_LOOK, {"host": self._host_id}).one_or_none()
        if row is None:
            return Seen()
        return Seen(row.holder, row.token, row.since_ms, (row.expires_ms - row.now_ms) / 1000)

    def _take(self, con: Connection) -> tuple[int, int] | None:
        con.execute(_ALONE, {"host": self._host_id})  # waits for writes that are under way
        if self._look(con).left_s > 0:  # renewed, or taken, meanwhile
            return None
        asked = {"host": self._host_id, "name": self.name, "instance": self._instance, "lease_ms": self._lease_ms}
        row = con.execute(_TAKE, asked).one()
        return row.token, row.now_ms

    @property
    def _lease_ms(self) -> int:
        return round(self.lease_s * 1000)

    async def renew(self, token: int) -> int:
        """The database's time. Raises LeaseLost when another host is active, StoreDown."""
        asked = {**self._mine(token), "lease_ms": self._lease_ms}
        now_ms = await self._link.run(lambda con: con.execute(_RENEW, asked).scalar(), writes=True)
        if now_ms is None:
            raise await self._lost(token)
        self.seen = self.seen._replace(left_s=self.lease_s)
        return int(now_ms)

    async def check(self, token: int) -> None:
        if await self._link.run(lambda con: con.execute(_MINE, self._mine(token)).scalar()) is None:
            raise await self._lost(token)

    async def give_back(self, token: int) -> None:
        """So that another host need not wait. Raises StoreDown."""
        await self._link.run(lambda con: con.execute(_GIVE_BACK, self._mine(token)), writes=True)

    def hold(self, con: Connection, token: int) -> None:
        if con.execute(_HOLD, self._mine(token)).first() is None:
            raise LeaseLost(f"another host has taken the place of {self.name} (its token {token} is too old)")

    async def _lost(self, token: int) -> LeaseLost:
        self.seen = await self._link.run(self._look)
        return LeaseLost(f"{self.seen.holder} is active with token {self.seen.token}, {self.name} had {token}")

    def _mine(self, token: int) -> dict[str, Any]:
        return {"host": self._host_id, "token": token}


class Term(Duty):
    """The time in which this host is active: from one `take` until it is lost. The fence of all that it writes."""

    def __init__(self, lease: Lease, token: int, until_s: float, now_ms: int) -> None:
        super().__init__(lease.groups)
        self._lease, self.token, self._until_s = lease, token, until_s
        self._clock = (_now_s(), now_ms)

    @property
    def lease_s(self) -> float:
        return self._lease.lease_s

    @property
    def left_s(self) -> float:
        """How long this host is surely the active one, without asking."""
        return self._until_s - _now_s()

    def still(self) -> None:
        if self.left_s <= 0:
            raise LeaseLost(f"{self._lease.name} could not renew its lease of {self.lease_s:g} s")

    async def check(self) -> None:
        self.still()
        await self._lease.check(self.token)

    def hold(self, con: Connection) -> None:
        self._lease.hold(con, self.token)

    def state_ms(self, now_ms: int) -> int:
        """By the database's clock, which all hosts share: gateways believe only what is newer than what they heard."""
        at_s, database_ms = self._clock
        return database_ms + round((_now_s() - at_s) * 1000)

    async def keep(self) -> None:
        """Renews, until another host is active or the time is over: then it raises LeaseLost."""
        while True:
            await asyncio.sleep(self.lease_s / RENEWALS)
            asked_s = _now_s()
            try:
                async with asyncio.timeout(max(0.0, self.left_s)):
                    now_ms = await self._lease.renew(self.token)
            except (StoreDown, TimeoutError) as fault:
                if self.left_s <= 0:
                    why = str(fault) or "no answer"
                    raise LeaseLost(f"{self._lease.name} could not renew for {self.lease_s:g} s: {why}") from fault
                log.debug("lease could not be renewed", extra={"error": str(fault)})
            else:
                self._until_s, self._clock = asked_s + self.lease_s, (_now_s(), now_ms)

    async def end(self) -> None:
        """In order: this host has left the broker and writes no more."""
        await self._lease.give_back(self.token)


async def refuse_beside(db: StateDb, host_id: str) -> None:
    """For a host that was given no standby. Raises ConfigError when one of several is active on this state."""

    def look(con: Connection) -> str | None:
        row = con.execute(_LOOK, {"host": host_id}).one_or_none()
        return None if row is None or row.expires_ms <= row.now_ms else str(row.holder)

    holder = await db.run(look)
    if holder is not None:
        raise ConfigError(
            f"{holder} is active on the state {db.where}: give this host a name too, --standby NAME, or another --state"
        )


def _now_s() -> float:
    """Goes on while the process is stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
