"""Rows for a model: values of several tags, of one device or many, brought together at the model's pace. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wire.block import Block, CodeArray, FloatArray, Quality
from wire.tag import TagTable


class Row(NamedTuple):
    """One row. values: shape (n_inputs,), NaN where bad. ts_ms: of the newest input."""

    ts_ms: int
    values: FloatArray
    bad: bool


class Window:
    """The newest value of every input of one asset's model.

    A row is complete when each input has a value newer than the last row, or when one has and the model's period
    is over. Rows keep the model's pace, each at most half a period early: a device polled faster is thinned. An
    input that turns bad makes a bad row at once: its device may have nothing more to say.
    """

    def __init__(self, inputs: Sequence[tuple[str, str]], period_ms: float) -> None:
        """inputs: (device, tag name) in the model's order."""
        self._inputs = tuple(inputs)
        self._period_ms = period_ms
        n = len(self._inputs)
        self._values: FloatArray = np.full(n, np.nan)
        self._quality: CodeArray = np.full(n, Quality.BAD, np.uint8)
        self._newer = np.zeros(n, np.bool_)
        self._seen = np.zeros(n, np.bool_)
        self._columns: dict[TagTable, list[tuple[int, int]]] = {}
        self._last_ms: int | None = None
        self._due_ms = -np.inf  # when the model's pace wants the next row
        self._was_bad = False

    def row(self, block: Block) -> Row | None:
        """The row that this Block completes, if it does."""
        columns = self._columns.get(block.tags)
        if columns is None:
            columns = self._columns[block.tags] = self._places(block.tags)
        if not columns:
            return None
        for place, column in columns:
            other = block.others.get(column)
            number = block.values[column] if other is None or isinstance(other, str) else float(other)
            self._values[place] = number
            self._quality[place] = block.quality[column]
            self._newer[place] = self._seen[place] = True
        gap_ms = None if self._last_ms is None else block.ts_ms - self._last_ms
        bad = bool(((self._quality == Quality.BAD) & self._seen).any() or np.isinf(self._values).any())
        if self._complete(block.ts_ms, gap_ms):
            on_pace = abs(block.ts_ms - self._due_ms) <= self._period_ms / 2
            self._due_ms = (self._due_ms if on_pace else block.ts_ms) + self._period_ms
            self._newer[:] = False
        elif not bad or self._was_bad:
            return None
        self._was_bad = bad
        self._last_ms = block.ts_ms
        return Row(block.ts_ms, self._values.copy(), bad)

    def _complete(self, ts_ms: int, gap_ms: int | None) -> bool:
        if ts_ms < self._due_ms - self._period_ms / 2:
            return False
        if self._newer.all():
            return True
        return gap_ms is not None and gap_ms >= self._period_ms and bool(self._seen.all())

    def _places(self, tags: TagTable) -> list[tuple[int, int]]:
        """(input, column) of the inputs that stand in a table."""
        return [
            (place, tags.column(name))
            for place, (device, name) in enumerate(self._inputs)
            if device == tags.device and name in tags.names
        ]
