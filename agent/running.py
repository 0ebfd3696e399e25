"""Whether an asset runs, as one of its tags says. Pure."""

from __future__ import annotations

from agent.spec import RunningSpec
from wire.block import Block, Quality, Reason
from wire.tag import TagTable


class RunWatch:
    """running: None until the tag has said something. bad: the tag is BAD now, and what it said last still counts.

    since_ms: the stamp of the Block in which that began; None before the first.
    """

    def __init__(self, spec: RunningSpec) -> None:
        self.spec = spec
        self.running: bool | None = None
        self.bad = False
        self.since_ms: int | None = None
        self._newest_ms = -1
        self._columns: dict[TagTable, int | None] = {}

    def inherit(self, old: RunWatch) -> None:
        """Knows what another watch of the same tag has seen; what it means is judged with the next value."""
        if (self.spec.device, self.spec.tag) == (old.spec.device, old.spec.tag):
            self.running, self.bad, self.since_ms, self._newest_ms = old.running, old.bad, old.since_ms, old._newest_ms

    def take(self, block: Block) -> None:
        """Looks for the tag in a Block. An older value than the one that is known is not news."""
        column = self._columns.get(block.tags, -1)
        if column == -1:
            here = block.tags.device == self.spec.device and self.spec.tag in block.tags.names
            column = self._columns[block.tags] = block.tags.column(self.spec.tag) if here else None
        if column is None or block.ts_ms < self._newest_ms:
            return
        self._newest_ms = block.ts_ms
        self.bad = bool(block.quality[column] == Quality.BAD)
        if self.bad:
            return
        now = self._says(block.value(column))
        if now is not self.running:
            self.running, self.since_ms = now, block.ts_ms

    def reason(self, ts_ms: int) -> Reason:
        """Why there is nothing to judge at that time; NONE where there is. settle_s only counts after a standstill
        that was seen, or at the first value."""
        if self.running is None:
            return Reason.INPUT_BAD
        if not self.running:
            return Reason.NOT_RUNNING
        settling = self.since_ms is not None and ts_ms - self.since_ms < self.spec.settle_s * 1000
        return Reason.WARMING_UP if settling else Reason.NONE

    def _says(self, value: object) -> bool:
        if self.spec.states:
            return value in self.spec.states
        if self.spec.above is None:
            return bool(value)
        return isinstance(value, int | float) and value > self.spec.above
