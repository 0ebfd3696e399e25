"""A Block: the answer to one Span, or one frame of a serial device. Immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wire.tag import Datatype, TagTable

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.uint8]
Value = bool | int | float | str


class Quality(IntEnum):
    """OPC quality classes; on the wire Sparkplug knows 0 and 192 only (wire.payload says how UNCERTAIN travels)."""

    BAD = 0
    UNCERTAIN = 64
    GOOD = 192


class Reason(IntEnum):
    """Why a value is not GOOD. The name in lower case is what a person reads."""

    NONE = 0
    TIMEOUT = 1  # the device did not answer in time
    REFUSED = 2  # the device answered with an exception
    GARBLED = 3  # an answer that is not the answer to the request
    LINE_DOWN = 4  # the line could not be opened or broke
    SUSPENDED = 5  # the unit's breaker is open: not asked at all
    INVALID_MARKER = 6  # the device itself said "no value"
    NOT_A_NUMBER = 7  # NaN or infinity
    OUT_OF_RANGE = 8  # outside the engineering range of the tag
    WARMING_UP = 9  # a model without enough rows yet
    INPUT_BAD = 10  # a derived value or score whose inputs are not usable
    UNPARSED = 11  # a frame that does not fit its description
    DEVICE_DEAD = 12  # the last word before DDEATH
    CLOCK_UNKNOWN = 13  # stamped from a clock that was not yet set
    STALE = 14  # the edge node or device is gone; only ever said by the host
    DIVISION_BY_ZERO = 15  # of a derived value
    NOT_RUNNING = 16  # a score whose asset is off or in maintenance: nothing is judged


class Sample(NamedTuple):
    """One value of one tag at one time. value is None when quality is BAD."""

    name: str
    datatype: Datatype
    ts_ms: int
    quality: Quality
    value: Value | None
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Block:
    """What one device answered to one Span.

    ts_ms: UTC epoch milliseconds at the device's answer (at the time-out, when there was none).
    tags: n_tags columns. values: shape (n_tags,), engineering units, NaN where BAD or where the value stands
    in `others`. others: column -> what float64 cannot hold (booleans, strings, 64-bit integers).
    quality: shape (n_tags,), Quality codes. reason: shape (n_tags,), Reason codes.
    """

    ts_ms: int
    tags: TagTable
    values: FloatArray
    quality: CodeArray
    reason: CodeArray
    others: Mapping[int, bool | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.tags)
        if not (self.values.shape == self.quality.shape == self.reason.shape == (n,)):
            raise ValueError(f"a Block of {n} tags needs arrays of shape ({n},)")
        for array in (self.values, self.quality, self.reason):
            array.setflags(write=False)

    @property
    def device(self) -> str:
        return self.tags.device

    @staticmethod
    def bad(ts_ms: int, tags: TagTable, reason: Reason) -> Block:
        """A Block without values: every tag BAD for the one reason."""
        n = len(tags)
        return Block(
            ts_ms,
            tags,
            np.full(n, np.nan),
            np.full(n, Quality.BAD, np.uint8),
            np.full(n, reason, np.uint8),
        )

    def value(self, column: int) -> Value | None:
        """The value of one column as its datatype says; None where it is BAD."""
        if self.quality[column] == Quality.BAD:
            return None
        if column in self.others:
            return self.others[column]
        number = float(self.values[column])
        if self.tags[column].datatype in (Datatype.FLOAT, Datatype.DOUBLE):
            return number
        return int(number)

    def samples(self) -> Iterator[Sample]:
        """Every column as a Sample, in column order."""
        return map(self.sample, range(len(self.tags)))

    def sample(self, column: int) -> Sample:
        """One column as a Sample."""
        tag = self.tags[column]
        quality, reason = Quality(int(self.quality[column])), Reason(int(self.reason[column]))
        return Sample(tag.name, tag.datatype, self.ts_ms, quality, self.value(column), reason)
