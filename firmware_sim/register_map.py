"""Which signal stands where: answers a read from the few signals that it touches, however many there are."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from firmware_sim.signals import BIT_TABLES, Signal, Table, Value


@dataclass(slots=True)
class _Column:
    """One table: its signals by rising address, and the addresses that exist."""

    signals: list[Signal]
    starts: list[int] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    widest: int = 1


class RegisterMap:
    """Fixed when the device is built; values come with each read."""

    def __init__(self, signals: Sequence[Signal]) -> None:
        self._columns: dict[Table, _Column] = {}
        for table in ("coil", "discrete", "input", "holding"):
            column = _Column(sorted((each for each in signals if each.table == table), key=lambda each: each.address))
            for each in column.signals:
                column.starts.append(each.address)
                column.known.update(each.addresses)
                column.widest = max(column.widest, each.width)
            self._columns[table] = column

    def exists(self, table: Table, address: int, count: int) -> bool:
        known = self._columns[table].known
        return all(at in known for at in range(address, address + count))

    def touched(self, table: Table, address: int, count: int) -> Iterator[Signal]:
        """The signals with at least one register or bit in this range."""
        column = self._columns[table]
        at = bisect_left(column.starts, address - column.widest + 1)
        while at < len(column.signals) and column.starts[at] < address + count:
            signal = column.signals[at]
            if column.starts[at] + signal.width > address:
                yield signal
            at += 1

    def read(
        self, table: Table, address: int, count: int, values: Mapping[str, Value]
    ) -> tuple[list[int], dict[str, Value]] | None:
        """The words or bits asked for and the engineering values of the signals that lie wholly among them.

        None when one of the addresses does not exist.
        """
        if not self.exists(table, address, count):
            return None
        cells, said = [0] * count, dict[str, Value]()
        for signal in self.touched(table, address, count):
            words = signal.words(values[signal.name])
            first = signal.address - address
            for at, word in enumerate(words, first):
                if 0 <= at < count:
                    cells[at] |= word  # several bits may share a register
            if first >= 0 and first + len(words) <= count:
                said[signal.name] = signal.value(words)
        return cells, said

    def written(
        self, table: Table, address: int, cells: Sequence[int], values: Mapping[str, Value]
    ) -> dict[str, Value] | None:
        """The values after these words or bits were written, or None when one of them cannot be written."""
        if not self.exists(table, address, len(cells)):
            return None
        changed: dict[str, Value] = {}
        for signal in self.touched(table, address, len(cells)):
            if not signal.writable:
                return None
            words = list(signal.words(values[signal.name]))
            for at in range(len(words)):
                if 0 <= signal.address + at - address < len(cells):
                    words[at] = cells[signal.address + at - address]
            changed[signal.name] = signal.value(words)
        return changed


def collisions(signals: Sequence[Signal]) -> list[str]:
    """One sentence for each place that two signals claim; bits of one register are no collision."""
    taken: dict[tuple[Table, int, int | None], str] = {}
    told: list[str] = []
    for signal in signals:
        if signal.table is None:
            continue
        as_bit = signal.raw_type == "bool" and signal.table not in BIT_TABLES
        for address in signal.addresses:
            rivals = [(signal.table, address, signal.bit if as_bit else None)]
            rivals += [(signal.table, address, None)] if as_bit else [(signal.table, address, bit) for bit in range(16)]
            other = next((taken[place] for place in rivals if place in taken), None)
            if other is not None:
                told.append(f"{signal.table} {address} holds both {other!r} and {signal.name!r}")
                break
            taken[rivals[0]] = signal.name
        if signal.addresses.stop > 0x10000:
            told.append(f"{signal.name!r} ends beyond address 65535")
    doubled = [name for name, count in Counter(each.name for each in signals).items() if count > 1]
    return told + [f"the name {name!r} is used twice" for name in doubled]
