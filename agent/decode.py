"""Words -> values: type, byte order, scale, invalid markers. Pure; arrays wherever a type allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.driver import WordArray
from agent.plan import PlannedSpan
from agent.scaling import Scaling
from agent.spec import Order, PointSpec, RawType
from wire.block import Block, CodeArray, FloatArray, Reason
from wire.errors import DeviceGarbled
from wire.tag import Datatype

_DTYPE: dict[RawType, str] = {
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "int64": "i8",
    "uint64": "u8",
    "float64": "f8",
    "bcd16": "u2",
    "bcd32": "u4",
}
_BCD = ("bcd16", "bcd32")


_SHIFTS = 4 * np.arange(8, dtype=np.uint64)
_TENS = 10 ** np.arange(8, dtype=np.uint64)
_NONE: NDArray[np.intp] = np.array([], dtype=np.intp)


class _Group:
    """All columns of one Span that share type and byte order, decoded in one go.

    places: shape (n, words of the type), for each column the words in big-endian order.
    """

    def __init__(self, raw: RawType, order: Order, members: Sequence[tuple[int, PointSpec]], start: int) -> None:
        self.columns: NDArray[np.intp] = np.array([column for column, _ in members], dtype=np.intp)
        self._dtype = np.dtype(">" + _DTYPE[raw])
        self._swap_bytes = order in ("BADC", "DCBA")
        size = self._dtype.itemsize // 2
        within = np.arange(size)[::-1] if order in ("CDAB", "DCBA") else np.arange(size)
        first = np.array([p.address - start for _, p in members])
        self._places: NDArray[np.intp] = first[:, None] + within[None, :]
        self._unsigned = np.dtype(f">u{self._dtype.itemsize}")
        # (row, pattern) of each invalid marker, as the unsigned integer that stands on the wire.
        found = [(row, pattern) for row, (_, p) in enumerate(members) for pattern in self._patterns(p)]
        self._marked_rows = np.array([row for row, _ in found], dtype=np.intp)
        self._markers = np.array([pattern for _, pattern in found], dtype=self._unsigned.newbyteorder("="))
        # Where a NaN is among the markers, every NaN is one, whatever its payload.
        self._nan_means_none = np.array([any(m != m for m in p.invalid) for _, p in members])
        self._any_nan_marker = bool(self._nan_means_none.any())
        self._bcd = raw in _BCD
        self.exact = {
            row: column
            for row, (column, p) in enumerate(members)
            if p.tag.datatype in (Datatype.INT64, Datatype.UINT64)
        }

    @property
    def plain(self) -> bool:
        """True when every pattern is a number that float64 holds."""
        return not (self._bcd or self._any_nan_marker or len(self._markers) or self.exact)

    def _patterns(self, point: PointSpec) -> list[int]:
        native = self._dtype.newbyteorder("=")
        width = 8 * self._dtype.itemsize
        patterns: list[int] = []
        for marker in point.invalid:
            if native.kind == "f" and marker == marker:
                patterns.append(int.from_bytes(np.array(marker, self._dtype).tobytes(), "big"))
            elif isinstance(marker, (int, float)) and float(marker).is_integer():
                patterns.append(int(marker) & ((1 << width) - 1))
        return patterns

    def decode(self, words: WordArray) -> NDArray[np.generic]:
        """Shape (n,), in the type's own dtype, native order."""
        wanted = words[self._places]
        if self._swap_bytes:
            wanted = wanted.byteswap()
        return wanted.astype(">u2").view(self._dtype)[:, 0]

    def marked(self, numbers: NDArray[np.generic]) -> NDArray[np.intp]:
        """Columns whose raw pattern is one of their invalid markers."""
        if self._any_nan_marker:
            return np.concatenate([self.columns[self._nan_means_none & np.isnan(numbers)], self._by_pattern(numbers)])
        return self._by_pattern(numbers)

    def _by_pattern(self, numbers: NDArray[np.generic]) -> NDArray[np.intp]:
        if not len(self._markers):
            return _NONE
        patterns = numbers.view(self._unsigned)[self._marked_rows]
        found: NDArray[np.intp] = self.columns[self._marked_rows[patterns == self._markers]]
        return found

    def numbers(self, raw: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.intp]]:
        """What the raw patterns mean, and the columns of those that mean no number: BCD with a digit above 9."""
        if not self._bcd:
            return raw, _NONE
        digits = raw.astype(np.uint64)[:, None] >> _SHIFTS[None, : 2 * self._dtype.itemsize] & np.uint64(15)
        return digits @ _TENS[: digits.shape[1]], self.columns[(digits > 9).any(axis=1)]


