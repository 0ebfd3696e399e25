"""When to ask an edge node for its births again: not at once for all, and not over and over. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wire.ids import NodeId

SPREAD_MS = 500
"""Up to so long after the need: a host that comes back must not make a thousand gateways speak at once."""
SHORTEST_MS = 5_000
LONGEST_MS = 300_000
MOST_PER_S = 50
"""Nodes asked in one second: a birth of 10,000 tags is half a megabyte, and a host has all of them to read."""
MOST_NODES = 20_000


@dataclass(slots=True)
class _Asked:
    times: int = 0
    not_before_ms: int = 0
    due_ms: int | None = None


@dataclass(slots=True)
class Rebirths:
    """dice: gives numbers in [0, 1)."""

    dice: Callable[[], float]
    _nodes: dict[NodeId, _Asked] = field(default_factory=dict)
    _room: float = MOST_PER_S
    _room_ms: int = 0

    def want(self, node: NodeId, now_ms: int) -> None:
        asked = self._nodes.get(node)
        if asked is None:
            if len(self._nodes) >= MOST_NODES:
                self._nodes.pop(next(iter(self._nodes)))
            asked = self._nodes[node] = _Asked()
        if asked.due_ms is None:
            asked.due_ms = max(now_ms, asked.not_before_ms) + int(self.dice() * SPREAD_MS)

    def born(self, node: NodeId, now_ms: int) -> None:
        """The node has said its births: nothing is due. The next need is met soon, but not at once."""
        if node in self._nodes:
            self._nodes[node] = _Asked(not_before_ms=now_ms + SHORTEST_MS)

    def due(self, now_ms: int) -> list[NodeId]:
        """The nodes to ask now, longest due first; a node that does not answer is asked ever less often."""
        elapsed_s = min(1.0, max(0.0, (now_ms - self._room_ms) / 1000))
        self._room, self._room_ms = min(MOST_PER_S / 5, self._room + elapsed_s * MOST_PER_S), now_ms
        waiting = sorted((a.due_ms, n) for n, a in self._nodes.items() if a.due_ms is not None and a.due_ms <= now_ms)
        found = []
        for _, node in waiting[: int(self._room)]:
            asked = self._nodes[node]
            asked.due_ms = None
            asked.not_before_ms = now_ms + min(LONGEST_MS, SHORTEST_MS * 2 ** min(asked.times, 10))
            asked.times += 1
            found.append(node)
        self._room -= len(found)
        return found

    def forget(self, node: NodeId) -> None:
        self._nodes.pop(node, None)
