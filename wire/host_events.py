"""What a host learns from edge nodes' messages: the events of wire.host_session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wire.block import Quality, Sample, Value
from wire.delivery import BatchTag
from wire.ids import NodeId
from wire.payload import PropertyValue
from wire.tag import Datatype
from wire.topic import Topic


class BornTag(NamedTuple):
    """A metric as born. name: without the '@alias' suffix of an old alias; current: False for such an old one."""

    name: str
    alias: int | None
    datatype: Datatype
    properties: Mapping[str, PropertyValue]
    current: bool
    value: Value | None
    quality: Quality
    ts_ms: int | None


class NodeBorn(NamedTuple):
    """NBIRTH. confirming: the node speaks our delivery protocol. All its devices count as gone until their DBIRTH.

    compresses: with what it would compress its data, if every host that it needs said that it unpacks it; '' for not.
    """

    node: NodeId
    bd_seq: int | None
    confirming: bool
    protocol: str
    compresses: str = ""


class DeviceBorn(NamedTuple):
    """A birth's tags, those of the delivery protocol and of control left out; device '' is the node itself."""

    node: NodeId
    device: str
    tags: tuple[BornTag, ...]


class Gone(NamedTuple):
    """NDEATH (device None) or DDEATH. ts_ms: when, as a DDEATH says it; an NDEATH's time is that of its CONNECT."""

    node: NodeId
    device: str | None
    ts_ms: int | None = None


class Data(NamedTuple):
    """One message's samples, in its order, but without its batch tag: a tuple or Columns. batch None: without key.

    confirming: False for a third-party node, whose births and data are samples by their arrival alone.
    """

    node: NodeId
    device: str
    samples: Sequence[Sample]
    batch: BatchTag | None
    historical: bool
    confirming: bool


class OldDeath(NamedTuple):
    """NDEATH of a session that was not born last: it changes nothing, but that session is over."""

    node: NodeId
    bd_seq: int | None


class LeftOut(NamedTuple):
    """Metrics of datatypes that we do not speak: (name, datatype) each; what stands beside them was taken."""

    node: NodeId
    device: str
    metrics: tuple[tuple[str, str], ...]


class RebirthWanted(NamedTuple):
    """The node must say its births again. cause: one of a bounded set of words."""

    node: NodeId
    cause: str


class Rejected(NamedTuple):
    """A message that does not follow Sparkplug B or our protocol: to be kept as a dead letter."""

    topic: Topic
    payload: bytes
    why: str


Event = NodeBorn | DeviceBorn | Gone | OldDeath | Data | LeftOut | RebirthWanted | Rejected
