"""What the host commands: confirm, conflict, refill, rebirth. Each is judged before it touches the outbox."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable

from gateway.lanes import Lanes
from gateway.outbox.store import Outbox
from gateway.rebirths import COMMAND, OLD_ALIASES, Rebirths
from wire.compressed import ALGORITHM
from wire.delivery import COMPRESSION, CONFIRMED, CONFLICT, REBIRTH, REFILL, Confirmation, parse_confirmation
from wire.errors import PayloadError, StoreFull
from wire.payload import decode
from wire.tag import Datatype

log = logging.getLogger(__name__)

HostSaid = Callable[[int, float], None]
"""Hears a host's time in UTC ms, and the seconds since that was published which it answers."""

_LARGEST = 2**63  # SQLite holds 64 bits with sign
# A command need not repeat the datatype that was born (tck-id-payloads-metric-datatype-not-req).
_BORN = {REBIRTH: Datatype.BOOLEAN, **dict.fromkeys((CONFIRMED, CONFLICT, REFILL, COMPRESSION), Datatype.STRING)}


class Commands:
    """Judges NCMD messages. counters: shared with the uplink's status; wake: something may be sent now."""

    def __init__(
        self, outbox: Outbox, lanes: Lanes, hosts: tuple[str, ...], counters: Counter[str], wake: Callable[[], None],
        host_said: HostSaid | None = None,
    ) -> None:  # fmt: skip
        self._host_said = host_said
        self._outbox, self._lanes, self._hosts, self._counters, self._wake = outbox, lanes, hosts, counters, wake
        self.rebirths = Rebirths()
        self._inflating: set[str] = set()

    @property
    def all_inflate(self) -> bool:
        """True when every required host has said in this session that it unpacks what is compressed."""
        return bool(self._hosts) and self._inflating.issuperset(self._hosts)

    def begin(self) -> None:
        """A new session: what hosts said of themselves must be said again."""
        self._inflating.clear()

    async def handle(self, payload: bytes) -> None:
        """One NCMD. A command that cannot be read or believed is counted and told once per kind."""
        try:
            found = decode(payload, named=_BORN)
            for metric in found.metrics:
                await self._one(metric.name, metric.value, found.ts_ms)
        except PayloadError as fault:
            self._refused("commands_unreadable", str(fault))
        except StoreFull as fault:
            # Nothing is lost: the batch stays unconfirmed, is sent again, and the host confirms it again.
            self._refused("commands_not_kept", str(fault))
        self._wake()

    async def _one(self, name: str | None, value: object, ts_ms: int | None) -> None:
        if name == REBIRTH:
            if value is True:
                self._counters["rebirths_commanded"] += 1
                self.rebirths.want(COMMAND)
        elif name == CONFIRMED and isinstance(value, str):
            await self._confirmed(parse_confirmation(value), ts_ms)
        elif name == CONFLICT and isinstance(value, str):
            await self._conflict(value)
        elif name == REFILL and isinstance(value, str):
            await self._refill(value)
        elif name == COMPRESSION and isinstance(value, str):
            host, algorithm = _fields(value, ("host", str), ("algorithm", str))
            if host in self._hosts and algorithm == ALGORITHM:
                self._inflating.add(host)
        else:
            self._refused("commands_unknown", f"no such command: {str(name)[:100]}")

    async def _confirmed(self, said: Confirmation, ts_ms: int | None) -> None:
        if said.host not in self._hosts:
            self._refused("confirmations_refused", f"host {said.host[:64]!r} is not one of {', '.join(self._hosts)}")
            return
        ours = tuple(r for r in said.ranges if self._lanes.was_published(said.epoch, r.first, r.last))
        strange = len(said.ranges) - len(ours)
        if ours:
            done = await self._outbox.confirm(said._replace(ranges=ours))
            now_s = time.monotonic()
            # The host spoke after the last of these was published for the first time.
            ages = [age for i in done.ids if (age := self._lanes.window.age_s(i, now_s)) is not None]
            if ages and ts_ms is not None and self._host_said is not None:
                self._host_said(ts_ms, min(ages))
            for i in done.ids:
                self._lanes.window.confirmed(i, now_s)
            self._counters["confirmed"] += len(done.ids)
            self._counters["confirmed_again"] += done.known
            strange += done.refused
        if strange:
            self._refused("confirmations_refused", "a confirmed range that does not fit what was published", strange)

    async def _conflict(self, text: str) -> None:
        host, epoch, number, digest = _fields(text, ("host", str), ("epoch", str), ("number", int), ("digest", str))
        if host not in self._hosts or not self._lanes.was_published(epoch, number, number):
            self._refused("conflicts_refused", "a conflict about a batch that was not published")
            return
        parked = await self._outbox.park(epoch, number, digest)
        if parked is None:
            self._refused("conflicts_refused", "a conflict about a batch that does not wait")
            return
        self._lanes.window.forget(parked)
        self._counters["conflicts"] += 1
        log.error("host holds another batch under this key, parked", extra={"epoch": epoch, "number": number})

    async def _refill(self, text: str) -> None:
        host, from_ms, to_ms = _fields(text, ("host", str), ("from_ms", int), ("to_ms", int))
        if host not in self._hosts:
            self._refused("refills_refused", f"host {host[:64]!r} is not one of {', '.join(self._hosts)}")
            return
        ids = await self._outbox.refill(from_ms, to_ms)
        self._lanes.again(ids)
        self._counters["refilled"] += len(ids)
        # The births must cover what was retired since: its batches wait again.
        if ids:
            self.rebirths.want(OLD_ALIASES)
        log.info("host asks again", extra={"host": host, "from_ms": from_ms, "to_ms": to_ms, "batches": len(ids)})

    def _refused(self, kind: str, why: str, count: int = 1) -> None:
        level = logging.DEBUG if self._counters[kind] else logging.WARNING
        self._counters[kind] += count
        log.log(level, "command refused", extra={"kind": kind, "why": why[:200]})


def _fields(text: str, *wanted: tuple[str, type]) -> list:  # type: ignore[type-arg]
    """The named fields of a JSON object. Raises PayloadError when one is missing or of another type."""
    try:
        raw = json.loads(text)
        found = [raw[name] for name, _ in wanted]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise PayloadError(f"not a command: {text[:200]!r}") from fault
    if any(type(value) is not kind for value, (_, kind) in zip(found, wanted, strict=True)):
        raise PayloadError(f"not a command: {text[:200]!r}")
    if any(isinstance(value, int) and abs(value) >= _LARGEST for value in found):
        raise PayloadError(f"not a command: {text[:200]!r}")
    return found
