"""The way up: one MQTT session after the other, each with a will of its own, births only while the host is there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.births import BirthBook
from gateway.commands import Commands
from gateway.config.convert import Broker
from gateway.lanes import Lanes
from gateway.outbox.rows import Committed
from gateway.outbox.store import Outbox
from gateway.primary import PrimaryHost
from gateway.publisher import Publisher, figures
from gateway.resend import ResendWindow, delay_s
from wire.edge_session import EdgeSession, Message, next_bd_seq
from wire.errors import PayloadError, StoreFull, UplinkDown, UplinkRefused
from wire.ids import NodeId
from wire.topic import NAMESPACE, state_topic

log = logging.getLogger(__name__)
mqtt_log = logging.getLogger("gateway.mqtt")

LONGEST_BACK_OFF_S = 60.0  # after a refusal, which a person has to mend
# After a broker that is away: 1,000 gateways then knock 130 times a second, which no broker feels, and a restart of ten
# seconds does not cost a minute (with 60 s here, 52 s were seen).
_LONGEST_RETRY_S = 15.0
_DEADLINE_S = 10.0  # for every word with the broker
_DEATH_S = 2.0  # for the last one: the network may be gone
_INCOMING = 5_000  # commands that may wait; what overflows is confirmed again after its resend
# CONNACK: client id refused, bad user name or password, not authorised (MQTT 3.1.1, 3.2.2.3, as paho maps them).
_REFUSALS = frozenset({133, 134, 135})


class Uplink:
    """Keeps a session up. state: 'down', 'connecting', 'waiting for host', 'online'."""

    def __init__(
        self,
        broker: Broker,
        node: NodeId,
        hosts: tuple[str, ...],
        outbox: Outbox,
        book: BirthBook,
        window: ResendWindow,
        clock: Callable[[], int],
    ) -> None:
        self._broker, self._node, self._outbox, self._book, self._clock = broker, node, outbox, book, clock
        self._host = PrimaryHost(hosts[0])
        self._host_changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._lanes = Lanes(window)
        self.counters: Counter[str] = Counter()
        self._commands = Commands(outbox, self._lanes, hosts, self.counters, self._wake.set)
        self._alive: dict[str, bool] = {}
        self._publisher: Publisher | None = None
        self._bd_seq: int | None = None
        self._attempt = 0
        self.state = "down"
        self.trouble = ""
        outbox.on_commit = self._committed

    def _committed(self, commit: Committed) -> None:
        self._alive.update(commit.states)
        self._lanes.committed(commit)
        self._wake.set()

    def reborn(self) -> None:
        """The book says something else now: births go ahead of everything that follows."""
        self._commands.rebirth_wanted = True
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. One WARNING when the uplink goes down, one INFO when it is back."""
        while True:
            try:
                # In a task of its own: on Python 3.11 a TaskGroup whose child fails while the parent already waits
                # leaves the parent counted as cancelled for ever, and _pass_cancellation would end the next session.
                await asyncio.create_task(self._session(), name="uplink session")
            except UplinkDown as fault:
                # random: jitter only, so that a site's gateways do not come back in step.
                wait_s = delay_s(self._attempt, random.random(), _LONGEST_RETRY_S)  # noqa: S311
                if isinstance(fault, UplinkRefused):
                    wait_s = LONGEST_BACK_OFF_S
                elif isinstance(fault, HostGone):
                    wait_s = min(wait_s, 1.0)
                self._attempt += 1
                self._went_down(fault, wait_s)
                await asyncio.sleep(wait_s)

    def _went_down(self, fault: UplinkDown, wait_s: float) -> None:
        level = logging.WARNING if self.state != "down" or self.trouble != str(fault) else logging.DEBUG
        self.state, self.trouble = "down", str(fault)
        event = "broker refuses this gateway" if isinstance(fault, UplinkRefused) else "uplink down, data is kept"
        fields = {"broker": str(self._broker), "error": str(fault), "next_try_s": round(wait_s, 1)}
        log.log(level, event, extra=fields)

    async def _next_session(self) -> EdgeSession:
        try:
            self._bd_seq = await self._outbox.next_bd_seq()
        except StoreFull:
            # A full disk must not keep the gateway from delivering: that is what empties it.
            self._bd_seq = next_bd_seq(self._bd_seq)
        return EdgeSession(self._node, self._bd_seq)

    async def _session(self) -> None:
        """One connection. Raises UplinkDown, UplinkRefused, HostGone."""
        session = await self._next_session()
        will = session.death(self._clock())
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            identifier=f"{self._node.group}/{self._node.node}",
            clean_session=True,
            keepalive=self._broker.keepalive_s,
            timeout=_DEADLINE_S,
            will=aiomqtt.Will(str(will.topic), will.payload, qos=will.qos, retain=False),
            max_queued_incoming_messages=_INCOMING,
            logger=mqtt_log,
        )
        self._host.begin()
        try:
            async with client:
                await self._connected(client, session)
        except aiomqtt.MqttError as fault:
            raise _translated(fault) from fault
        except ExceptionGroup as group:
            down, rest = group.split((aiomqtt.MqttError, UplinkDown))
            if rest is not None or down is None:
                raise
            raise _translated(_first(down)) from group
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
        topics = [
            f"{NAMESPACE}/{group}/NCMD/{node}",
            f"{NAMESPACE}/{group}/DCMD/{node}/#",
            state_topic(self._host.host),
        ]
        for topic in topics:
            for code in await client.subscribe(topic, qos=1):
                if isinstance(code, ReasonCode) and code.is_failure:
                    raise UplinkRefused(
                        f"the broker refuses the subscription {topic}: give this user the right to read it"
                    )

    async def _listen(self, client: aiomqtt.Client) -> None:
        await self._subscribe(client)
        _pass_cancellation()
        self._become("waiting for host")
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
        if changed and not self._host.online and self._publisher is not None:
            raise HostGone(f"host {self._host.host} is offline")
        if self._host.behind:
            raise HostGone(f"host {self._host.host} says online with a time before its last STATE: asked anew")

    async def _speak(self, client: aiomqtt.Client, session: EdgeSession) -> None:
        while not self._host.online:
            self._host_changed.clear()
            await self._host_changed.wait()

        async def send(message: Message) -> None:
            await client.publish(str(message.topic), message.payload, qos=message.qos)
            _pass_cancellation()

        self._commands.rebirth_wanted = False
        self._publisher = Publisher(
            session, send, self._outbox, self._lanes, self._book, self._alive, self._commands, self.counters,
            self._wake, self._clock,
        )  # fmt: skip
        await self._publisher.births()
        self._attempt = 0
        self._become("online")
        await self._publisher.run()

    def _become(self, state: str) -> None:
        self.state = state
        if state == "online":
            self.trouble = ""
        log.info("uplink", extra={"state": state, "broker": str(self._broker), "host": self._host.host})

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
            "broker": str(self._broker),
            "trouble": self.trouble,
            **dict.fromkeys(names, 0),
            **figures(self._lanes),
            **self.counters,
        }


class HostGone(UplinkDown):
    """The primary host said that it is offline: leave, and wait for it in a new session."""


def _pass_cancellation() -> None:
    """aiomqtt waits with wait_for, which on Python 3.11 can swallow a cancellation that meets the answer.

    Only for tasks of one session: 3.11's TaskGroup leaves the count of its parent task raised.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def _translated(fault: BaseException) -> UplinkDown:
    if isinstance(fault, UplinkDown):
        return fault
    code = getattr(fault, "rc", None)
    if isinstance(code, ReasonCode):
        if code.value in _REFUSALS:
            return UplinkRefused(f"{code}: check broker.username, broker.password_file and the broker's rights")
        return UplinkDown(str(code))
    return UplinkDown(str(fault) or type(fault).__name__)
