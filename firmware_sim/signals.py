"""A signal of a device: its register, encoding and unit, and the way from value to words and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Value = bool | int | float | str
Table = Literal["coil", "discrete", "input", "holding"]
RawType = Literal[
    "bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bcd16", "bcd32", "string"
]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
BIT_TABLES: frozenset[Table] = frozenset(("coil", "discrete"))

# raw type -> (struct code, number of 16-bit words)
_RAW: dict[str, tuple[str, int]] = {
    "uint16": ("H", 1),
    "int16": ("h", 1),
    "uint32": ("I", 2),
    "int32": ("i", 2),
    "uint64": ("Q", 4),
    "int64": ("q", 4),
    "float32": ("f", 2),
    "float64": ("d", 4),
}
_BCD_WORDS = {"bcd16": 1, "bcd32": 2}
_LARGEST_FLOAT32 = 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class Signal:
    """One point of a device. `origin` says whether a recording or our physics makes its value.

    Integer registers hold round((value - offset) / scale), held at the end of their range as real devices do.
    `order`: ABCD high word and high byte first, CDAB low word first, BADC bytes swapped in each word, DCBA both;
    64-bit values alike. table None: the signal travels in a frame. A bool in a word table is bit `bit` of it.
    `words_long`: registers of a string. `counter`: starts at 0 after a restart. `writable`: a client may set it.
    """

    name: str
    unit: str
    origin: Literal["recording", "physics", "table"]
    table: Table | None = None
    address: int = 0
    raw_type: RawType | Literal["text"] = "text"
    scale: float = 1.0
    order: Order = "ABCD"
    offset: float = 0.0
    bit: int = 0
    words_long: int = 8
    counter: bool = False
    writable: bool = False

    @property
    def width(self) -> int:
        """Registers or bits that hold this signal."""
        if self.raw_type == "string":
            return self.words_long
        return _RAW[self.raw_type][1] if self.raw_type in _RAW else _BCD_WORDS.get(self.raw_type, 1)

    @property
    def addresses(self) -> range:
        return range(self.address, self.address + self.width)

    def words(self, value: Value) -> tuple[int, ...]:
        """The 16-bit words (or the one bit) that say this value."""
        if self.raw_type == "bool":
            return (int(bool(value)) << (0 if self.table in BIT_TABLES else self.bit),)
        width = self.width
        if self.raw_type == "string":
            packed = str(value).encode("latin-1", "replace")[: 2 * width].ljust(2 * width, b"\0")
        else:
            packed = self._packed(float(value) if isinstance(value, str) else value, width)
        return self._ordered(struct.unpack(f">{width}H", packed))

    def _packed(self, value: bool | int | float, width: int) -> bytes:
        if self.raw_type in _BCD_WORDS:
            digits = 4 * width
            return bytes.fromhex(f"{min(10**digits - 1, max(0, self._raw(value))):0{digits}d}")
        code = _RAW[self.raw_type][0]
        if code == "f":
            # struct refuses what rounds beyond the largest float; infinity itself is a float.
            largest = _LARGEST_FLOAT32 if math.isfinite(value) else math.inf
            return struct.pack(">f", min(largest, max(-largest, value)) if value == value else value)
        if code == "d":
            return struct.pack(">d", value)
        bits = 16 * width
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)
        return struct.pack(">" + code, min(high, max(low, self._raw(value))))

    def _raw(self, value: bool | int | float) -> int:
        if self.scale == 1.0 and self.offset == 0.0:
            return round(value)  # not through a division: 64-bit integers stay exact
        return round((value - self.offset) / self.scale)

    def _ordered(self, words: tuple[int, ...]) -> tuple[int, ...]:
        """Big-endian words in this signal's order, and back again: each order is its own inverse."""
        if self.order in ("BADC", "DCBA"):
            words = tuple((word & 0xFF) << 8 | word >> 8 for word in words)
        return words if self.order in ("ABCD", "BADC") else words[::-1]

    def value(self, words: Sequence[int]) -> Value:
        """The engineering value that these words say: what a perfect reader would report."""
        if self.raw_type == "bool":
            return bool(words[0]) if self.table in BIT_TABLES else bool(words[0] >> self.bit & 1)
        packed = struct.pack(f">{self.width}H", *self._ordered(tuple(words)))
        if self.raw_type == "string":
            return packed.rstrip(b"\0").decode("latin-1")
        if self.raw_type in _BCD_WORDS:
            return self._engineering(int(packed.hex()))
        code = _RAW[self.raw_type][0]
        raw = struct.unpack(">" + code, packed)[0]
        return float(raw) if code in "fd" else self._engineering(int(raw))

    def _engineering(self, raw: int) -> int | float:
        # The product of an integer and 0.01 has noise in the last digits; the register does not.
        return raw if self.scale == 1.0 and self.offset == 0.0 else round(raw * self.scale + self.offset, 9)

    def as_served(self, value: Value) -> Value:
        """The value after its way through the register."""
        return value if self.table is None else self.value(self.words(value))
