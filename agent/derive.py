"""Derived tags: expressions over tags, of one device or several, calculated as their inputs come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.expression import Expression, Number
from agent.report import Reporter
from agent.scaling import Scaling
from agent.spec import DerivedSpec, LineSpec
from agent.stamps import Stamps
from wire.block import Block, Reason
from wire.tag import TagTable

# How much longer than the shortest period an input may take and still set the pace: clocks are not that exact.
_SAME_PACE = 1.01


@dataclass(frozen=True, slots=True)
class Derived:
    """What a Block gave rise to. told: the part of blocks that is worth it. suppressed: device -> samples held back."""

    blocks: tuple[Block, ...] = ()
    told: tuple[Block, ...] = ()
    suppressed: Mapping[str, int] = field(default_factory=dict)


class _Tag:
    """One derived tag.

    It is calculated when each input of the shortest period has a new value, with the newest of the others; and at
    once when an input turns BAD, whose device may have nothing more to say.
    """

    def __init__(self, device: str, spec: DerivedSpec, period_s: Mapping[tuple[str, str], float]) -> None:
        self.key = (device, spec.point.tag.name)
        self._expression = Expression(spec.expression)
        self.inputs = spec.inputs
        self.devices = {device, *(device for device, _ in spec.inputs)}
        self.table = TagTable([spec.point.tag])
        self.reporter = Reporter((spec.point,), self.table)
        self._bool = spec.point.type == "bool"
        self._scaling = Scaling((spec.point,), self.table)
        shortest = min(period_s[key] for key in spec.inputs)
        self._pacing = {i for i, key in enumerate(spec.inputs) if period_s[key] <= shortest * _SAME_PACE}
        self._values: list[Number | None] = [None] * len(spec.inputs)
        self._seen: set[int] = set()
        self._newer: set[int] = set()
        self._dead: set[int] = set()
        self._was_bad = False

    def take(self, block: Block, places: Sequence[tuple[int, int]]) -> Block | None:
        """places: (input, column) of the inputs that stand in the Block."""
        for i, column in places:
            value = block.value(column)
            self._values[i] = None if isinstance(value, str) else value
            self._seen.add(i)
            self._newer.add(i)
            (self._dead.add if block.reason[column] == Reason.DEVICE_DEAD else self._dead.discard)(i)
        bad = any(self._values[i] is None for i in self._seen)
        due = len(self._seen) == len(self._values) and self._newer >= self._pacing
        if not due and not (bad and not self._was_bad):
            return None
        if bad and self._was_bad and self._dead:
            return None  # the device of an input is lost: that was its last word
        if due:
            self._newer.clear()
        self._was_bad = bad
        return self._result(block.ts_ms, bad)

    def _result(self, ts_ms: int, bad: bool) -> Block:
        raw = np.full(1, np.nan)
        if bad:
            return Block.bad(ts_ms, self.table, Reason.INPUT_BAD)
        try:
            value = self._expression.value([v for v in self._values if v is not None])
            if self._bool and not math.isnan(value):
                return self._scaling.block(ts_ms, raw, np.zeros(1, np.uint8), {0: bool(value)})
            raw[0] = float(value)
        except ZeroDivisionError:
            return Block.bad(ts_ms, self.table, Reason.DIVISION_BY_ZERO)
        except OverflowError:
            return Block.bad(ts_ms, self.table, Reason.OUT_OF_RANGE)
        except ValueError:
            return Block.bad(ts_ms, self.table, Reason.NOT_A_NUMBER)
        if np.isinf(raw[0]):
            return Block.bad(ts_ms, self.table, Reason.OUT_OF_RANGE)
        return self._scaling.block(ts_ms, raw, np.zeros(1, np.uint8), {})


class Deriver:
    """All derived tags of a site, over all lines: inputs may be read on several."""

    def __init__(self, lines: Sequence[LineSpec], high_water: Mapping[tuple[str, str], int]) -> None:
        """high_water: (device, tag name) -> the newest stamp told before. Raises ConfigError for a wrong expression."""
        self._line_of: dict[str, LineSpec] = {}
        self._tags: list[_Tag] = []
        self._stamps = Stamps(high_water)
        self._places: dict[TagTable, list[tuple[_Tag, list[tuple[int, int]]]]] = {}
        self._make(lines, {})

    def _make(self, lines: Sequence[LineSpec], running: Mapping[tuple[str, str], _Tag]) -> None:
        self._line_of = {device.id: line for line in lines for device in line.devices}
        devices = [device for line in lines for device in line.devices]
        period_s = {(d.id, p.tag.name): p.period_s or d.period_s for d in devices for p in d.points}
        self._tags = [
            running.get((device.id, spec.point.tag.name)) or _Tag(device.id, spec, period_s)
            for device in devices
            for spec in device.derived
        ]

    def renewed(self, lines: Sequence[LineSpec]) -> Deriver:
        """That of another configuration. A tag goes on with its inputs where no line of it changes.

        Raises ConfigError for a wrong expression.
        """
        before, after = ({line.name: line for line in each} for each in (self._line_of.values(), lines))
        changed = {name for name, line in before.items() if after.get(name) != line}
        new = Deriver((), {})
        kept = (tag for tag in self._tags if not any(self._line_of[d].name in changed for d in tag.devices))
        new._make(lines, {tag.key: tag for tag in kept})
        return new

    def copied(self) -> Deriver:
        """The same tags in a list of its own."""
        return self.shared(self)

    def shared(self, other: Deriver) -> Deriver:
        """The tags that both have."""
        both = Deriver((), {})
        others = set(map(id, other._tags))
        both._tags, both._line_of = [tag for tag in self._tags if id(tag) in others], self._line_of
        return both

    def adopt(self, other: Deriver, high_water: Mapping[tuple[str, str], int] | None = None) -> None:
        """Becomes what the other is; stamps rise above high_water, if it is given, or else go on."""
        self._tags, self._line_of, self._places = other._tags, other._line_of, {}
        if high_water is not None:
            self._stamps = Stamps(high_water)

    def derive(self, block: Block) -> Derived:
        """The derived values that this Block completes."""
        if not self._tags:
            return Derived()
        places = self._places.get(block.tags)
        if places is None:
            places = self._places[block.tags] = self._found(block.tags)
        blocks: list[Block] = []
        told: list[Block] = []
        suppressed: Counter[str] = Counter()
        for tag, columns in places:
            result = tag.take(block, columns)
            if result is not None:
                blocks.append(self._stamps.risen(result))
                kept, held = tag.reporter.worth_telling(blocks[-1])
                told += [] if kept is None else [kept]
                if held:
                    suppressed[result.device] += held
        return Derived(tuple(blocks), tuple(told), suppressed)

    def _found(self, table: TagTable) -> list[tuple[_Tag, list[tuple[int, int]]]]:
        found = []
        for tag in self._tags:
            columns = [
                (i, table.column(name))
                for i, (device, name) in enumerate(tag.inputs)
                if device == table.device and name in table.names
            ]
            if columns:
                found.append((tag, columns))
        return found
