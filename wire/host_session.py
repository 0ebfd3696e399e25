"""What a host must make of what edge nodes say: births, aliases, sequence, deaths. Pure.

Time comes in as an argument, what to do comes out as events. A message whose seq is ahead waits for the ones
before it until the reorder time is over; then what waited is taken as it is and a rebirth is asked for. That is
safe: keyed data proves by its digest that the aliases were the right ones. Data that no birth explains is never
handed out, so it is never confirmed. Source: Sparkplug B 3.0, chapters 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wire.block import Sample
from wire.delivery import BATCH, BD_SEQ, PROTOCOL_METRIC, BatchTag, parse_batch_tag
from wire.errors import PayloadError
from wire.host_events import BornTag, Data, DeviceBorn, Event, Gone, NodeBorn, RebirthWanted, Rejected
from wire.ids import NodeId
from wire.payload import Metric, Payload, decode
from wire.tag import Datatype
from wire.topic import Topic

REORDER_MS = 2_000
"""How long a message waits for the ones before it. One MQTT connection keeps order: longer means that one is lost."""

_WRAP = 256
_LATEST = 2**63  # a digest, like every database, holds a stamp in 64 bits with sign
_CONTROLS = ("Node Control/", "Device Control/", "Delivery/")


class _Alias(NamedTuple):
    device: str
    name: str
    datatype: Datatype


@dataclass(slots=True)
class _Device:
    """What a device's birth said: metrics by name (for nodes that do not use aliases) and which aliases it took."""

    by_name: dict[str, Datatype]
    aliases: list[int]


@dataclass(slots=True)
class _Node:
    """One node between NBIRTH and NDEATH."""

    id: NodeId
    bd_seq: int | None
    confirming: bool
    expected: int = 1
    aliases: dict[int, _Alias] = field(default_factory=dict)
    datatypes: dict[int, Datatype] = field(default_factory=dict)  # the same aliases, as decode wants them
    devices: dict[str, _Device] = field(default_factory=dict)
    waiting: dict[int, tuple[Topic, bytes]] = field(default_factory=dict)  # seq -> message
    waiting_since_ms: int = 0


