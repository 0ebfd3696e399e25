"""Rows for a model: values of several tags, of one device or many, brought together at the model's pace. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wire.block import Block, CodeArray, FloatArray, Quality
from wire.tag import TagTable

GoesWithout = Callable[[NDArray[np.bool_]], bool]
"""Whether the model scores a row in which these inputs are missing."""


class Row(NamedTuple):
    """One row. values: shape (n_inputs,), NaN where bad. ts_ms: of the newest input. bad: no score can come of it.

    missing: some inputs are bad, and the model scores on the others.
    """

    ts_ms: int
    values: FloatArray
    bad: bool
    missing: bool = False


class Window:
    """The newest value of every input of one asset's model.

    A row is complete when each input has a value newer than the last row, or when one has and the model's period
    is over. Rows keep the model's pace, each at most half a period early: a device polled faster is thinned. An
    input that turns bad makes a bad row at once: its device may have nothing more to say. A model that goes without
    what is missing gets its rows at its pace, and nobody waits for what is bad. What is older than what is known of a
    tag is not news.
    """

    def __init__(
        self, inputs: Sequence[tuple[str, str]], period_ms: float, goes_without: GoesWithout | None = None
    ) -> None:
        """inputs: (device, tag name) in the model's order. goes_without: None for a model that needs them all."""
        self._inputs = tuple(inputs)
        self._period_ms = period_ms
        self._goes_without = goes_without
        n = len(self._inputs)
        self._values: FloatArray = np.full(n, np.nan)
        self._quality: CodeArray = np.full(n, Quality.BAD, np.uint8)
        self._newer = np.zeros(n, np.bool_)
        self._seen = np.zeros(n, np.bool_)
        self._stamps = [-1] * n
        self._newest_ms = -1
        self._columns: dict[TagTable, list[tuple[int, int]]] = {}
        self._last_ms: int | None = None
        self._due_ms = -np.inf  # when the model's pace wants the next row
        self._was_bad = False

    def inherit(self, old: Window) -> None:
        """Goes on where another window stands, so that a row under way is not lost when the model is exchanged."""
        for place, key in enumerate(self._inputs):
            if key in old._inputs:
                was = old._inputs.index(key)
                for mine, theirs in (
                    (self._values, old._values), (self._quality, old._quality), (self._newer, old._newer),
                    (self._seen, old._seen),
                ):  # fmt: skip
                    mine[place] = theirs[was]
                self._stamps[place] = old._stamps[was]
        self._newest_ms = old._newest_ms
        self._last_ms, self._was_bad = old._last_ms, old._was_bad
        # With another pace only the last row counts, not when the next one was due.
        same = self._period_ms == old._period_ms
        self._due_ms = old._due_ms if same or old._last_ms is None else old._last_ms + self._period_ms

    def row(self, block: Block) -> Row | None:
        """The row that this Block completes, if it does."""
        columns = self._columns.get(block.tags)
        if columns is None:
            columns = self._columns[block.tags] = self._places(block.tags)
        if not columns or not self._taken(block, columns):
            return None
        now_ms = self._newest_ms
        gap_ms = None if self._last_ms is None else now_ms - self._last_ms
        poor = (self._quality == Quality.BAD) | ~np.isfinite(self._values)
        gone = poor & self._seen
        some = bool(gone.any())
        bad = some and not (self._goes_without is not None and self._goes_without(poor))
        if self._complete(now_ms, gap_ms, self._newer if bad or not some else self._newer | gone):
            on_pace = abs(now_ms - self._due_ms) <= self._period_ms / 2
            self._due_ms = (self._due_ms if on_pace else now_ms) + self._period_ms
            self._newer[:] = False
        elif not bad or self._was_bad:
            return None
        self._was_bad = bad
        self._last_ms = now_ms
        if not some:
            return Row(now_ms, self._values.copy(), bad)
        return Row(now_ms, np.where(poor, np.nan, self._values), bad, not bad)

    def _taken(self, block: Block, columns: list[tuple[int, int]]) -> bool:
        """Whether something of the Block was news."""
        news = False
        for place, column in columns:
            if block.ts_ms < self._stamps[place]:
                continue
            other = block.others.get(column)
            number = block.values[column] if other is None or isinstance(other, str) else float(other)
            self._values[place] = number
            self._quality[place] = block.quality[column]
            self._newer[place] = self._seen[place] = news = True
            self._stamps[place] = block.ts_ms
        self._newest_ms = max(self._newest_ms, block.ts_ms) if news else self._newest_ms
        return news

    def _complete(self, ts_ms: int, gap_ms: int | None, told: NDArray[np.bool_]) -> bool:
        """told: which inputs have said something since the last row, or never will."""
        if ts_ms < self._due_ms - self._period_ms / 2:
            return False
        if told.all():
            return True
        return gap_ms is not None and gap_ms >= self._period_ms and bool(self._seen.all())

    def _places(self, tags: TagTable) -> list[tuple[int, int]]:
        """(input, column) of the inputs that stand in a table."""
        return [
            (place, tags.column(name))
            for place, (device, name) in enumerate(self._inputs)
            if device == tags.device and name in tags.names
        ]
