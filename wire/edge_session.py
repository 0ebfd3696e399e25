"""What an edge node must say next: bdSeq, seq, births and deaths. Pure. Source: Sparkplug B 3.0, chapters 5 and 6.

One EdgeSession is one MQTT connection. Its bdSeq is given by the caller, who has made it durable before CONNECT;
aliases are given inside the metrics. Everything that may be said in the wrong order is refused with SessionFault:
a mistake of ours, never of the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from wire.body import stamped
from wire.compressed import ALGORITHM, compressed
from wire.delivery import BD_SEQ, COMPRESSION, CONFIRMED, CONFLICT, REBIRTH, REFILL, WITHOUT_ALIAS
from wire.ids import NodeId
from wire.payload import Metric, Payload, encode
from wire.tag import Datatype
from wire.topic import Topic

_WRAP = 256  # bdSeq and seq both run 0 to 255 (tck-id-payloads-sequence-num-incrementing)


class SessionFault(RuntimeError):
    """Our own code asked to say something that the session does not allow now."""


class Message(NamedTuple):
    """One message to publish. qos is 0 for all but the will (tck-id-payloads-ndeath-will-message-qos)."""

    topic: Topic
    payload: bytes
    qos: int = 0


class DeviceBirth(NamedTuple):
    """One DBIRTH: its metrics bear names, aliases and datatypes."""

    device: str
    metrics: tuple[Metric, ...]


def next_bd_seq(last: int | None) -> int:
    """The bdSeq of the next CONNECT; last is the one of the CONNECT before, None when there was none."""
    return 0 if last is None else (last + 1) % _WRAP


class EdgeSession:
    """The messages of one edge node over one MQTT connection, in the one order that Sparkplug allows.

    offers_compression: births say so, and device data is compressed while `inflated` is set: when all hosts unpack it.
    """

    def __init__(self, node: NodeId, bd_seq: int, offers_compression: bool = False) -> None:
        if not 0 <= bd_seq < _WRAP:
            raise ValueError(f"bdSeq {bd_seq} is not within 0 to 255")
        self.node = node
        self.bd_seq = bd_seq
        self.inflated = False
        self._offers = offers_compression
        self._seq = 0
        self._node_born = False
        self._born: set[str] = set()

    @property
    def node_born(self) -> bool:
        """True after the birth sequence: data may be said."""
        return self._node_born

    @property
    def born(self) -> frozenset[str]:
        """The devices that are born and not dead in this session."""
        return frozenset(self._born)

    def _topic(self, kind: str, device: str = "") -> Topic:
        return Topic(self.node.group, kind, self.node.node, device)

    def _next_seq(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) % _WRAP
        return seq

    def _bd_metric(self, ts_ms: int) -> Metric:
        """Stamped like every metric of a birth (tck-id-payloads-name-birth-data-requirement)."""
        return Metric(name=BD_SEQ, ts_ms=ts_ms, datatype=Datatype.INT64, value=self.bd_seq)

    def death(self, ts_ms: int) -> Message:
        """NDEATH: the will of this connection, and what an intended leave publishes first. Bears bdSeq only."""
        self._node_born = False
        self._born.clear()
        return Message(self._topic("NDEATH"), encode(Payload(ts_ms=ts_ms, metrics=(self._bd_metric(ts_ms),))), qos=1)

    def births(self, ts_ms: int, node_metrics: Iterable[Metric], devices: Iterable[DeviceBirth]) -> list[Message]:
        """NBIRTH with seq 0, then every DBIRTH. Said again, with the same bdSeq, when a rebirth is asked for.

        node_metrics: those with an alias; bdSeq, the rebirth control and the commands of the host are added here.
        """
        self._seq = 0
        self._node_born = True
        self._born.clear()
        fixed = (
            self._bd_metric(ts_ms),
            Metric(name=REBIRTH, ts_ms=ts_ms, datatype=Datatype.BOOLEAN, value=False),
            *(Metric(name=name, ts_ms=ts_ms, datatype=Datatype.STRING) for name in (CONFIRMED, REFILL, CONFLICT)),
            Metric(name=COMPRESSION, ts_ms=ts_ms, datatype=Datatype.STRING, value=ALGORITHM if self._offers else None),
        )
        metrics = (*fixed, *_checked(node_metrics))
        first = Message(self._topic("NBIRTH"), encode(Payload(ts_ms=ts_ms, seq=self._next_seq(), metrics=metrics)))
        return [first, *(self.device_birth(ts_ms, birth) for birth in devices)]

    def device_birth(self, ts_ms: int, birth: DeviceBirth) -> Message:
        """DBIRTH: at the node's birth, when a device comes back, or to drain a dead device's backlog."""
        self._need_node(f"DBIRTH of {birth.device}")
        self._born.add(birth.device)
        body = Payload(ts_ms=ts_ms, seq=self._next_seq(), metrics=tuple(_checked(birth.metrics)))
        return Message(self._topic("DBIRTH", birth.device), encode(body))

    def device_death(self, ts_ms: int, device: str) -> Message:
        """DDEATH: the device is lost. It bears a seq and no metric (tck-id-payloads-ddeath-seq)."""
        self._need_device(device)
        self._born.discard(device)
        return Message(self._topic("DDEATH", device), encode(Payload(ts_ms=ts_ms, seq=self._next_seq())))

    def data(self, ts_ms: int, device: str, body: bytes) -> Message:
        """NDATA (device '') or DDATA from metrics that are encoded already; only after the birth."""
        if device:
            self._need_device(device)
        else:
            self._need_node("NDATA")
        topic = self._topic("DDATA", device) if device else self._topic("NDATA")
        if self._offers and self.inflated and device:
            return Message(topic, compressed(body, ts_ms, self._next_seq()))
        return Message(topic, stamped(body, ts_ms, self._next_seq()))

    def _need_node(self, what: str) -> None:
        if not self._node_born:
            raise SessionFault(f"{what} before NBIRTH")

    def _need_device(self, device: str) -> None:
        self._need_node(f"a message of {device}")
        if device not in self._born:
            raise SessionFault(f"a message of {device} before its DBIRTH")


def _checked(metrics: Iterable[Metric]) -> Iterable[Metric]:
    """In the order of their stamps (none: now), as tck-id-operational-behavior-data-publish-dbirth-order asks."""
    for metric in sorted(metrics, key=lambda m: math.inf if m.ts_ms is None else m.ts_ms):
        if metric.name is None or metric.datatype is None:
            raise SessionFault("a birth metric needs a name and a datatype")
        if (metric.alias is None) != (metric.name in WITHOUT_ALIAS):
            raise SessionFault(f"birth metric {metric.name!r}: wrong about its alias")
        yield metric
