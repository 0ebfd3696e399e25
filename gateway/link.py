"""One MQTT client for one session, and what its faults mean for the next one."""

from __future__ import annotations

import asyncio
import logging
import ssl

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.config.convert import Broker
from wire.certificates import Overheard, words
from wire.edge_session import Message
from wire.errors import UplinkDown, UplinkRefused
from wire.ids import NodeId

mqtt_log = logging.getLogger("gateway.mqtt")

DEADLINE_S = 10.0  # for every word with the broker
_INCOMING = 5_000  # commands that may wait; what overflows is confirmed again after its resend
# CONNACK: client id refused, bad user name or password, not authorised (MQTT 3.1.1, 3.2.2.3, as paho maps them).
_REFUSALS = frozenset({133, 134, 135})


class Link:
    """A client with its will. tls None: plain MQTT."""

    def __init__(self, broker: Broker, tls: Overheard | None, node: NodeId, will: Message) -> None:
        self._broker, self._tls = broker, tls
        self.client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=f"{node.group}/{node.node}",
            clean_session=True,
            keepalive=broker.keepalive_s,
            timeout=DEADLINE_S,
            tls_context=self._tls,
            will=aiomqtt.Will(str(will.topic), will.payload, qos=will.qos, retain=False),
            max_queued_incoming_messages=_INCOMING,
            logger=mqtt_log,
        )

    def translated(self, fault: BaseException) -> UplinkDown:
        """What the caller does next, with words for whoever has to mend it."""
        if isinstance(fault, UplinkDown):
            return fault
        if (said := self._handshake(fault)) is not None:
            return said
        code = getattr(fault, "rc", None)
        if isinstance(code, ReasonCode):
            if code.value in _REFUSALS:
                return UplinkRefused(f"{code}: check broker.username, broker.password_file and the broker's rights")
            return UplinkDown(str(code))
        return UplinkDown(str(fault) or type(fault).__name__)

    def _handshake(self, fault: BaseException) -> UplinkDown | None:
        # aiomqtt raises its own error `from None`; what it met is the context of that.
        met = fault.__context__ if isinstance(fault.__context__, ssl.SSLError) else None
        if self._tls is None or self._broker.tls is None or (met := met or self._tls.fault) is None:
            return None
        what = words(met, self._broker.host, self._broker.tls)
        return UplinkRefused(what) if what else UplinkDown(f"TLS: {met.reason or met}")


def pass_cancellation() -> None:
    """aiomqtt waits with wait_for, which on Python 3.11 can swallow a cancellation that meets the answer.

    Only for tasks of one session: 3.11's TaskGroup leaves the count of its parent task raised.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def first_of(group: BaseException) -> BaseException:
    return first_of(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group
