"""What the host learns by listening: live values, births, counters, malformed messages; written down now and then."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from cloud.counters import parse_counters
from cloud.dead_letters import LEFT_OUT, MOST_BYTES, DeadLetters
from cloud.live import LiveValues
from cloud.nodes import Nodes
from cloud.rebirths import Rebirths
from cloud.state.host import BornTags, EpochCounters, HostState
from cloud.stats import Stats
from cloud.twins import Twins
from wire.block import Sample
from wire.delivery import COUNTERS
from wire.errors import PayloadError
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
from wire.host_session import HostSession
from wire.ids import NodeId

log = logging.getLogger(__name__)

MOST_REJECTED = 1_000  # malformed messages that wait to be written down
_KIND_ENDS = re.compile(r"[:('\"\d]")  # where a reason begins to speak of the message at hand
MOST_REBORN = 100  # nodes whose births are written down at once
MOST_TOLD = 1_000  # kinds of trouble that are told apart


@dataclass(slots=True)
class Hearing:
    live: LiveValues
    stats: Stats
    nodes: Nodes = field(default_factory=Nodes)
    twins: Twins = field(default_factory=Twins)
    figures: Counter[tuple[NodeId, str]] = field(default_factory=Counter)
    _births: dict[tuple[NodeId, str], BornTags] = field(default_factory=dict)
    _counters: dict[tuple[NodeId, str], EpochCounters] = field(default_factory=dict)
    _rejected: list[tuple[NodeId, str, str, bytes]] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def take(self, event: Event, keep: Callable[[Data], bool], rebirths: Rebirths, now_ms: int) -> None:
        """One event of the session. keep: hands data to the store's queue, False when that is full."""
        self.nodes.hear(event, now_ms)
        if self.twins.hear(event, now_ms):
            self.stats.counters["duplicate_ids"] += 1
            self.figures[event.node, "duplicate_ids"] += 1  # type: ignore[union-attr]  # a sign is of a node
        match event:
            case NodeBorn(node=node):
                self.live.stale(node, now_ms=now_ms)
                rebirths.born(node, now_ms)
                self.stats.counters["births"] += 1
                log.info("gateway is born", extra={"node": str(node), "protocol": event.protocol or "none"})
            case DeviceBorn(node=node, device=device, tags=tags):
                born: BornTags = [(t.name, t.datatype, dict(t.properties)) for t in tags if t.current]
                if born or device:
                    self.live.born(node, device, born)
                    self._births[node, device] = born
                    self.live.update(node, device, _shown(tags), now_ms)
            case Gone(node=node, device=gone, ts_ms=said_ms):
                self.live.stale(node, gone, now_ms if said_ms is None else said_ms)
                log.info("gateway or device is gone", extra={"node": str(node), "device": gone or ""})
            case OldDeath():
                self.stats.counters["deaths_of_older_sessions"] += 1
            case LeftOut(node=node):
                self.stats.counters["metrics_left_out"] += len(event.metrics)
                self.figures[node, "metrics_left_out"] += len(event.metrics)
                if self.first(f"left out {node}"):
                    name, kind = event.metrics[0]
                    log.info("metrics are left out", extra={"node": str(node), "first": name[:100], "datatype": kind})
            case Data():
                self._data(event, keep, now_ms)
            case RebirthWanted(node=node, cause=cause):
                self.stats.counters[f"rebirth_wanted: {cause}"] += 1
                rebirths.want(node, now_ms)
            case Rejected(topic=topic):
                self.reject(str(topic), event.payload, event.why, NodeId(topic.group, topic.node), topic.device)

    def _data(self, data: Data, keep: Callable[[Data], bool], now_ms: int) -> None:
        if data.confirming and data.batch is None and not data.device:
            self._count(data)
            return
        if not data.historical:
            self.live.update(data.node, data.device, data.samples, now_ms)
        # A confirming gateway's unkeyed data change the screen, never the store.
        if (data.batch is not None or not data.confirming) and not keep(data):
            lost = not data.confirming
            self.stats.counters["strangers_samples_lost" if lost else "batches_left_with_gateways"] += 1

    def _count(self, data: Data) -> None:
        for s in data.samples:
            if s.name != COUNTERS or s.value is None:
                continue
            try:
                said = parse_counters(str(s.value))
            except PayloadError as fault:
                self.reject(f"{data.node} {COUNTERS}", str(s.value).encode(), str(fault), data.node)
                continue
            for epoch in said:
                found = EpochCounters(data.node, epoch.epoch, epoch.model_dump(), False)
                self._counters[data.node, epoch.epoch] = found

    def reject(self, topic: str, payload: bytes, why: str, node: NodeId | None = None, device: str = "") -> None:
        """A message that is not understood: counted, kept while there is room, told once per kind."""
        self.stats.counters["rejected"] += 1
        kind = _KIND_ENDS.split(why)[0].strip()[:60] or "other"
        if self.first(kind):
            log.warning("message is not understood", extra={"topic": topic[:200], "why": why[:200]})
        self.stats.counters[f"rejected: {kind if kind in self._told else 'other'}"] += 1
        if len(self._rejected) < MOST_REJECTED:
            self._rejected.append((node or NodeId("", ""), device, f"{topic[:200]}: {why}", payload[:MOST_BYTES]))
        else:
            self.figures[node or NodeId("", ""), f"{LEFT_OUT}message"] += 1

    def first(self, kind: str) -> bool:
        """True the first time: a log line for each kind, a counter for each occurrence."""
        if kind in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(kind)
        return True

    def nobody(self, session: HostSession, now_ms: int) -> None:
        """The MQTT session is over: nothing that is shown is fresh."""
        for node in session.nodes:
            self.live.stale(node, now_ms=now_ms)
        self.nodes.gone(session.nodes, now_ms)

    def alarms(self, now_ms: int) -> None:
        """Two gateways under one id, as problems of the host, for as long as signs of it come."""
        alarmed = {f"duplicate id {node}": node for node in self.twins.alarmed(now_ms)}
        for part in [p for p in self.stats.problems if p.startswith("duplicate id ") and p not in alarmed]:
            del self.stats.problems[part]
        for part, node in alarmed.items():
            if part not in self.stats.problems:
                log.error("two gateways use one id", extra={"node": str(node)})
            self.stats.problems[part] = (
                f"two gateways call themselves {node}: give one of them another `gateway:` in its site.yaml. "
                "Nothing is lost, but they take the connection from each other."
            )

    def forget(self, node: NodeId) -> None:
        self.nodes.forget(node)
        self.twins.forget(node)
        self.live.forget(node)
        for place in [place for place in self._births if place[0] == node]:
            del self._births[place]

    async def flush(
        self,
        state: HostState,
        dead_letters: DeadLetters,
        figures: Counter[tuple[NodeId, str]],
        session: HostSession,
        now_ms: int,
    ) -> None:
        """Writes down what is new, and takes it out of `figures`. Raises StoreDown; the rest comes next time."""
        await self.flush_counters(state, now_ms)
        await self._flush_nodes(state, session, now_ms)
        if births := dict(self._births):
            await state.keep_births(births, now_ms)
            self._births = {k: v for k, v in self._births.items() if births.get(k) is not v}
        while self._rejected:
            node, device, why, payload = self._rejected[0]
            await dead_letters.keep_message(node, device, why, payload, now_ms)
            self._rejected.pop(0)
        for counted in (figures, self.figures):
            if grown := Counter(counted):
                await state.add_figures(grown)
                counted.subtract(grown)
                for key in [k for k, n in counted.items() if not n]:
                    del counted[key]

    async def _flush_nodes(self, state: HostState, session: HostSession, now_ms: int) -> None:
        reborn = set(islice(self.nodes.reborn, MOST_REBORN))
        for node in reborn & self.nodes.known.keys():
            memory = session.memory(node)
            if memory is not None:
                self.nodes.known[node].memory = memory
                self.nodes.known[node].changed = True
        if found := self.nodes.unwritten():
            await state.keep_nodes(found, now_ms)
            self.nodes.written(found)
        self.nodes.reborn -= reborn

    async def flush_counters(self, state: HostState, now_ms: int) -> None:
        if counters := dict(self._counters):
            await state.keep_counters(counters.values(), now_ms)
            self._counters = {k: v for k, v in self._counters.items() if counters.get(k) is not v}


def _shown(tags: Iterable[BornTag]) -> list[Sample]:
    """Values that a birth bears: for the screen."""
    return [
        Sample(t.name, t.datatype, t.ts_ms, t.quality, t.value)
        for t in tags
        if t.current and t.value is not None and t.ts_ms is not None
    ]
