"""A signal of a device: its register, encoding and unit, and the way from value to words and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Value = bool | int | float
Table = Literal["coil", "discrete", "input", "holding"]
BIT_TABLES: frozenset[Table] = frozenset(("coil", "discrete"))

# raw type -> (struct code, number of 16-bit words)
_RAW: dict[str, tuple[str, int]] = {
    "uint16": ("H", 1),
    "int16": ("h", 1),
    "uint32": ("I", 2),
    "int32": ("i", 2),
    "float32": ("f", 2),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One point of a device. `origin` says whether a recording or our physics makes its value.

    Integer registers hold round(value / scale), held at the end of their range as real devices do.
    `order` is ABCD (high word first) or CDAB (low word first). table None: the signal travels as text.
    """

    name: str
    unit: str
    origin: Literal["recording", "physics"]
    table: Table | None = None
    address: int = 0
    raw_type: Literal["bool", "uint16", "int16", "uint32", "int32", "float32", "text"] = "text"
    scale: float = 1.0
    order: Literal["ABCD", "CDAB"] = "ABCD"

    @property
    def addresses(self) -> range:
        """The registers or bits that hold this signal."""
        width = _RAW[self.raw_type][1] if self.raw_type in _RAW else 1
        return range(self.address, self.address + width)

    def words(self, value: Value) -> tuple[int, ...]:
        """The 16-bit words (or the one bit) that say this value."""
        if self.raw_type == "bool":
            return (int(bool(value)),)
        code, width = _RAW[self.raw_type]
        if code == "f":
            packed = struct.pack(">f", value)
        else:
            bits = 16 * width
            low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)
            packed = struct.pack(">" + code, min(high, max(low, round(value / self.scale))))
        words = struct.unpack(f">{width}H", packed)
        return words if self.order == "ABCD" else words[::-1]

    def value(self, words: Sequence[int]) -> Value:
        """The engineering value that these words say: what a perfect reader would report."""
        if self.raw_type == "bool":
            return bool(words[0])
        code, width = _RAW[self.raw_type]
        ordered = words if self.order == "ABCD" else words[::-1]
        raw = struct.unpack(">" + code, struct.pack(f">{width}H", *ordered))[0]
        if code == "f":
            return float(raw)
        # The product of an integer and 0.01 has noise in the last digits; the register does not.
        return int(raw) if self.scale == 1.0 else round(raw * self.scale, 9)

    def as_served(self, value: Value) -> Value:
        """The value after its way through the register."""
        return value if self.table is None else self.value(self.words(value))


class RegisterImage:
    """What every register and bit of a device holds at one moment."""

    def __init__(self, signals: Sequence[Signal], values: Mapping[str, Value]) -> None:
        self._signals = signals
        self._cells: dict[Table, dict[int, int]] = {"coil": {}, "discrete": {}, "input": {}, "holding": {}}
        for signal in signals:
            if signal.table is not None:
                cells = self._cells[signal.table]
                cells.update(zip(signal.addresses, signal.words(values[signal.name]), strict=True))

    def read(self, table: Table, address: int, count: int) -> list[int] | None:
        """The words or bits asked for, or None when one of them does not exist."""
        cells = self._cells[table]
        wanted = range(address, address + count)
        return [cells[at] for at in wanted] if all(at in cells for at in wanted) else None

    def covered(self, table: Table, address: int, count: int) -> dict[str, Value]:
        """Engineering values of the signals that lie wholly within these registers."""
        cells, last = self._cells[table], address + count
        return {
            signal.name: signal.value([cells[at] for at in signal.addresses])
            for signal in self._signals
            if signal.table == table and signal.address >= address and signal.addresses.stop <= last
        }