class SpanDecoder:
    """Decodes the answers to one Span; made once, used at every poll."""

    def __init__(self, planned: PlannedSpan) -> None:
        self.planned = planned
        self._scaling = Scaling(planned.points, planned.tags)
        start = planned.span.address
        groups: dict[tuple[RawType, Order], list[tuple[int, PointSpec]]] = {}
        self._bits: list[tuple[int, int, int]] = []  # column, word, bit
        self._strings: list[tuple[int, PointSpec]] = []
        for column, p in enumerate(planned.points):
            if p.type == "bool":
                self._bits.append((column, p.address - start, p.bit or 0))
            elif p.type == "string":
                self._strings.append((column, p))
            else:
                groups.setdefault((p.type, p.order), []).append((column, p))
        self._groups = [_Group(raw, order, members, start) for (raw, order), members in groups.items()]
        self._named = [
            (column, dict(p.states), p.bit_names) for column, p in enumerate(planned.points) if p.states or p.bit_names
        ]
        only = self._groups[0] if len(self._groups) == 1 and not (self._bits or self._strings or self._named) else None
        self._plain = only if only is not None and only.plain else None
        self._no_reason: CodeArray = np.zeros(len(planned.tags), np.uint8)

    def block(self, ts_ms: int, words: WordArray) -> Block:
        """The Block of one answer. Raises DeviceGarbled when it does not have the length of the Span."""
        if words.shape != (self.planned.span.count,):
            raise DeviceGarbled(f"{words.shape[0]} words answered, {self.planned.span.count} asked")
        reason = self._no_reason
        if self._plain is not None:  # nothing but numbers of one type, none of which can mean "no value"
            return self._scaling.block(ts_ms, self._plain.decode(words).astype(np.float64), reason, {})
        raw: FloatArray = np.full(len(self.planned.tags), np.nan)
        others: dict[int, bool | int | str] = {}
        for group in self._groups:
            patterns = group.decode(words)
            numbers, none = group.numbers(patterns)
            raw[group.columns] = numbers
            marked = group.marked(patterns)
            if marked.size or none.size:
                reason = reason.copy()
                reason[none] = Reason.NOT_A_NUMBER
                reason[marked] = Reason.INVALID_MARKER
            for row, column in group.exact.items():
                others[column] = int(numbers[row])
                raw[column] = np.nan
        for column, word, bit in self._bits:
            others[column] = bool(int(words[word]) >> bit & 1)
        for column, states, bits in self._named:
            name = _named(int(raw[column]), states, bits)
            raw[column] = np.nan
            if name is not None:
                others[column] = name
            elif not reason[column]:
                reason = reason.copy()
                reason[column] = Reason.OUT_OF_RANGE
        for column, p in self._strings:
            text = _text(words, p, self.planned.span.address)
            if text is None:
                reason = reason.copy()
                reason[column] = Reason.UNPARSED
            else:
                others[column] = text
        return self._scaling.block(ts_ms, raw, reason, others)


def _named(number: int, states: Mapping[int, str], bit_names: Sequence[tuple[int, str]]) -> str | None:
    """The name of a state, None when it has none; or the names of the bits that are set, '' when none is."""
    if states:
        return states.get(number)
    return ", ".join(name for bit, name in bit_names if number >> bit & 1)


def _text(words: WordArray, point: PointSpec, start: int) -> str | None:
    """A string ends at its first NUL; trailing blanks are padding. None when it is not UTF-8."""
    wanted = words[point.address - start : point.address - start + point.registers]
    if point.order in ("CDAB", "DCBA"):
        wanted = wanted[::-1]
    data = wanted.astype("<u2" if point.order in ("BADC", "DCBA") else ">u2").tobytes()[: point.length]
    try:
        return data.split(b"\0", 1)[0].decode().rstrip(" ")
    except UnicodeDecodeError:
        return None
