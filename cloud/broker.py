"""The host's MQTT session: STATE with its will, what comes in, what goes out."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from cloud.tls import tls_context
from wire.certificates import PLAIN_PORT, TLS_PORT, TlsFiles, words
from wire.errors import ConfigError, UplinkDown, UplinkRefused
from wire.topic import NAMESPACE, Topic, state_topic

log = logging.getLogger(__name__)

MOST_INCOMING = 50_000
"""Messages that wait to be understood. One that does not fit may have been a birth: the session counts as lost."""
DEADLINE_S = 10.0  # for every word with the broker
SUBSCRIBED = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")
# CONNACK codes of MQTT 3.1.1, section 3.2.2.3, as paho names them: wrong credentials or rights.
_REFUSED = ("Bad user name or password", "Not authorized", "Client identifier not valid")
REFUSED_HELP = "give a user that it knows, --broker mqtt://USER:PASSWORD@HOST or broker.password_file in --config"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is. tls None: plain MQTT.

    keepalive_s: after one and a half of it without a sign the broker speaks our will.
    """

    host: str
    port: int = PLAIN_PORT
    username: str = ""
    password: str = ""
    keepalive_s: int = 30
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{self.host}:{self.port}"


def parse_broker(url: str) -> Broker:
    """Raises ConfigError when the text is not mqtt[s]://[user:password@]host[:port]."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise ConfigError(f"broker {url!r}: {fault}") from fault
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError(f"broker {url!r}: write it as mqtt://host or mqtt://host:1883, with TLS mqtts://host")
    tls = TlsFiles() if parts.scheme == "mqtts" else None
    port = port or (PLAIN_PORT if tls is None else TLS_PORT)
    return Broker(parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""), tls=tls)


class _Incoming(asyncio.Queue[aiomqtt.Message]):
    """aiomqtt drops what does not fit and goes on; this one remembers that it happened."""

    overflowed = False

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full():
            self.overflowed = True
        super().put_nowait(item)


def heed_cancellation() -> None:
    """Raises CancelledError when this task was cancelled and something swallowed it.

    asyncio.wait_for of Python 3.11, which aiomqtt awaits in publish and subscribe, does so when the answer comes in
    the same moment (python/cpython#86296, mended in 3.12): the host would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class HostLink:
    """One session. Made by `connected`, gone with it."""

    def __init__(self, client: aiomqtt.Client, incoming: _Incoming, host_id: str, ts_ms: int) -> None:
        self._client = client
        self._incoming = incoming
        self._state = state_topic(host_id)
        self._ts_ms = ts_ms

    async def say_online(self) -> None:
        """STATE, retained. Its timestamp is that of the will (tck-id-host-topic-phid-birth-payload-timestamp)."""
        await self._client.publish(self._state, _state(True, self._ts_ms), qos=1, retain=True)

    async def say_offline(self, now_ms: int) -> None:
        """The last word. Its time is now, and never before the will's: gateways would not believe it."""
        await self._client.publish(self._state, _state(False, max(now_ms, self._ts_ms)), qos=1, retain=True)

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """(topic, payload) as they come, our own STATE left out. Raises UplinkDown when the session is lost."""
        try:
            async for message in self._client.messages:
                yield await self._checked(message)
                while not self._incoming.empty():  # without a task per message, as aiomqtt's iterator makes one
                    yield await self._checked(self._incoming.get_nowait())
                if self._incoming.overflowed:
                    raise UplinkDown(f"more than {MOST_INCOMING} messages wait: births may be among those lost")
        except aiomqtt.MqttError as fault:
            raise UplinkDown(str(fault)) from fault

    async def _checked(self, message: aiomqtt.Message) -> tuple[str, bytes]:
        topic = str(message.topic)
        payload = message.payload if isinstance(message.payload, bytes) else b""
        if topic == self._state and _says_offline(payload):
            # The will of an earlier session of ours came late: gateways would leave.
            log.info("own STATE was offline: online again", extra={"topic": topic})
            await self.say_online()
            heed_cancellation()
        return topic, payload

    async def publish(self, topic: Topic, payload: bytes) -> None:
        """A command, QoS 0. Raises UplinkDown."""
        try:
            await self._client.publish(str(topic), payload)
        except aiomqtt.MqttError as fault:
            raise UplinkDown(str(fault)) from fault
        heed_cancellation()


def _state(online: bool, ts_ms: int) -> str:
    return json.dumps({"online": online, "timestamp": ts_ms})


def _says_offline(payload: bytes) -> bool:
    try:
        said: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("online") is False


@asynccontextmanager
async def _entered(client: aiomqtt.Client) -> AsyncIterator[None]:
    """`async with client`, but a connection that is being made is finished before a cancellation goes on.

    aiomqtt 2.5 does not survive one in the middle: its callbacks then meet a cancelled future.
    """
    entering = asyncio.create_task(client.__aenter__(), name="mqtt[connect]")
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait([entering], timeout=3)
        if entering.done() and entering.exception() is None:
            await client.__aexit__(None, None, None)
        raise
    try:
        yield
    finally:
        await client.__aexit__(None, None, None)


@asynccontextmanager
async def connected(
    broker: Broker, host_id: str, now_ms: Callable[[], int], groups: Sequence[str] = ()
) -> AsyncIterator[HostLink]:
    """A session that is subscribed and online; offline at its end. groups: only these sites; none named: all.

    Raises UplinkDown, UplinkRefused.
    """
    queues: list[_Incoming] = []
    began_ms = now_ms()

    def queue(maxsize: int) -> _Incoming:
        queues.append(_Incoming(maxsize))
        return queues[-1]

    tls = None if broker.tls is None else await asyncio.to_thread(tls_context, broker.tls)
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username or None,
        password=broker.password or None,
        identifier=f"{host_id}-host",
        keepalive=broker.keepalive_s,
        timeout=DEADLINE_S,
        tls_context=tls,
        clean_session=True,
        protocol=aiomqtt.ProtocolVersion.V311,
        will=aiomqtt.Will(state_topic(host_id), _state(False, began_ms), qos=1, retain=True),
        max_queued_incoming_messages=MOST_INCOMING,
        queue_type=queue,  # type: ignore[arg-type]  # called like the class that it makes
    )
    try:
        async with _entered(client):
            link = HostLink(client, queues[0], host_id, began_ms)
            try:
                topics = [
                    f"{NAMESPACE}/{group}/{kind}/+{'/+' if kind[0] == 'D' else ''}"
                    for group in groups or ("+",)
                    for kind in SUBSCRIBED
                ]
                granted = await client.subscribe([(topic, 1) for topic in (*topics, state_topic(host_id))])
                if any(isinstance(code, ReasonCode) and code.is_failure for code in granted):
                    raise UplinkRefused(
                        f"{broker} refuses a subscription: give this user the right to read {topics[0]}"
                    )
                await link.say_online()
                heed_cancellation()
                yield link
            finally:
                # DISCONNECT makes the broker discard the will.
                try:
                    async with asyncio.timeout(1):
                        await link.say_offline(now_ms())
                except (aiomqtt.MqttError, TimeoutError):
                    log.debug("offline could not be said", extra={"broker": str(broker)})
    except aiomqtt.MqttError as fault:
        said = str(fault)
        if tls is not None and broker.tls is not None:
            met = fault.__context__ if isinstance(fault.__context__, ssl.SSLError) else tls.fault
            if met is not None and (what := words(met, broker.host, broker.tls)):
                raise UplinkRefused(f"{broker}: {what}") from fault
        if any(words in said for words in _REFUSED):
            raise UplinkRefused(f"{broker} refuses this host ({said}): {REFUSED_HELP}") from fault
        raise UplinkDown(f"{broker}: {said}") from fault
