"""What a host must make of what edge nodes say: births, aliases, sequence, deaths. Pure.

Time comes in as an argument, what to do comes out as events. A message whose seq is ahead waits for the ones
before it until the reorder time is over; then what waited is taken as it is and a rebirth is asked for. That is
safe: keyed data proves by its digest that the aliases were the right ones. Data that no birth explains is never
handed out, so it is never confirmed. Births that an earlier session heard serve until the node is born again, for
keyed data alone, and only where the digest proves them. Source: Sparkplug B 3.0, chapters 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from wire.block import Sample
from wire.delivery import BD_SEQ, COMPRESSION, PROTOCOL_METRIC, BatchTag, batch_digest
from wire.errors import PayloadError
from wire.host_data import CONTROLS, LATEST, heard, understood
from wire.host_events import (
    BornTag,
    Data,
    DeviceBorn,
    Event,
    Gone,
    LeftOut,
    NodeBorn,
    OldDeath,
    RebirthWanted,
    Rejected,
)
from wire.host_node import Alias, Device, Node, own_sample
from wire.ids import NodeId
from wire.payload import Metric, Payload
from wire.tag import Datatype
from wire.topic import Topic

REORDER_MS = 2_000
"""How long a message waits for the ones before it. One MQTT connection keeps order: longer means that one is lost."""

_WRAP = 256
MOST_NODES = 20_000
"""Edge nodes of one host; a birth beyond is not taken. Ids can be invented without end, memory cannot."""


class HostSession:
    """All edge nodes of one MQTT session of a host. After a lost session a new one is begun: births are asked for.

    remembered: confirming nodes as an earlier session knew them.
    """

    def __init__(self, reorder_ms: int = REORDER_MS, remembered: Mapping[NodeId, Node] | None = None) -> None:
        self._reorder_ms = reorder_ms
        self._nodes: dict[NodeId, Node] = {}
        self._remembered = dict(remembered or {})

    def remember(self) -> dict[NodeId, Node]:
        """For the next session: every confirming node whose births were heard in this one or before."""
        return self._remembered | {i: n for i, n in self._nodes.items() if n.confirming}

    def memory(self, node: NodeId) -> dict[str, Any] | None:
        """The births of a confirming node that is alive, as JSON for the next process of the host."""
        found = self._nodes.get(node)
        return found.memory() if found is not None and found.confirming and not found.remembered else None

    def forget(self, node: NodeId) -> None:
        """A node that nobody expects any more."""
        self._remembered.pop(node, None)

    @property
    def nodes(self) -> frozenset[NodeId]:
        """The nodes that are born now."""
        return frozenset(self._nodes)

    def is_born(self, node: NodeId, device: str) -> bool:
        found = self._nodes.get(node)
        return found is not None and device in found.devices

    def receive(self, topic: Topic, data: bytes, now_ms: int) -> list[Event]:
        """What follows from one message. Never raises for what is inside it."""
        node_id = NodeId(topic.group, topic.node)
        node = self._nodes.get(node_id) or self._remembered.get(node_id)
        try:
            payload = heard(node, topic, data)
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]
        if topic.type == "NBIRTH":
            if node_id not in self._nodes and len(self._nodes) >= MOST_NODES:
                return [Rejected(topic, data, f"more than {MOST_NODES} edge nodes: this one is not taken")]
            return self._guarded(self._node_birth, topic, payload, data)
        if topic.type == "NDEATH":
            return self._node_death(topic, payload)
        if topic.type in ("NCMD", "DCMD"):
            return []
        if node is None or (node_id not in self._nodes and not self._adopt(node, payload)):
            return [RebirthWanted(node_id, "data before birth")]
        return list(self._in_sequence(node, topic, payload, data, now_ms))

    def tick(self, now_ms: int) -> list[Event]:
        """To be called now and then: messages that have waited too long are taken, and a rebirth is wanted."""
        events: list[Event] = []
        for node in list(self._nodes.values()):
            if node.waiting and now_ms - node.waiting_since_ms >= self._reorder_ms:
                events.append(RebirthWanted(node.id, "sequence gap"))
                for seq in sorted(node.waiting, key=lambda s: (s - node.expected) % _WRAP):
                    if seq not in node.waiting:
                        break  # its births were those of an earlier session, and wrong
                    topic, data = node.waiting.pop(seq)
                    node.expected = (seq + 1) % _WRAP
                    events.extend(self._take_late(node, topic, data))
        return events

    def _adopt(self, node: Node, payload: Payload) -> bool:
        """A node whose births an earlier session heard goes on where it is."""
        if payload.seq is None or not 0 <= payload.seq < _WRAP or len(self._nodes) >= MOST_NODES:
            return False
        node.expected, node.remembered = payload.seq, True
        node.waiting.clear()
        self._nodes[node.id] = self._remembered.pop(node.id)
        return True

    def _guarded(
        self, take: Callable[[Topic, Payload], Iterator[Event]], topic: Topic, payload: Payload, data: bytes
    ) -> list[Event]:
        try:
            return list(take(topic, payload))
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]

    def _in_sequence(self, node: Node, topic: Topic, payload: Payload, data: bytes, now_ms: int) -> Iterator[Event]:
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

    def _take_late(self, node: Node, topic: Topic, data: bytes) -> list[Event]:
        """A message that has waited: decoded anew, because births may have come between."""
        try:
            payload = heard(node, topic, data)
        except PayloadError as fault:
            return [Rejected(topic, data, str(fault))]
        return self._take(node, topic, payload, data)

    def _take(self, node: Node, topic: Topic, payload: Payload, data: bytes) -> list[Event]:
        if topic.type == "DBIRTH":
            return self._guarded(self._device_birth, topic, payload, data)
        if topic.type == "DDEATH":
            node.forget(topic.device)
            return [Gone(node.id, topic.device, payload.ts_ms)]
        return self._guarded(lambda t, p: self._data(t, p, data), topic, payload, data)

    def _node_birth(self, topic: Topic, payload: Payload) -> Iterator[Event]:
        node_id = NodeId(topic.group, topic.node)
        named = {m.name: m for m in payload.metrics if m.name}
        if payload.seq != 0:
            raise PayloadError(f"NBIRTH with seq {payload.seq}: it must be 0")
        bd_seq = named[BD_SEQ].value if BD_SEQ in named else None
        protocol = str(named[PROTOCOL_METRIC].value) if PROTOCOL_METRIC in named else ""
        node = Node(node_id, bd_seq if isinstance(bd_seq, int) else None, protocol.startswith("gaugeline/"))
        tags = self._learn(node, "", payload)
        self._nodes[node_id] = node
        self._remembered.pop(node_id, None)
        offer = named[COMPRESSION].value if COMPRESSION in named else None
        yield NodeBorn(node_id, node.bd_seq, node.confirming, protocol, str(offer or ""))
        yield from self._born(node, "", tags, payload)

    def _device_birth(self, topic: Topic, payload: Payload) -> Iterator[Event]:
        node = self._nodes[NodeId(topic.group, topic.node)]
        node.forget(topic.device)
        yield from self._born(node, topic.device, self._learn(node, topic.device, payload), payload)

    def _born(self, node: Node, device: str, tags: tuple[BornTag, ...], payload: Payload) -> Iterator[Event]:
        yield DeviceBorn(node.id, device, tags)
        if node.confirming:
            # Its NBIRTH may bear counters; values of its births stand in batches of their own.
            said = (own_sample(m, payload.ts_ms) for m in payload.metrics if (m.name or "").startswith("Delivery/"))
            told = tuple(s for s in said if s is not None)
        else:
            told = tuple(
                Sample(t.name, t.datatype, t.ts_ms, t.quality, t.value)
                for t in tags
                if t.value is not None and t.ts_ms is not None and t.ts_ms < LATEST
            )
        if payload.others:
            yield LeftOut(node.id, device, tuple((o.name or "", o.kind) for o in payload.others))
        if told:
            yield Data(node.id, device, told, None, False, node.confirming)

    def _learn(self, node: Node, device: str, payload: Payload) -> tuple[BornTag, ...]:
        """Takes a birth's names and aliases in. Raises PayloadError when they contradict each other."""
        found: list[BornTag] = []
        aliases: dict[int, Alias] = {}
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
                aliases[m.alias] = Alias(device, name, m.datatype)
            if not old:
                by_name[name] = m.datatype
            if name != BD_SEQ and not name.startswith(CONTROLS):
                ts_ms = m.ts_ms if m.ts_ms is not None else payload.ts_ms
                found.append(BornTag(name, m.alias, m.datatype, m.properties, not old, m.value, m.quality, ts_ms))
        others = {o.alias: (device, o.name or "", o.kind) for o in payload.others if o.alias is not None}
        others = {alias: other for alias, other in others.items() if alias not in aliases and alias not in node.aliases}
        node.others.update(others)
        node.aliases.update(aliases)
        node.datatypes.update({alias: a.datatype for alias, a in aliases.items()})
        named = {o.name: o.kind for o in payload.others if o.name}
        node.devices[device] = Device(by_name, [*aliases, *others], named)
        return tuple(found)

    def _node_death(self, topic: Topic, payload: Payload) -> list[Event]:
        """Only the death of the session that was born last counts; an older will may come late."""
        node = self._nodes.get(NodeId(topic.group, topic.node))
        said = next((m.value for m in payload.metrics if m.name == BD_SEQ), None)
        if node is None or said != node.bd_seq:
            return [OldDeath(NodeId(topic.group, topic.node), said if isinstance(said, int) else None)]
        del self._nodes[node.id]
        if node.confirming:
            self._remembered[node.id] = node
        return [Gone(node.id, None)]

    def _unknown(self, node: Node, topic: Topic, m: Metric, data: bytes) -> Iterator[Event]:
        """A confirming node sends it again after its birth; of another one this message is all that there will be."""
        cause = "unknown alias" if m.name is None else "unknown metric"
        yield RebirthWanted(node.id, cause)
        if not node.remembered:
            yield Rejected(topic, data, f"{cause}: {m.alias if m.name is None else m.name[:100]!r}")

    def _proven(self, node: Node, device: str, samples: Sequence[Sample], batch: BatchTag | None) -> bool:
        """Births of an earlier session are believed where a digest proves them."""
        if batch is None:
            return False
        if batch_digest(node.id, device, batch.epoch, batch.number, samples) == batch.digest:
            return True
        del self._nodes[node.id]
        node.waiting.clear()  # another gateway under this id, or new aliases: only its births can tell
        return False

    def _data(self, topic: Topic, payload: Payload, data: bytes) -> Iterator[Event]:
        node = self._nodes[NodeId(topic.group, topic.node)]
        device = node.devices.get(topic.device)
        if device is None:
            yield RebirthWanted(node.id, "data before birth")
            return
        found = understood(node, topic.device, payload)
        if isinstance(found, Metric):
            yield from self._unknown(node, topic, found, data)
            return
        samples, batch, historical, left = found
        if node.remembered:
            yield RebirthWanted(node.id, "births from before")
            if not self._proven(node, topic.device, samples, batch):
                return
        if left:
            yield LeftOut(node.id, topic.device, left)
            if not samples and batch is None:
                return
        yield Data(node.id, topic.device, samples, batch, historical, node.confirming)