class HostSession:
    """All edge nodes of one MQTT session of a host. After a lost session a new one is begun: births are asked for."""

    def __init__(self, reorder_ms: int = REORDER_MS) -> None:
        self._reorder_ms = reorder_ms
        self._nodes: dict[NodeId, _Node] = {}

    @property
    def nodes(self) -> frozenset[NodeId]:
        """The nodes that are born now."""
        return frozenset(self._nodes)

    def is_born(self, node: NodeId, device: str) -> bool:
        found = self._nodes.get(node)
        return found is not None and device in found.devices

    def receive(self, topic: Topic, data: bytes, now_ms: int) -> list[Event]:
        """What follows from one message. Never raises for what is inside it."""
        node = self._nodes.get(NodeId(topic.group, topic.node))
        try:
            payload = _decoded(node, topic, data)
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]
        if topic.type == "NBIRTH":
            return self._guarded(self._node_birth, topic, payload, data)
        if topic.type == "NDEATH":
            return self._node_death(topic, payload)
        if topic.type in ("NCMD", "DCMD"):
            return []
        if node is None:
            return [RebirthWanted(NodeId(topic.group, topic.node), "data before birth")]
        return list(self._in_sequence(node, topic, payload, data, now_ms))

    def tick(self, now_ms: int) -> list[Event]:
        """To be called now and then: messages that have waited too long are taken, and a rebirth is wanted."""
        events: list[Event] = []
        for node in list(self._nodes.values()):
            if node.waiting and now_ms - node.waiting_since_ms >= self._reorder_ms:
                events.append(RebirthWanted(node.id, "sequence gap"))
                for seq in sorted(node.waiting, key=lambda s: (s - node.expected) % _WRAP):
                    topic, data = node.waiting.pop(seq)
                    node.expected = (seq + 1) % _WRAP
                    events.extend(self._take_late(node, topic, data))
        return events

    def _guarded(
        self, take: Callable[[Topic, Payload], Iterator[Event]], topic: Topic, payload: Payload, data: bytes
    ) -> list[Event]:
        try:
            return list(take(topic, payload))
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]

    def _in_sequence(self, node: _Node, topic: Topic, payload: Payload, data: bytes, now_ms: int) -> Iterator[Event]:
        if payload.seq is None or not 0 <= payload.seq < _WRAP:
            yield Rejected(topic, data, f"{topic.type} with seq {payload.seq}")
            return
        ahead = (payload.seq - node.expected) % _WRAP
        if 0 < ahead < _WRAP // 2:
            if not node.waiting:
                node.waiting_since_ms = now_ms
            node.waiting[payload.seq] = (topic, data)
            return
        # A seq from behind is a late or repeated message: what it says is judged by key or stamp, not by order.
        if ahead == 0:
            node.expected = (payload.seq + 1) % _WRAP
        yield from self._take(node, topic, payload, data)
        while node.expected in node.waiting:
            topic, data = node.waiting.pop(node.expected)
            node.expected = (node.expected + 1) % _WRAP
            node.waiting_since_ms = now_ms
            yield from self._take_late(node, topic, data)

    def _take_late(self, node: _Node, topic: Topic, data: bytes) -> list[Event]:
        """A message that has waited: decoded anew, because births may have come between."""
        try:
            payload = _decoded(node, topic, data)
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]
        return self._take(node, topic, payload, data)

    def _take(self, node: _Node, topic: Topic, payload: Payload, data: bytes) -> list[Event]:
        if topic.type == "DBIRTH":
            return self._guarded(self._device_birth, topic, payload, data)
        if topic.type == "DDEATH":
            self._forget(node, topic.device)
            return [Gone(node.id, topic.device, payload.ts_ms)]
        return self._guarded(self._data, topic, payload, data)

    def _node_birth(self, topic: Topic, payload: Payload) -> Iterator[Event]:
        node_id = NodeId(topic.group, topic.node)
        named = {m.name: m for m in payload.metrics if m.name}
        if payload.seq != 0:
            raise PayloadError(f"NBIRTH with seq {payload.seq}: it must be 0")
        bd_seq = named[BD_SEQ].value if BD_SEQ in named else None
        protocol = str(named[PROTOCOL_METRIC].value) if PROTOCOL_METRIC in named else ""
        node = _Node(node_id, bd_seq if isinstance(bd_seq, int) else None, protocol.startswith("gaugeline/"))
        tags = self._learn(node, "", payload)
        self._nodes[node_id] = node
        yield NodeBorn(node_id, node.bd_seq, node.confirming, protocol)
        yield from self._born(node, "", tags, payload)

    def _device_birth(self, topic: Topic, payload: Payload) -> Iterator[Event]:
        node = self._nodes[NodeId(topic.group, topic.node)]
        self._forget(node, topic.device)
        yield from self._born(node, topic.device, self._learn(node, topic.device, payload), payload)

    def _born(self, node: _Node, device: str, tags: tuple[BornTag, ...], payload: Payload) -> Iterator[Event]:
        yield DeviceBorn(node.id, device, tags)
        if node.confirming:
            # Its NBIRTH may bear counters; values of its births stand in batches of their own.
            said = tuple(_own(m, payload.ts_ms) for m in payload.metrics if m.name and m.name.startswith("Delivery/"))
            told = tuple(s for s in said if s is not None)
        else:
            told = tuple(
                Sample(t.name, t.datatype, t.ts_ms, t.quality, t.value)
                for t in tags
                if t.value is not None and t.ts_ms is not None and t.ts_ms < _LATEST
            )
        if told:
            yield Data(node.id, device, told, None, False, node.confirming)

    def _learn(self, node: _Node, device: str, payload: Payload) -> tuple[BornTag, ...]:
        """Takes a birth's names and aliases in. Raises PayloadError when they contradict each other."""
        found: list[BornTag] = []
        aliases: dict[int, _Alias] = {}
        by_name: dict[str, Datatype] = {}
        for m in payload.metrics:
            if m.name is None or m.datatype is None:
                raise PayloadError("a birth metric without name or datatype")
            suffix = f"@{m.alias}"
            old = m.alias is not None and m.name.endswith(suffix) and m.name != suffix
            name = m.name.removesuffix(suffix) if old else m.name
            if m.alias is not None:
                taken = aliases.get(m.alias) or node.aliases.get(m.alias)
                if taken is not None and (taken.device, taken.name) != (device, name):
                    raise PayloadError(f"alias {m.alias} is born for {taken.device}/{taken.name} and {device}/{name}")
                aliases[m.alias] = _Alias(device, name, m.datatype)
            if not old:
                by_name[name] = m.datatype
            if name != BD_SEQ and not name.startswith(_CONTROLS):
                ts_ms = m.ts_ms if m.ts_ms is not None else payload.ts_ms
                found.append(BornTag(name, m.alias, m.datatype, m.properties, not old, m.value, m.quality, ts_ms))
        node.aliases.update(aliases)
        node.datatypes.update({alias: a.datatype for alias, a in aliases.items()})
        node.devices[device] = _Device(by_name, list(aliases))
        return tuple(found)

    def _forget(self, node: _Node, device: str) -> None:
        gone = node.devices.pop(device, None)
        for alias in gone.aliases if gone else ():
            node.aliases.pop(alias, None)
            node.datatypes.pop(alias, None)

    def _node_death(self, topic: Topic, payload: Payload) -> list[Event]:
        """Only the death of the session that was born last counts; an older will may come late."""
        node = self._nodes.get(NodeId(topic.group, topic.node))
        said = next((m.value for m in payload.metrics if m.name == BD_SEQ), None)
        if node is None or said != node.bd_seq:
            return []
        del self._nodes[node.id]
        return [Gone(node.id, None)]

    def _data(self, topic: Topic, payload: Payload) -> Iterator[Event]:
        node = self._nodes[NodeId(topic.group, topic.node)]
        device = node.devices.get(topic.device)
        if device is None:
            yield RebirthWanted(node.id, "data before birth")
            return
        samples: list[Sample] = []
        batch: BatchTag | None = None
        for m in payload.metrics:
            known = _resolve(node, device, topic.device, m)
            if known is None:
                yield RebirthWanted(node.id, "unknown alias" if m.name is None else "unknown metric")
                return
            if known.name == BATCH:
                batch = parse_batch_tag(str(m.value))
                continue
            ts_ms = m.ts_ms if m.ts_ms is not None else payload.ts_ms
            if ts_ms is None or ts_ms >= _LATEST:
                raise PayloadError(f"{known.name} has {'no' if ts_ms is None else 'an impossible'} timestamp")
            if not node.confirming and (known.name == BD_SEQ or known.name.startswith(_CONTROLS)):
                continue
            samples.append(Sample(known.name, known.datatype, ts_ms, m.quality, m.value, m.reason))
        historical = any(m.historical for m in payload.metrics)
        yield Data(node.id, topic.device, tuple(samples), batch, historical, node.confirming)


def _decoded(node: _Node | None, topic: Topic, data: bytes) -> Payload:
    if node is None or topic.type.endswith("BIRTH"):
        return decode(data)
    device = node.devices.get(topic.device)
    return decode(data, node.datatypes, device.by_name if device else None)


def _resolve(node: _Node, device: _Device, device_name: str, m: Metric) -> _Alias | None:
    """Which tag a data metric means, None when no birth said so."""
    if m.alias is not None:
        known = node.aliases.get(m.alias)
        return known if known is not None and known.device == device_name else None
    if m.name is None or m.name not in device.by_name:
        return None
    return _Alias(device_name, m.name, device.by_name[m.name])


def _own(m: Metric, payload_ts_ms: int | None) -> Sample | None:
    """A protocol metric of a birth as a sample, so that it is read like the same metric in data."""
    ts_ms = m.ts_ms if m.ts_ms is not None else payload_ts_ms
    if m.value is None or m.datatype is None or ts_ms is None or m.name in (None, PROTOCOL_METRIC, BATCH):
        return None
    return Sample(str(m.name), m.datatype, ts_ms, m.quality, m.value)
