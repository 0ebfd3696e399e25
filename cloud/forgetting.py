"""Edge nodes that have been gone for long are forgotten: their births and their place on the screen, never a sample."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloud.balance import Balance
from cloud.collector import Collector
from cloud.nodes import Nodes
from cloud.state.host import HostState
from wire.errors import StoreDown
from wire.ids import NodeId

log = logging.getLogger(__name__)

EVERY_S = 3600.0
MOST_KNOWN = 20_000
"""More nodes than these are invented names: those that never delivered anything under a key go first."""
INVENTED_MS = 3_600_000  # gone for an hour at least


@dataclass(slots=True)
class Forgetting:
    """after_ms: how long a node must have been silent. audit: raises StoreDown."""

    nodes: Nodes
    state: HostState
    collector: Collector
    audit: Callable[[], Awaitable[Balance]]
    after_ms: int
    now_ms: Callable[[], int]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.once()
            except StoreDown as fault:
                log.debug("nothing is forgotten now", extra={"error": str(fault)})

    async def once(self) -> list[NodeId]:
        """The nodes that were forgotten. One whose balance does not hold, or that holds data back, is kept."""
        now_ms = self.now_ms()
        silent = self.nodes.silent(now_ms - self.after_ms)
        surplus = len(self.nodes.known) - len(silent) - MOST_KNOWN
        invented = self.nodes.silent(now_ms - INVENTED_MS)[:surplus] if surplus > 0 else []
        if not silent and not invented:
            return []
        balance = await self.audit()
        open_now = {node for (node, _), counts in balance.devices.items() if counts.lost or counts.in_flight}
        delivering = set(balance.gateways)
        found = [node for node in silent if node not in open_now]
        found += [node for node in invented if node not in delivering and node not in found]
        # An audit takes a while: whoever came back meanwhile is not forgotten.
        found = [node for node in found if node not in self.collector.session.nodes]
        if found:
            await self.state.forget(found)
            for node in found:
                self.collector.forget(node)
            log.info("edge nodes are forgotten", extra={"nodes": len(found), "first": str(found[0])})
        return found
