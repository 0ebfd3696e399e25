"""The way up: one MQTT session after the other, each with a will of its own, births only while the host is there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.births import BirthBook
from gateway.brokers import HostGone, Turns
from gateway.commands import Commands, HostSaid
from gateway.config.convert import Broker
from gateway.lanes import Lanes, figures
from gateway.link import Link, first_of, pass_cancellation
from gateway.outbox.rows import Committed
from gateway.outbox.store import Outbox
from gateway.primary import PrimaryHost
from gateway.publisher import TOGETHER, Publisher
from gateway.rebirths import CONFIGURATION, NEW_TAGS
from gateway.resend import ResendWindow
from gateway.tls import tls_context
from wire.edge_session import EdgeSession, Message, next_bd_seq
from wire.errors import PayloadError, StoreFull, UplinkDown, UplinkRefused
from wire.ids import NodeId
from wire.topic import NAMESPACE, state_topic

log = logging.getLogger(__name__)

_DEATH_S = 2.0  # for the last word: the network may be gone


class Uplink:
    """Keeps a session up at one of the brokers. state: 'down', 'connecting', 'waiting for host', 'online'."""

    def __init__(
        self,
        brokers: Sequence[Broker],
        node: NodeId,
        hosts: tuple[str, ...],
        outbox: Outbox,
        book: BirthBook,
        window: ResendWindow,
        clock: Callable[[], int],
        compress: bool = False,
        host_said: HostSaid | None = None,
    ) -> None:
        self._node, self._outbox, self._book, self._clock = node, outbox, book, clock
        self._turns, self._compress = Turns(brokers), compress
        self._host = PrimaryHost(hosts[0] if hosts else "")
        self._host_changed = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._wake = asyncio.Event()
        self._lanes = Lanes(window)
        self.counters: Counter[str] = Counter()
        self._commands = Commands(outbox, self._lanes, hosts, self.counters, self._wake.set, host_said)
        self._alive: dict[str, bool] = {}
        self._publisher: Publisher | None = None
        self._bd_seq: int | None = None
        self._born_aliases: frozenset[int] = frozenset()
        self.state = "down"
        self.trouble = ""
        outbox.on_commit = self._committed

    def _committed(self, commit: Committed) -> None:
        self._alive.update(commit.states)
        self._lanes.committed(commit)
        self._wake.set()

    def reborn(self) -> None:
        """The book says something else now: births go ahead of everything that follows."""
        aliases = self._aliases()
        self._commands.rebirths.want(NEW_TAGS if aliases - self._born_aliases else CONFIGURATION)
        self._born_aliases |= aliases
        self._wake.set()

    def _aliases(self) -> frozenset[int]:
        return frozenset(alias for of_device in self._outbox.aliases.values() for alias in of_device.values())

    async def run(self) -> None:
        """Until cancelled. One WARNING when the uplink goes down, one INFO when it is back."""
        while True:
            # A session that is just failing swallows a cancellation: a TaskGroup of Python 3.11 whose child has failed
            # heeds no other end. Then it is heard here.
            pass_cancellation()
            try:
                # In a task of its own: on Python 3.11 a TaskGroup whose child fails while the parent already waits
                # leaves the parent counted as cancelled for ever, and _pass_cancellation would end the next session.
                await asyncio.create_task(self._session(), name="uplink session")
            except UplinkDown as fault:
                self._went_down(fault)
                left, known = self._turns.current, str(fault) == self._turns.trouble
                # random: jitter only, so that a site's gateways do not come back in step.
                wait_s = self._turns.failed(fault, random.random(), time.monotonic())  # noqa: S311
                refused = isinstance(fault, UplinkRefused)
                fields: dict[str, Any] = {"broker": str(left), "error": str(fault), "next_try_s": round(wait_s, 1)}
                if self._turns.several:
                    self.counters["broker_changes"] += left is not self._turns.current
                    fields["next_broker"] = str(self._turns.current)
                event = "broker refuses this gateway" if refused else "uplink down, data is kept"
                log.log(logging.DEBUG if known else logging.WARNING, event, extra=fields)
                await asyncio.sleep(wait_s)

    def _went_down(self, fault: UplinkDown) -> None:
        self.state, self.trouble = "down", str(fault)

    async def _next_session(self) -> EdgeSession:
        try:
            self._bd_seq = await self._outbox.next_bd_seq()
        except StoreFull:
            # A full disk must not keep the gateway from delivering: that is what empties it.
            self._bd_seq = next_bd_seq(self._bd_seq)
        return EdgeSession(self._node, self._bd_seq, self._compress)

    async def _session(self) -> None:
        """One connection. Raises UplinkDown, UplinkRefused, HostGone."""
        session = await self._next_session()
        broker = self._turns.current
        # The files are read anew for every session: a renewed certificate needs no restart.
        tls = None if broker.tls is None else await asyncio.to_thread(tls_context, broker.tls)
        link = Link(broker, tls, self._node, session.death(self._clock()))
        self._host.begin()
        self._subscribed.clear()
        self._commands.begin()
        try:
            async with link.client:
                await self._connected(link.client, session)
        except aiomqtt.MqttError as fault:
            raise link.translated(fault) from fault
        except ExceptionGroup as group:
            down, rest = group.split((aiomqtt.MqttError, UplinkDown))
            if rest is not None or down is None:
                raise
            raise link.translated(first_of(down)) from group
        finally:
            self._lanes.end()
            self._publisher = None

    async def _connected(self, client: aiomqtt.Client, session: EdgeSession) -> None:
        self.counters["sessions"] += 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(client), name="uplink listens")
                group.create_task(self._speak(client, session), name="uplink speaks")
        finally:
            await self._say_death(client, session)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """Commands at QoS 1, as the specification asks (tck-id-message-flow-edge-node-ncmd-subscribe)."""
        group, node = self._node
        topics = [f"{NAMESPACE}/{group}/NCMD/{node}", f"{NAMESPACE}/{group}/DCMD/{node}/#"]
        if self._host.host:
            topics.append(state_topic(self._host.host))
        for topic in topics:
            for code in await client.subscribe(topic, qos=1):
                if isinstance(code, ReasonCode) and code.is_failure:
                    raise UplinkRefused(
                        f"the broker refuses the subscription {topic}: give this user the right to read it"
                    )

    async def _listen(self, client: aiomqtt.Client) -> None:
        await self._subscribe(client)
        pass_cancellation()
        self._become("waiting for host")
        self._subscribed.set()
        state = state_topic(self._host.host)
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            if str(message.topic) == state:
                self._hear_state(payload)
            elif str(message.topic).split("/")[2] == "NCMD":
                await self._commands.handle(payload)
            else:
                self.counters["commands_unknown"] += 1  # DCMD: nothing can be written to yet

    def _hear_state(self, payload: bytes) -> None:
        try:
            changed = self._host.hear(payload)
        except PayloadError as fault:
            self.counters["commands_unreadable"] += 1
            log.debug("state unreadable", extra={"error": str(fault)})
            return
        self._host_changed.set()
        born = changed and self._publisher is not None
        if self._host.away and (born or self._turns.several):
            raise HostGone(f"host {self._host.host} is offline")
        if self._host.behind:
            raise HostGone(f"host {self._host.host} says online with a time before its last STATE: asked anew")

    async def _speak(self, client: aiomqtt.Client, session: EdgeSession) -> None:
        await self._subscribed.wait()
        await self._host_online()

        async def send(*messages: Message) -> None:
            # Tasks begin in the order in which they are made, and publish hands a message over in its first step: the
            # order is kept, and messages share turns of the loop instead of taking five each.
            for first in range(0, len(messages), TOGETHER):
                some = messages[first : first + TOGETHER]
                await asyncio.gather(*(client.publish(str(m.topic), m.payload, qos=m.qos) for m in some))
                pass_cancellation()

        self._born_aliases = self._aliases()
        self._publisher = Publisher(
            session, send, self._outbox, self._lanes, self._book, self._alive, self._commands, self.counters,
            self._wake, self._clock,
        )  # fmt: skip
        await self._publisher.births()
        self._turns.born()
        self._become("online")
        await self._publisher.run()

    async def _host_online(self) -> None:
        """Births may be said. With other brokers to look at, it is not waited for ever. Raises HostGone."""
        wait_s = self._turns.current.host_wait_s if self._turns.several else None
        try:
            async with asyncio.timeout(wait_s):
                while not self._host.online:
                    self._host_changed.clear()
                    await self._host_changed.wait()
        except TimeoutError as fault:
            raise HostGone(f"host {self._host.host} did not come online within {wait_s:g} s") from fault

    def _become(self, state: str) -> None:
        self.state = state
        if state == "online":
            self.trouble = ""
        log.info("uplink", extra={"state": state, "broker": str(self._turns.current), "host": self._host.host})

    async def _say_death(self, client: aiomqtt.Client, session: EdgeSession) -> None:
        """An intended leave publishes NDEATH: the DISCONNECT that follows discards the will."""
        death = session.death(self._clock())
        try:
            # QoS 1 so that the broker has it before the connection ends.
            await client.publish(str(death.topic), death.payload, qos=1, timeout=_DEATH_S)
        except aiomqtt.MqttError as fault:
            log.debug("no last word, the will speaks", extra={"error": str(fault)})

    async def drain(self, at_most_s: float, offline_s: float = 2.0) -> bool:
        """Waits until everything is confirmed; gives up early when nobody is there. True when all is confirmed."""
        began = time.monotonic()
        while (waiting := (await self._outbox.pending())[0]) and time.monotonic() - began < at_most_s:
            if self.state != "online" and time.monotonic() - began > offline_s:
                break
            if not self._lanes.window.awaits and self._lanes.idle:
                break  # nobody will confirm: what went out lately is kept, and sent again at the next start
            await asyncio.sleep(0.05)
        if self._publisher is not None:
            try:
                async with asyncio.timeout(_DEATH_S):
                    await self._publisher.last_word()
            except TimeoutError:
                log.warning("the last counters could not be said")
        return not waiting

    def status(self) -> dict[str, Any]:
        """The uplink's part of `gateway status`."""
        names = ("sessions", "births", "rebirths", "published", "resent")
        return {
            "state": self.state,
            "broker": str(self._turns.current),
            "brokers": self._turns.status(),
            "trouble": self.trouble,
            **dict.fromkeys(names, 0),
            **figures(self._lanes),
            **self.counters,
        }
