"""Report by exception: which values of a Block are worth telling. Pure; time comes from the Block's own stamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.spec import PointSpec
from wire.block import Block, Quality
from wire.tag import TagTable

_KEPT_TABLES = 256  # column subsets remembered per table, so that a Block of the same subset shares its TagTable


class Reporter:
    """Remembers what was last told of each tag of one TagTable.

    A change of quality or reason is always told. Else a value is told when it moved by more than its deadband
    since it was last told, or has no deadband at all, but not before min_silence_s; and at the latest after
    max_silence_s, by the stamp of the Block at hand. Booleans, strings and 64-bit integers: with a deadband, told
    when changed (64-bit integers: by more than the deadband).
    """

    def __init__(self, points: Sequence[PointSpec], tags: TagTable) -> None:
        self._tags = tags
        n = len(tags)
        self._always = np.array([p.deadband is None and p.deadband_percent is None for p in points])
        self._band = np.array([max(p.deadband or 0.0, _of_range(p)) for p in points])
        # A per-cent deadband without a range is one of the value last told.
        self._relative = np.array([(p.deadband_percent or 0.0) / 100.0 if not _has_range(p) else 0.0 for p in points])
        self._everything = bool(self._always.all()) and not any(p.min_silence_s for p in points)
        silence = [np.inf if p.max_silence_s is None else p.max_silence_s * 1000.0 for p in points]
        self._silence_ms = np.array(silence)
        self._pause_ms = np.array([(p.min_silence_s or 0.0) * 1000.0 for p in points])
        self._values = np.full(n, np.nan)
        self._others: dict[int, bool | int | str] = {}
        self._codes = np.full(n, -1, np.int32)
        self._told_ms = np.full(n, -np.inf)
        self._subsets: dict[bytes, TagTable] = {}

    def worth_telling(self, block: Block) -> tuple[Block | None, int]:
        """The told part of a Block (None when nothing is) and how many samples were held back."""
        if self._everything:
            return block, 0
        codes = block.quality.astype(np.int32) << 8 | block.reason
        band = np.fmax(self._band, self._relative * np.abs(np.nan_to_num(self._values)))
        moved = np.abs(block.values - self._values) > band
        wanted = self._always | moved
        for column, value in block.others.items():
            wanted[column] = wanted[column] or self._changed(column, value)
        quiet_ms = block.ts_ms - self._told_ms
        told = (codes != self._codes) | (wanted & (quiet_ms >= self._pause_ms)) | (quiet_ms >= self._silence_ms)
        if not told.any():
            return None, len(told)
        self._remember(block, told, codes)
        if told.all():
            return block, 0
        return self._part(block, told), int(len(told) - told.sum())

    def _changed(self, column: int, value: bool | int | str) -> bool:
        last = self._others.get(column)
        if last is None or isinstance(value, (bool, str)) or isinstance(last, (bool, str)):
            return value != last
        return abs(value - last) > max(float(self._band[column]), float(self._relative[column]) * abs(last))

    def _remember(self, block: Block, told: NDArray[np.bool_], codes: NDArray[np.int32]) -> None:
        good = told & (block.quality != Quality.BAD)
        self._values[good] = block.values[good]
        self._codes[told] = codes[told]
        self._told_ms[told] = block.ts_ms
        self._others.update({c: v for c, v in block.others.items() if told[c]})

    def _part(self, block: Block, told: NDArray[np.bool_]) -> Block:
        columns = np.flatnonzero(told)
        key = told.tobytes()
        tags = self._subsets.get(key)
        if tags is None:
            tags = TagTable([self._tags[int(i)] for i in columns])
            if len(self._subsets) < _KEPT_TABLES:
                self._subsets[key] = tags
        others = {new: block.others[int(old)] for new, old in enumerate(columns) if int(old) in block.others}
        return Block(
            block.ts_ms, tags, block.values[columns], block.quality[columns], block.reason[columns], others
        )  # fmt: skip


def _has_range(point: PointSpec) -> bool:
    return point.low is not None and point.high is not None


def _of_range(point: PointSpec) -> float:
    if point.low is None or point.high is None:
        return 0.0
    return (point.deadband_percent or 0.0) / 100.0 * (point.high - point.low)
