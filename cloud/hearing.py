"""What the host learns by listening: live values, births, counters, malformed messages; written down now and then."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cloud.counters import parse_counters
from cloud.dead_letters import MOST_BYTES, DeadLetters
from cloud.live import LiveValues
from cloud.rebirths import Rebirths
from cloud.state.host import BornTags, EpochCounters, HostState
from cloud.stats import Stats
from wire.block import Sample
from wire.delivery import COUNTERS
from wire.errors import PayloadError
from wire.host_events import BornTag, Data, DeviceBorn, Event, Gone, NodeBorn, RebirthWanted, Rejected
from wire.host_session import HostSession
from wire.ids import NodeId

log = logging.getLogger(__name__)

MOST_REJECTED = 1_000  # malformed messages that wait to be written down


@dataclass(slots=True)
class Hearing:
    live: LiveValues
    stats: Stats
    _births: dict[tuple[NodeId, str], BornTags] = field(default_factory=dict)
    _counters: dict[tuple[NodeId, str], EpochCounters] = field(default_factory=dict)
    _rejected: list[tuple[NodeId, str, str, bytes]] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def take(self, event: Event, keep: Callable[[Data], bool], rebirths: Rebirths, now_ms: int) -> None:
        """One event of the session. keep: hands data to the store's queue, False when that is full."""
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
        kind = why.split(":")[0][:60]
        if kind not in self._told and len(self._told) < 1_000:
            self._told.add(kind)
            log.warning("message is not understood", extra={"topic": topic[:200], "why": why[:200]})
        if len(self._rejected) < MOST_REJECTED:
            self._rejected.append((node or NodeId("", ""), device, f"{topic[:200]}: {why}", payload[:MOST_BYTES]))

    def nobody(self, session: HostSession, now_ms: int) -> None:
        """The MQTT session is over: nothing that is shown is fresh."""
        for node in session.nodes:
            self.live.stale(node, now_ms=now_ms)

    async def flush(
        self, state: HostState, dead_letters: DeadLetters, figures: Counter[tuple[NodeId, str]], now_ms: int
    ) -> None:
        """Writes down what is new, and takes it out of `figures`. Raises StoreDown; the rest comes next time."""
        await self.flush_counters(state, now_ms)
        if births := dict(self._births):
            await state.keep_births(births, now_ms)
            self._births = {k: v for k, v in self._births.items() if births.get(k) is not v}
        while self._rejected:
            node, device, why, payload = self._rejected[0]
            await dead_letters.keep_message(node, device, why, payload, now_ms)
            self._rejected.pop(0)
        if grown := Counter(figures):
            await state.add_figures(grown)
            figures.subtract(grown)
            for key in [k for k, n in figures.items() if not n]:
                del figures[key]

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
