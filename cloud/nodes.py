"""Every edge node that was ever born: whether it is there, since when, when it was heard last. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wire.host_events import Data, DeviceBorn, Event, Gone, LeftOut, NodeBorn
from wire.ids import NodeId

HEARD_EVERY_MS = 600_000
"""When a node was heard is written down so often: its aliases go along, and a thousand nodes must not fill the disk."""
MOST_LEFT_OUT = 100  # metrics of one node that are listed


@dataclass(slots=True)
class Seen:
    """One node. since_ms: alive or gone since then. left_out: 'device/metric (datatype)' -> how often."""

    alive: bool = False
    since_ms: int = 0
    born_ms: int = 0
    heard_ms: int = 0
    bd_seq: int | None = None
    protocol: str = ""
    left_out: dict[str, int] = field(default_factory=dict)
    memory: dict[str, Any] | None = None
    kept_ms: int = 0  # heard_ms as it is written down
    changed: bool = False

    def content(self) -> dict[str, Any]:
        names = ("alive", "since_ms", "born_ms", "heard_ms", "bd_seq", "protocol", "left_out", "memory")
        return {name: getattr(self, name) for name in names} | {"left_out": dict(self.left_out)}


@dataclass(slots=True)
class Nodes:
    known: dict[NodeId, Seen] = field(default_factory=dict)
    reborn: set[NodeId] = field(default_factory=set)  # whose memory must be written down anew

    def restore(self, found: Mapping[NodeId, Mapping[str, Any]]) -> None:
        """As the state knows them at start. Nobody is there until it is heard."""
        for node, content in found.items():
            seen = Seen(**{k: v for k, v in content.items() if k in Seen.__slots__ and k != "alive"})
            if content.get("alive") or not seen.since_ms:
                seen.since_ms = seen.heard_ms
            seen.kept_ms = seen.heard_ms
            self.known[node] = seen

    def hear(self, event: Event, now_ms: int) -> None:
        match event:
            case NodeBorn(node=node):
                seen = self._heard(node, now_ms)
                seen.born_ms, seen.bd_seq, seen.protocol = now_ms, event.bd_seq, event.protocol[:64]
                seen.changed = True
                self.reborn.add(node)
            case DeviceBorn(node=node):
                self._heard(node, now_ms)
                self.reborn.add(node)
            case Data(node=node):
                self._heard(node, now_ms)
            case LeftOut(node=node, device=device):
                seen = self._heard(node, now_ms)
                for name, kind in event.metrics:
                    what = f"{device}/{name[:100]} ({kind})" if device else f"{name[:100]} ({kind})"
                    if what in seen.left_out or len(seen.left_out) < MOST_LEFT_OUT:
                        seen.left_out[what] = seen.left_out.get(what, 0) + 1
                seen.changed = True
            case Gone(node=node, device=None):
                self.gone([node], now_ms)
            case _:
                pass

    def _heard(self, node: NodeId, now_ms: int) -> Seen:
        seen = self.known.setdefault(node, Seen())
        seen.heard_ms = now_ms
        if not seen.alive:
            seen.alive, seen.since_ms, seen.changed = True, now_ms, True
        if now_ms - seen.kept_ms >= HEARD_EVERY_MS:
            seen.changed = True
        return seen

    def gone(self, nodes: Iterable[NodeId], now_ms: int) -> None:
        for node in nodes:
            seen = self.known.get(node)
            if seen is not None and seen.alive:
                seen.alive, seen.since_ms, seen.changed = False, now_ms, True

    def unwritten(self) -> dict[NodeId, dict[str, Any]]:
        """What changed since it was written down last. `written` once it is."""
        return {node: seen.content() for node, seen in self.known.items() if seen.changed}

    def written(self, found: Mapping[NodeId, Mapping[str, Any]]) -> None:
        for node, content in found.items():
            seen = self.known.get(node)
            if seen is not None and seen.content() == content:
                seen.changed = False
                seen.kept_ms = seen.heard_ms

    def silent(self, before_ms: int) -> list[NodeId]:
        """Nodes that are gone and were heard last before then, longest silent first."""
        found = [(seen.heard_ms, node) for node, seen in self.known.items() if not seen.alive]
        return [node for heard_ms, node in sorted(found) if heard_ms < before_ms]

    def forget(self, node: NodeId) -> None:
        self.known.pop(node, None)
        self.reborn.discard(node)
