"""The cloud's whole flow on one screen: MQTT > session > store > confirm.

Nothing is confirmed before it is durable. While the store is down nothing is confirmed, what is held is bounded,
and the gateways keep the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from cloud.broker import Broker, HostLink, connected, heed_cancellation
from cloud.commands import Command, confirmations, conflict, inflates, rebirth
from cloud.dead_letters import DeadLetters
from cloud.duty import Duty
from cloud.hearing import Hearing
from cloud.ledger import Ledger, entry_of
from cloud.pending import Pending
from cloud.rebirths import Rebirths
from cloud.sorting import Sorted, Sorter
from cloud.state.host import HostState
from cloud.stats import Stats
from cloud.store.port import Batch, TelemetryStore
from wire.columns import fields_of
from wire.compressed import ALGORITHM
from wire.errors import LeaseLost, PayloadError, StoreDown, UplinkDown, UplinkRefused
from wire.host_events import Data, NodeBorn
from wire.host_node import Node
from wire.host_session import REORDER_MS, HostSession
from wire.ids import NodeId
from wire.topic import parse_topic

log = logging.getLogger(__name__)

COLLECT_S = 0.1  # messages that share a commit
PAUSE_S = 0.02  # of a gateway whose window is full, which sends again once it hears a confirmation
LONGEST_PAUSE_S = 10.0
TICK_S = 0.1
FLUSH_S = 2.0
MOST_UNSAID = 2  # rounds that are stored and not yet confirmed


class Collector:
    """`run` until cancelled.

    opened: called whenever the store was opened. about_to_write: called with the batches before they are written;
    nothing is written when it raises StoreDown. writing: held while a round is written, so that an audit sees
    whole rounds. duty: whether this host is the active one; `run` raises LeaseLost when it is not any more.
    """

    def __init__(
        self,
        broker: Broker,
        host_id: str,
        store: TelemetryStore,
        ledger: Ledger,
        state: HostState,
        dead_letters: DeadLetters,
        hearing: Hearing,
        stats: Stats,
        now_ms: Callable[[], int],
        opened: Callable[[], Awaitable[None]],
        dice: Callable[[], float] = random.random,
        reorder_ms: int = REORDER_MS,
        duty: Duty | None = None,
        about_to_write: Callable[[Sequence[Batch]], Awaitable[None]] | None = None,
    ) -> None:
        self._duty, self._broker, self._host_id = duty or Duty(), broker, host_id
        self._store, self._ledger, self._state, self._dead_letters = store, ledger, state, dead_letters
        self._hearing, self._stats, self._now_ms, self._dice = hearing, stats, now_ms, dice
        self._opened, self._about_to_write = opened, about_to_write
        self._sorter = Sorter(store, ledger, state, stats)
        self._rebirths = Rebirths(dice)
        self._pending = Pending()
        self._link: HostLink | None = None
        self._reorder_ms = reorder_ms
        self._session = HostSession(reorder_ms)
        self._stored: asyncio.Queue[Sorted] = asyncio.Queue(MOST_UNSAID)  # rounds to confirm, in order
        self._offers: list[NodeId] = []  # gateways that were born offering compressed data
        self.writing = asyncio.Lock()

    @property
    def online(self) -> bool:
        """True while there is an MQTT session."""
        return self._link is not None

    @property
    def session(self) -> HostSession:
        """What is known of the nodes now; of none is it fresh while there is no MQTT session."""
        return self._session

    def remember(self, nodes: Mapping[NodeId, Node]) -> None:
        """Births that an earlier process heard. Before `run`."""
        self._session = HostSession(remembered=nodes)

    def forget(self, node: NodeId) -> None:
        """A node that nobody expects any more; its next birth makes it known again."""
        self._session.forget(node)
        self._rebirths.forget(node)
        self._hearing.forget(node)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._again_and_again("broker", self._listen), name="collector[listen]")
                tasks.create_task(self._tick(), name="collector[tick]")
                tasks.create_task(self._again_and_again("store", self._keep), name="collector[keep]")
                tasks.create_task(self._again_and_again("state", self._confirm_all), name="collector[confirm]")
                tasks.create_task(self._again_and_again("state", self._keep_house), name="collector[house]")
        finally:
            try:
                await self._flush()
            except (StoreDown, LeaseLost) as fault:
                log.warning("the last counters were not written down", extra={"error": str(fault)})

    async def _listen(self) -> None:
        """One MQTT session: every message through the session machine, its events to where they belong."""
        await self._duty.check()  # the other host's session would be ended by ours
        duty, now_ms = self._duty, self._now_ms
        async with connected(self._broker, self._host_id, lambda: duty.state_ms(now_ms()), duty.groups) as link:
            session = HostSession(self._reorder_ms, self._session.remember())
            self._link, self._session = link, session
            self._well("broker", str(self._broker))
            try:
                async for topic, payload in link.messages():
                    self._hear(self._session, topic, payload)
                    await asyncio.sleep(0)
            finally:
                self._hearing.nobody(self._session, self._now_ms())
                self._link = None

    def _hear(self, session: HostSession, topic: str, payload: bytes) -> None:
        now_ms = self._now_ms()
        self._stats.counters["messages"] += 1
        if "/STATE/" in topic:
            return
        try:
            parsed = parse_topic(topic)
        except PayloadError as fault:
            self._hearing.reject(topic, payload, str(fault))
            return
        try:
            for event in session.receive(parsed, payload, now_ms):
                self._hearing.take(event, self._pending.put, self._rebirths, now_ms)
                if isinstance(event, NodeBorn) and event.compresses == ALGORITHM:
                    self._offers.append(event.node)
        except Exception as fault:
            # A fault of ours, told with its traceback: one gateway's message must not end the host for all of them,
            # again at every start when the broker or the gateway repeats it. Nothing of it is confirmed.
            log.exception("message stumbled over", extra={"topic": topic[:200]})
            self._hearing.reject(topic, payload, f"a fault of the host: {type(fault).__name__}")

    async def _tick(self) -> None:
        """What waited too long for its predecessor, and births to ask for."""
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self._now_ms()
            if self._link is None:
                continue
            for event in self._session.tick(now_ms):
                self._hearing.take(event, self._pending.put, self._rebirths, now_ms)
            offers, self._offers = self._offers, []
            await self.say(inflates(self._host_id, node, now_ms) for node in offers)
            for node in self._rebirths.due(now_ms):
                self._stats.counters["rebirths_asked"] += 1
                log.info("rebirth asked", extra={"node": str(node)})
                await self.say([rebirth(node, now_ms)])

    async def _keep(self) -> None:
        """Rounds: collect for a moment, sort, write, confirm."""
        async with self.writing:
            # After a fault nobody knows what was committed: the ledger says it.
            await self._store.open()
            await self._ledger.open()
        await self._opened()
        if not (self._pending.queue and "store" in self._stats.problems):  # a full disk lets itself be opened, too
            self._well("store", self._store.about)
        while True:
            await self._pending.filled.wait()
            await self._pending.collect(COLLECT_S, PAUSE_S)
            found = self._pending.take()
            try:
                # A round that has begun is finished, also when the host is told to stop.
                done = await _to_its_end(self._round(found))
            except StoreDown:
                self._pending.put_back(found)
                raise
            self._pending.put_back(done.later)
            if "store" in self._stats.problems:
                self._well("store", self._store.about)
            await self._stored.put(done)

    async def _round(self, found: list[Data]) -> Sorted:
        async with self.writing:
            done = await self._sorter.sort(found, self._now_ms())
            await self._write(done)
        self._sorter.settle(done)
        return done

    async def _write(self, done: Sorted) -> None:
        """Durable, in this order: samples, dead letters, ledger. With DuckDB samples and ledger are one commit."""
        now_ms = self._now_ms()
        if self._about_to_write is not None:
            await self._about_to_write(done.batches)
        self._duty.still()
        async with self._store.transaction():
            refused = await self._store.write([b for b in done.batches if b.samples])
            await self._dead_letters.keep([*done.letters, *done.refuse(refused)], now_ms)
            if done.records:
                await self._state.keep_records(done.records, now_ms)
            counts = done.refused_per_batch(refused)
            keyed = [b for b in done.batches if b.epoch]
            await self._ledger.add([entry_of(b, counts.get(b.key, 0)) for b in keyed])
        committed_ms = self._now_ms()
        stored = sum(len(b.samples) for b in done.batches) - len(refused)
        self._stats.stored(stored, committed_ms / 1000)
        self._stats.counters["batches_stored"] += len(keyed)
        self._stats.counters["dead_letters"] += len(done.letters) + len(refused)
        stamps = chain.from_iterable(fields_of(b.samples).stamps for b in done.batches if not b.historical)
        self._stats.latency_ms.add([float(committed_ms - ts_ms) for ts_ms in stamps])
        if refused or done.letters:
            why = (refused[0].why if refused else done.letters[0].why)[:200]
            level = logging.WARNING if self._hearing.first(f"dead letter {why[:60]}") else logging.DEBUG
            log.log(level, "dead letters", extra={"samples": len(refused) + len(done.letters), "first": why})

    async def _confirm_all(self) -> None:
        """Beside the next round, which the database takes in meanwhile."""
        while True:
            done = await self._stored.get()
            await self._duty.check()
            await self._confirm(done)

    async def _confirm(self, done: Sorted) -> None:
        """Whoever does not hear it sends again, and is confirmed again."""
        now_ms = self._now_ms()
        for key, _ in done.doubts:
            self._rebirths.want(key.node, now_ms)
        await self.say(confirmations(self._host_id, done.stored, now_ms))
        await self.say(conflict(self._host_id, key, digest, now_ms) for key, digest in done.conflicts.items())

    async def say(self, commands: Iterable[Command]) -> None:
        """Commands to edge nodes; lost when there is no session: whoever needs them asks again."""
        if self._link is None:
            return
        try:
            for topic, payload in commands:
                await self._link.publish(topic, payload)
        except UplinkDown as fault:
            log.debug("a command was not sent", extra={"error": str(fault)})

    async def _keep_house(self) -> None:
        """What was heard of gateways, into the state, now and then."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()
            self._hearing.alarms(self._now_ms())
            self._well("state", "written again")

    async def _flush(self) -> None:
        await self._hearing.flush(self._state, self._dead_letters, self._sorter.figures, self._session, self._now_ms())

    async def _again_and_again(self, part: str, work: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled: a fault is told once, and the work begins anew after a growing pause."""
        attempt = 0
        while True:
            heed_cancellation()
            try:
                await work()
                return
            except (UplinkDown, StoreDown) as fault:
                attempt = attempt + 1 if part in self._stats.problems else 1
                longest_s = LONGEST_PAUSE_S if isinstance(fault, UplinkRefused) else 0.25 * 2 ** min(attempt, 10)
                pause_s = min(LONGEST_PAUSE_S, longest_s) * (0.5 + 0.5 * self._dice())
                self._ill(part, str(fault), pause_s)
            await asyncio.sleep(pause_s)

    def _ill(self, part: str, why: str, pause_s: float) -> None:
        self._stats.counters[f"{part}_faults"] += 1
        level = logging.DEBUG if part in self._stats.problems else logging.WARNING
        self._stats.problems[part] = f"{part} is not available: {why}"
        log.log(level, "%s is not available, trying again", part, extra={"error": why, "next_try_s": round(pause_s, 1)})

    def _well(self, part: str, about: str) -> None:
        again = self._stats.problems.pop(part, None) is not None
        if again or part != "state":
            log.info("%s is available%s", part, " again" if again else "", extra={"about": about})


async def _to_its_end(work: Coroutine[Any, Any, Sorted]) -> Sorted:
    task = asyncio.create_task(work, name="collector[round]")
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # also when nobody waits any more
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=3)
        raise
