"""DL/T 645-2007, the protocol of Chinese electricity meters: frames, data items, numbers. Pure.

Source: DL/T 645-2007, "Multi-function watt-hour meter communication protocol": chapter 5 (frame), 7.1 (reading),
annex A, tables A.1 and A.3 (data identifiers and formats).

A frame: 68 A0..A5 68 C L data CS 16. The address is BCD, its lowest digits first. Each byte of data is sent with
33H added, the lowest first. CS is the sum of all bytes from the first 68 on, modulo 256. Up to four FE may go ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from agent.scaling import Scaling
from agent.spec import PointSpec
from wire.block import Block, Reason
from wire.tag import TagTable

READ, READ_MORE = 0x11, 0x12
ANSWER, FOLLOWS, REFUSED = 0x80, 0x20, 0x40
"""Bits of the control code: from the meter; another frame follows; the meter refuses."""
_OFFSET = 0x33
_LONGEST_DATA = 200  # L <= 200 in read frames (5.2.4)

ERRORS = {
    0x01: "other error",
    0x02: "no such data",
    0x04: "password wrong or no right",
    0x08: "baud rate cannot be changed",
    0x10: "too many year zones",
    0x20: "too many daily periods",
    0x40: "too many tariffs",
}
"""Bits of the ERR byte of a refusal (7.1.3, table of ERR)."""


class Item(NamedTuple):
    """One data item. size: bytes of BCD; decimals: digits behind the point; signed: the highest bit is the sign."""

    data_id: int
    size: int
    decimals: int
    unit: str
    signed: bool = False


def _items() -> dict[str, Item]:
    found: dict[str, Item] = {}
    # Energy: 00 kind tariff 00, XXXXXX.XX. Tariff 0 is the total, 1 to 4 the usual sharp, peak, flat, valley.
    for name, kind, unit, signed in (
        ("energy_combined", 0x00, "kW.h", True),
        ("energy_import", 0x01, "kW.h", False),
        ("energy_export", 0x02, "kW.h", False),
        ("reactive_energy_1", 0x03, "kV.A.h", True),
        ("reactive_energy_2", 0x04, "kV.A.h", True),
    ):
        for tariff in range(5):
            label = name if tariff == 0 else f"{name}_t{tariff}"
            found[label] = Item(kind << 16 | tariff << 8, 4, 2, unit, signed)
    for i, phase in enumerate("abc", 1):
        found[f"voltage_{phase}"] = Item(0x02010000 | i << 8, 2, 1, "V")
        found[f"current_{phase}"] = Item(0x02020000 | i << 8, 3, 3, "A", True)
    for i, suffix in enumerate(("", "_a", "_b", "_c")):
        found[f"power{suffix}"] = Item(0x02030000 | i << 8, 3, 4, "kW", True)
        found[f"reactive_power{suffix}"] = Item(0x02040000 | i << 8, 3, 4, "kV.A", True)
        found[f"apparent_power{suffix}"] = Item(0x02050000 | i << 8, 3, 4, "kV.A", True)
        found[f"power_factor{suffix}"] = Item(0x02060000 | i << 8, 2, 3, "", True)
    found["current_neutral"] = Item(0x02800001, 3, 3, "A", True)
    found["frequency"] = Item(0x02800002, 2, 2, "Hz")
    return found


ITEMS: Mapping[str, Item] = _items()
"""What a tag may name as its item."""


class Heard(NamedTuple):
    """One frame of a meter. data: as it was meant, without the 33H."""

    address: bytes
    control: int
    data: bytes

    @property
    def error(self) -> str:
        """Words for a refusal."""
        code = self.data[0] if self.data else 0
        return ", ".join(text for bit, text in ERRORS.items() if code & bit) or f"error {code:02x}"


def meter_address(digits: str) -> bytes | None:
    """12 printed digits -> 6 bytes, lowest first; None when they are not 12 digits."""
    if len(digits) != 12 or not digits.isascii() or not digits.isdigit():
        return None
    return bytes.fromhex(digits)[::-1]


def encode(address: bytes, control: int, data: bytes) -> bytes:
    """A whole frame, without preamble."""
    body = b"\x68" + address + b"\x68" + bytes([control, len(data)]) + bytes((b + _OFFSET) & 0xFF for b in data)
    return body + bytes([sum(body) & 0xFF, 0x16])


def read_request(address: bytes, data_id: int, follow: int = 0) -> bytes:
    """Asks for a data item; follow: the number of a following frame, from 1. With four FE, which wake old meters."""
    data = data_id.to_bytes(4, "little") + (bytes([follow]) if follow else b"")
    return b"\xfe" * 4 + encode(address, READ_MORE if follow else READ, data)


class Dlt645Framer:
    """Bytes -> frames, however they come. What looks like a frame and is none costs its first byte only."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> list[Heard]:
        self._rest += data
        return self._found(final=False)

    def give_up(self) -> list[Heard]:
        """Nothing came for so long that what has begun will not end."""
        frames = self._found(final=True)
        self._rest = b""
        return frames

    def _found(self, final: bool) -> list[Heard]:
        frames: list[Heard] = []
        while (at := self._rest.find(b"\x68")) >= 0:
            rest = self._rest = self._rest[at:]
            whole = 12 + rest[9] if len(rest) > 9 else 12
            if (len(rest) > 7 and rest[7] != 0x68) or whole > 12 + _LONGEST_DATA:
                self._rest = rest[1:]
            elif len(rest) < whole or len(rest) < 12:
                if not final:
                    return frames
                self._rest = rest[1:]
            elif rest[whole - 1] != 0x16 or sum(rest[: whole - 2]) & 0xFF != rest[whole - 2]:
                self._rest = rest[1:]
            else:
                data = bytes((b - _OFFSET) & 0xFF for b in rest[10 : whole - 2])
                frames.append(Heard(rest[1:7], rest[8], data))
                self._rest = rest[whole:]
        self._rest = b""
        return frames


def number(item: Item, data: bytes) -> float | Reason:
    """The value of an item's bytes, lowest first. All FF: the meter has none."""
    if len(data) != item.size:
        return Reason.UNPARSED
    if set(data) == {0xFF}:
        return Reason.INVALID_MARKER
    negative = item.signed and bool(data[-1] & 0x80)
    digits = (data[:-1] + bytes([data[-1] & 0x7F]) if negative else data)[::-1].hex()
    if not digits.isdigit():
        return Reason.UNPARSED
    return float((-int(digits) if negative else int(digits)) / 10**item.decimals)


class ItemDecoder:
    """Decodes the bytes of one item into the tags that show it, mostly one."""

    def __init__(self, points: tuple[PointSpec, ...], tags: TagTable) -> None:
        self._item = ITEMS[points[0].field]
        self._tags = tags
        self._scaling = Scaling(points, tags)

    def block(self, ts_ms: int, content: str | bytes) -> Block:
        value = number(self._item, content) if isinstance(content, bytes) else Reason.UNPARSED
        if isinstance(value, Reason):
            return Block.bad(ts_ms, self._tags, value)
        n = len(self._tags)
        return self._scaling.block(ts_ms, np.full(n, value), np.zeros(n, np.uint8), {})
