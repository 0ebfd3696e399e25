"""One frame -> values: fields of a text line, or bytes, then the same scale and range as registers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from agent.frame_spec import FrameSpec
from agent.frames import BYTES_OF, FrameTable
from agent.scaling import Scaling
from agent.spec import PointSpec, RawType
from wire.block import Block, FloatArray, Reason
from wire.tag import Datatype

_TRUE, _FALSE = frozenset({"1", "true", "on", "yes"}), frozenset({"0", "false", "off", "no"})
_LIMITS: dict[RawType, tuple[int, int]] = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "uint8": (0, (1 << 8) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
}


class FrameDecoder(Protocol):
    """Decodes the frames of one FrameTable."""

    def known(self, content: str | bytes) -> bool:
        """True when it is a frame of the device, be it for this table or another."""
        ...

    def fits(self, content: str | bytes) -> bool:
        """True when it is a frame of this table."""
        ...

    def block(self, ts_ms: int, content: str | bytes) -> Block:
        """The Block of one frame; every tag BAD when the frame is not one of this table."""
        ...


def frame_decoder(frame: FrameSpec, table: FrameTable) -> FrameDecoder:
    return BytesDecoder(frame, table) if frame.binary else TextDecoder(frame, table)


class _Columns:
    """Raw values of a table's columns, filled one by one."""

    def __init__(self, table: FrameTable) -> None:
        self.raw: FloatArray = np.full(len(table.tags), np.nan)
        self.reason = np.zeros(len(table.tags), np.uint8)
        self.others: dict[int, bool | int | str] = {}

    def set(self, column: int, point: PointSpec, value: bool | int | float | str | Reason) -> None:
        if isinstance(value, Reason):
            self.reason[column] = value
        elif isinstance(value, (bool, str)):
            self.others[column] = value
        elif point.tag.datatype in (Datatype.INT64, Datatype.UINT64):
            self.others[column] = int(value)
        else:
            self.raw[column] = value


class TextDecoder:
    """Text lines: by pattern, separator or columns."""

    def __init__(self, frame: FrameSpec, table: FrameTable) -> None:
        self._frame = frame
        self._pattern = re.compile(frame.pattern)
        self._table = table
        self._scaling = Scaling(table.points, table.tags)

    def known(self, content: str | bytes) -> bool:
        return isinstance(content, str) and self._fields(content) is not None

    def fits(self, content: str | bytes) -> bool:
        return isinstance(content, str) and self._of_table(content) is not None

    def block(self, ts_ms: int, content: str | bytes) -> Block:
        fields = self._of_table(content) if isinstance(content, str) else None
        if fields is None:
            return Block.bad(ts_ms, self._table.tags, Reason.UNPARSED)
        columns = _Columns(self._table)
        for column, point in enumerate(self._table.points):
            word = fields.get(point.field)
            if word is None:
                columns.set(column, point, Reason.UNPARSED)
            elif word in point.invalid:
                columns.set(column, point, Reason.INVALID_MARKER)
            else:
                columns.set(column, point, _value(point, word))
        return self._scaling.block(ts_ms, columns.raw, columns.reason, columns.others)

    def _of_table(self, text: str) -> Mapping[str, str | None] | None:
        fields = self._fields(text)
        if fields is None or any(fields.get(name) != wanted for name, wanted in self._table.when):
            return None
        return fields

    def _fields(self, text: str) -> Mapping[str, str | None] | None:
        frame = self._frame
        if frame.pattern:
            match = self._pattern.match(text)
            return None if match is None else match.groupdict()
        if not text.startswith(frame.starts):
            return None
        if frame.separator:
            words = text.split(frame.separator)
            if frame.fields and len(words) != frame.fields:
                return None
            return {str(i): word.strip() for i, word in enumerate(words, 1)}
        if len(text) < max(last for _, last in frame.columns.values()):
            return None
        return {name: text[first - 1 : last].strip() for name, (first, last) in frame.columns.items()}


class BytesDecoder:
    """Binary frames: values at offsets, counted from the first byte of the frame."""

    def __init__(self, frame: FrameSpec, table: FrameTable) -> None:
        self._table = table
        self._when = [(int(name), int(wanted)) for name, wanted in table.when]
        self._scaling = Scaling(table.points, table.tags)

    def known(self, content: str | bytes) -> bool:
        return isinstance(content, bytes)

    def fits(self, content: str | bytes) -> bool:
        return isinstance(content, bytes) and all(
            at < len(content) and content[at] == wanted for at, wanted in self._when
        )

    def block(self, ts_ms: int, content: str | bytes) -> Block:
        if not isinstance(content, bytes) or not self.fits(content):
            return Block.bad(ts_ms, self._table.tags, Reason.UNPARSED)
        columns = _Columns(self._table)
        for column, point in enumerate(self._table.points):
            columns.set(column, point, _number(point, content))
        return self._scaling.block(ts_ms, columns.raw, columns.reason, columns.others)


def _number(point: PointSpec, frame: bytes) -> bool | int | float | str | Reason:
    """The raw value of a point in a binary frame, or why there is none."""
    size = point.length if point.type == "string" else BYTES_OF[point.type]
    data = frame[point.address : point.address + size]
    if len(data) < size:
        return Reason.UNPARSED
    if point.type == "bool":
        return bool(data[0] >> (point.bit or 0) & 1)
    if point.order in ("CDAB", "DCBA"):  # the words in reverse
        data = b"".join(data[i : i + 2] for i in range((size - 1) // 2 * 2, -1, -2))
    if point.order in ("BADC", "DCBA"):  # the bytes of each word in reverse
        data = b"".join(data[i : i + 2][::-1] for i in range(0, size, 2))
    if point.type == "string":
        try:
            return data.split(b"\0", 1)[0].decode().rstrip(" ")
        except UnicodeDecodeError:
            return Reason.UNPARSED
    if point.type in ("float32", "float64"):
        number: int | float = float(np.frombuffer(data, f">f{size}")[0])
    else:
        number = int.from_bytes(data, "big", signed=point.type.startswith("int"))
    # As of registers: a marker may also be given as the unsigned pattern.
    unsigned = int.from_bytes(data, "big")
    return Reason.INVALID_MARKER if number in point.invalid or unsigned in point.invalid else number


def _value(point: PointSpec, word: str) -> bool | int | float | str | Reason:
    """The raw value of a field, or why there is none."""
    if point.type == "string":
        return word if len(word.encode()) <= point.length else Reason.OUT_OF_RANGE
    if point.type == "bool":
        low = word.strip().lower()
        return True if low in _TRUE else False if low in _FALSE else Reason.UNPARSED
    if "_" in word:  # Python reads 1_0 as 10
        return Reason.UNPARSED
    try:
        number: int | float = int(word) if point.type in _LIMITS else float(word)
    except ValueError:
        return Reason.UNPARSED
    if number in point.invalid:
        return Reason.INVALID_MARKER
    if point.type in _LIMITS:
        low_end, high_end = _LIMITS[point.type]
        if not low_end <= number <= high_end:
            return Reason.OUT_OF_RANGE
    return number
