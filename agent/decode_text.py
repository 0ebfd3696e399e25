"""Text lines -> values: a regular expression with named groups, then the same scale and range as registers. Pure."""

from __future__ import annotations

import re

import numpy as np

from agent.scaling import Scaling
from agent.spec import DeviceSpec, PointSpec, RawType
from wire.block import Block, FloatArray, Reason
from wire.tag import Datatype, TagTable

_TRUE, _FALSE = frozenset({"1", "true", "on", "yes"}), frozenset({"0", "false", "off", "no"})
_LIMITS: dict[RawType, tuple[int, int]] = {
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
}


class FrameDecoder:
    """Decodes the lines of one device."""

    def __init__(self, device: DeviceSpec, tags: TagTable) -> None:
        if device.frame is None:
            raise ValueError(f"device {device.id} has no frame")
        self.device = device.id
        self.tags = tags
        self._pattern = re.compile(device.frame.pattern)
        self._points = device.points
        self._scaling = Scaling(device.points, tags)

    def fits(self, text: str) -> bool:
        """True when the line is one of this device's."""
        return self._pattern.match(text) is not None

    def block(self, ts_ms: int, text: str) -> Block:
        """The Block of one line; every tag BAD when the line is not one of this device's."""
        match = self._pattern.match(text)
        if match is None:
            return Block.bad(ts_ms, self.tags, Reason.UNPARSED)
        raw: FloatArray = np.full(len(self.tags), np.nan)
        reason = np.zeros(len(self.tags), np.uint8)
        others: dict[int, bool | int | str] = {}
        for column, point in enumerate(self._points):
            word = match[point.field]
            if word is None:
                reason[column] = Reason.UNPARSED
            elif word in point.invalid:
                reason[column] = Reason.INVALID_MARKER
            else:
                value = _value(point, word)
                if isinstance(value, Reason):
                    reason[column] = value
                elif isinstance(value, (bool, str)):
                    others[column] = value
                elif point.tag.datatype in (Datatype.INT64, Datatype.UINT64):
                    others[column] = int(value)
                else:
                    raw[column] = value
        return self._scaling.block(ts_ms, raw, reason, others)


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
