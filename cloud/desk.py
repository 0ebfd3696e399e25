"""What a person at the host may ask beside the balance: a time's audit, a refill, the edge nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloud.collector import Collector
from cloud.commands import refill
from cloud.nodes import Nodes
from cloud.twins import Twins
from cloud.window import WindowAudit, WindowAuditor
from wire.errors import ConfigError
from wire.ids import NodeId


@dataclass(slots=True)
class Desk:
    host_id: str
    collector: Collector
    nodes: Nodes
    twins: Twins
    windows: WindowAuditor
    now_ms: Callable[[], int]

    async def window(self, from_ms: int, to_ms: int, gateway: NodeId | None) -> WindowAudit:
        """Raises StoreDown."""
        return await self.windows(from_ms, to_ms, gateway)

    async def refill(self, from_ms: int, to_ms: int, gateway: NodeId | None) -> dict[str, list[str]]:
        """Asks gateways to send again what they kept of a time. asked, and away: gateways that cannot be asked now.

        Raises ConfigError when there is no session with the broker.
        """
        if not self.collector.online:
            raise ConfigError("the host has no session with the broker: ask again when /api/health says ok")
        known = [n for n, seen in self.nodes.known.items() if seen.memory is not None and gateway in (None, n)]
        there = [n for n in known if n in self.collector.session.nodes]
        now_ms = self.now_ms()
        await self.collector.say(refill(self.host_id, node, from_ms, to_ms, now_ms) for node in sorted(there))
        return {"asked": sorted(map(str, there)), "away": sorted(str(n) for n in known if n not in there)}

    def all_nodes(self) -> list[dict[str, Any]]:
        """Every edge node that is known; heard_s: seconds since it was heard last."""
        now_ms = self.now_ms()
        alarmed = self.twins.alarmed(now_ms)
        return [
            {
                "node": str(node),
                "state": "alive" if seen.alive else "stale",
                "since_ms": seen.since_ms,
                "heard_ms": seen.heard_ms,
                "heard_s": round((now_ms - seen.heard_ms) / 1000, 1),
                "born_ms": seen.born_ms,
                "bd_seq": seen.bd_seq,
                "protocol": seen.protocol,
                "duplicate_id": node in alarmed,
                "left_out": dict(sorted(seen.left_out.items())),
            }
            for node, seen in sorted(self.nodes.known.items())
        ]
