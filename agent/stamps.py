"""Stamps that rise strictly per tag, also over a restart and when the clock steps back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wire.block import Block
from wire.tag import TagTable


class Stamps:
    """The newest stamp of every TagTable. A tag that has moved to a new table does not return to the old one."""

    def __init__(self, high_water: Mapping[tuple[str, str], int]) -> None:
        """high_water: (device, tag name) -> the newest stamp told before."""
        self._high_water = high_water
        self._newest: dict[TagTable, int] = {}

    def rising(self, tags: TagTable, ts_ms: int) -> int:
        """ts_ms, or the next millisecond after the newest stamp of these tags."""
        newest = self._newest.get(tags)
        if newest is None:
            newest = max((self._high_water.get((tags.device, name), -1) for name in tags.names), default=-1)
            # A new plan puts tags into other tables: those begin above the ones in which the tags stood before.
            before = [table for table in self._newest if table.device == tags.device]
            shared = [table for table in before if not set(table.names).isdisjoint(tags.names)]
            newest = max([newest, *(self._newest[table] for table in shared)])
        stamp = max(ts_ms, newest + 1)
        self._newest[tags] = stamp
        return stamp

    def risen(self, block: Block) -> Block:
        """The Block with a rising stamp."""
        stamp = self.rising(block.tags, block.ts_ms)
        return block if stamp == block.ts_ms else replace(block, ts_ms=stamp)
