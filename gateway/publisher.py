"""Says what is to be said in one session: births, live batches, device states, resends, backlog, counters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.births import BirthBook
from gateway.commands import Commands
from gateway.lanes import Lanes, StateChange
from gateway.outbox.rows import AliasRow, Batch, JsonObject
from gateway.outbox.store import Outbox
from gateway.shown import Shown
from wire.body import as_historical
from wire.edge_session import DeviceBirth, EdgeSession, Message
from wire.errors import PayloadError, StoreFull

log = logging.getLogger(__name__)

# A hundred times what 1,000 tags of 20 a device make at 1 Hz: the window bounds the backlog before, by what the host
# keeps up with.
BACKLOG_PER_S = 5000.0
BACKLOG_CHUNK = 50
BACKLOG_BYTES = 500_000
COUNTERS_EVERY_S = 2.0
SHOW_EVERY_S = 1.0
HOLD_STEP_S = 0.05
TOGETHER = 8  # messages that are handed over at once; aiomqtt warns above ten


class Send(Protocol):
    """Publishes in the order given; returns once all of them are on their way."""

    async def __call__(self, *messages: Message) -> None: ...


class Publisher:
    """The one task that publishes in a session: seq is given in the order of sending."""

    def __init__(
        self,
        session: EdgeSession,
        send: Send,
        outbox: Outbox,
        lanes: Lanes,
        book: BirthBook,
        alive: dict[str, bool],
        commands: Commands,
        counters: Counter[str],
        wake: asyncio.Event,
        clock: Callable[[], int],
    ) -> None:
        self._session, self._send, self._outbox, self._lanes, self._book = session, send, outbox, lanes, book
        self._alive, self._counters, self._wake, self._clock = alive, counters, wake, clock
        self._commands, self._rebirths = commands, commands.rebirths
        self._shown, self._shown_at = Shown(book), 0.0
        self._retired: list[AliasRow] = []
        self._draining: set[str] = set()  # dead or removed devices that are born only for their backlog
        self._tokens = BACKLOG_PER_S / 10
        self._refilled_at = time.monotonic()
        self._counters_at = 0.0
        self._counters_said: JsonObject = {}
        self._last_word: asyncio.Event | None = None

    async def run(self) -> None:
        """After births, until cancelled."""
        while True:
            self._wake.clear()
            await self._reborn()
            await self._live_lane()
            more = await self._resend() or await self._backlog()
            await self._live_lane()
            await self._bury()
            await self._show_newest()
            await self._settle()
            await self._say_counters()
            if not more:
                self._rebirths.idle()
                await self._rest()

    async def births(self) -> None:
        """The first thing said: the birth sequence. What is committed from now on is live."""
        self._lanes.begin()
        self._rebirths.covered()
        self._lanes.backlog_upto(await self._outbox.last_id())
        await self._births()

    async def last_word(self) -> None:
        """Returns once counters have been said that hold now."""
        self._last_word = asyncio.Event()
        self._wake.set()
        await self._last_word.wait()

    async def _reborn(self) -> None:
        """Before every message of data: births that are wanted go ahead, and data waits until they are due."""
        while hold_s := self._rebirths.hold_s(time.monotonic()):  # noqa: ASYNC110  # a time, not a state
            # In small steps: births of another cause are due at once.
            await asyncio.sleep(min(hold_s, HOLD_STEP_S))
        if causes := self._rebirths.due(time.monotonic()):
            self._rebirths.done(time.monotonic(), self._lanes.live_waiting + BACKLOG_CHUNK)
            self._counters["rebirths"] += 1
            for cause in causes:
                self._counters[f"rebirths: {cause}"] += 1
            log.info("births are said again", extra={"cause": ", ".join(causes)})
            await self._births()

    async def _births(self) -> None:
        snapshot, self._retired = await self._outbox.snapshot(), await self._outbox.retired()
        now = self._clock()
        for device in sorted(self._session.born.difference(self._book.devices)):
            self._shown.gone(device)
            await self._send(self._session.device_death(now, device))  # removed from the configuration
        births = [
            self._book.alive(device, self._retired, now)
            for device in self._book.devices
            if self._alive.get(device, True)
        ]
        self._draining.clear()
        for message in self._session.births(now, self._book.node(snapshot, now), births):
            await self._send(message)
        for birth in births:
            self._shown.born(birth.device)
        self._counters["births"] += 1
        self._counters_said, self._counters_at = snapshot, time.monotonic()

    async def _live_lane(self) -> None:
        while True:
            await self._reborn()
            if (item := self._lanes.next_live()) is None:
                return
            if isinstance(item, StateChange):
                await self._state(item)
            else:
                self._lanes.live_sent(item, time.monotonic())
                await self._batches([(item, item.body)])

    async def _state(self, change: StateChange) -> None:
        now = self._clock()
        if change.alive:
            self._draining.discard(change.device)
            await self._send(self._session.device_birth(now, self._book.alive(change.device, self._retired, now)))
            self._shown.born(change.device)
        elif change.device in self._session.born:
            self._draining.discard(change.device)
            self._shown.gone(change.device)
            await self._send(self._session.device_death(now, change.device))

    async def _batches(self, found: Iterable[tuple[Batch, bytes]]) -> None:
        """Batches with their bodies. One of a device that is not born finds it born again, null and BAD, until its
        backlog is gone.

        The batches may be the first with an alias of a new configuration: its births went ahead (_reborn).
        """
        self._session.inflated = self._commands.all_inflate
        said: list[Message] = []
        for batch, body in found:
            if batch.device and batch.device not in self._session.born:
                birth: DeviceBirth = self._book.dead(batch.device, self._retired, self._clock())
                self._draining.add(batch.device)
                said.append(self._session.device_birth(self._clock(), birth))
            said.append(self._session.data(self._clock(), batch.device, body))
            self._rebirths.said()
            self._counters["published"] += 1
        await self._send(*said)

    async def _late(self, found: Sequence[Batch], counter: str) -> None:
        """Batches as historical, in handfuls: a rebirth waits for one at most."""
        for first in range(0, len(found), TOGETHER):
            await self._reborn()
            some: list[tuple[Batch, bytes]] = []
            for batch in found[first : first + TOGETHER]:
                try:
                    some.append((batch, as_historical(batch.body)))
                except PayloadError:
                    await self._sound((), [batch.id])
            for batch, _ in some:
                self._lanes.backlog_sent(batch, time.monotonic())
                self._counters[counter] += 1
            await self._batches(some)
            for batch, _ in some:
                self._shown.historical(batch)

    async def _resend(self) -> bool:
        """What nobody confirmed in its time goes out again, as historical; True when something went."""
        due = self._lanes.window.due(time.monotonic(), limit=BACKLOG_CHUNK)
        if not due:
            return False
        found = await self._outbox.batches(due)
        for i in set(due) - {batch.id for batch in found}:
            self._lanes.window.forget(i)
        weary = [i for i in due if self._lanes.window.weary(i)]
        await self._late(await self._sound(found, weary), "resent")
        return bool(found)

    async def _sound(self, found: Sequence[Batch], suspects: Sequence[int]) -> Sequence[Batch]:
        """Without those of the suspects that the disk has changed: they are dropped, with a record."""
        try:
            bad = await self._outbox.weed(suspects) if suspects else []
        except StoreFull as fault:
            log.debug("damaged batches are dropped later", extra={"error": str(fault)})
            return found
        for i in bad:
            self._lanes.window.forget(i)
        self._counters["damaged"] += len(bad)
        return [batch for batch in found if batch.id not in bad]

    async def _backlog(self) -> bool:
        """One chunk of what waits from before, as historical; True when there may be more to send at once."""
        now_s = time.monotonic()
        self._tokens = min(BACKLOG_PER_S / 10, self._tokens + (now_s - self._refilled_at) * BACKLOG_PER_S)
        self._refilled_at = now_s
        lanes = self._lanes
        limit = min(BACKLOG_CHUNK, int(self._tokens))
        if not lanes.todo or not lanes.window.open_for_backlog or limit < 1:
            return False
        first, last = lanes.todo.first()
        found = await self._outbox.unconfirmed(first - 1, last, limit, BACKLOG_BYTES)
        lanes.todo.remove_upto(found[-1].id if found else last)
        new = [batch for batch in found if batch.id not in lanes.window]
        self._tokens -= len(new)
        await self._late(new, "backlog")
        return True

    async def _bury(self) -> None:
        """Devices that were born to drain die again when nothing waits for them to be sent."""
        if self._draining and not self._lanes.todo:
            for device in sorted(self._draining & self._session.born):
                await self._send(self._session.device_death(self._clock(), device))
            self._draining.clear()

    async def _show_newest(self) -> None:
        """Once the backlog is out: what has nothing newer is said again as live, without key."""
        now_s = time.monotonic()
        if not self._shown or self._lanes.todo or now_s - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at = now_s
        for device in self._shown.owed:
            await self._reborn()
            for samples in self._shown.again(device).values():
                if device in self._session.born and device not in self._draining:
                    body = self._book.unkeyed(device, samples)
                    await self._send(self._session.data(self._clock(), device, body))
                    self._counters["shown_again"] += 1

    async def _settle(self) -> None:
        """Where no host confirms: what went out long enough before counts as delivered."""
        ids = self._lanes.window.settled(time.monotonic())
        if not ids:
            return
        try:
            await self._outbox.delivered(ids)
        except StoreFull as fault:
            log.debug("not noted as delivered, tried again", extra={"error": str(fault)})
            await asyncio.sleep(0.2)
            return
        for i in ids:
            self._lanes.window.forget(i)
        self._counters["settled"] += len(ids)

    async def _say_counters(self) -> None:
        last, now_s = self._last_word, time.monotonic()
        if last is None and now_s - self._counters_at < COUNTERS_EVERY_S:
            return
        snapshot = await self._outbox.snapshot()
        if self._rebirths.next_s() is not None:
            return  # births go ahead, and say the counters themselves
        # A long backlog makes the counting itself slow: it must not take more than a twentieth of the time.
        self._counters_at = time.monotonic() + 20 * (time.monotonic() - now_s)
        if snapshot != self._counters_said:
            now = self._clock()
            await self._send(self._session.data(now, "", self._book.counters(snapshot, now)))
            self._counters_said = snapshot
        if last is not None:
            last.set()
            self._last_word = None

    async def _rest(self) -> None:
        """Sleeps until something happens or the next timer runs out."""
        now_s = time.monotonic()
        wait_s = max(0.0, self._counters_at + COUNTERS_EVERY_S - now_s)
        due_s = self._lanes.window.next_due_s()
        if due_s is not None:
            wait_s = min(wait_s, max(0.0, due_s - now_s))
        if self._lanes.todo and self._lanes.window.open_for_backlog:
            wait_s = min(wait_s, 0.05)
        elif self._shown and not self._lanes.todo:
            wait_s = min(wait_s, max(0.0, self._shown_at + SHOW_EVERY_S - now_s))
        if (reborn_s := self._rebirths.next_s()) is not None:
            wait_s = min(wait_s, max(0.0, reborn_s - now_s))
        try:
            # Not wait_for: on Python 3.11 it swallows a cancellation that meets the wake.
            async with asyncio.timeout(wait_s + 0.001):
                await self._wake.wait()
        except TimeoutError:
            return
