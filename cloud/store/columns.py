"""Samples as database columns, and back: which datatype stands in which column. Pure."""

from __future__ import annotations

from wire.block import Quality, Reason, Sample, Value
from wire.tag import Datatype

TEXTS = frozenset({Datatype.STRING, Datatype.TEXT})
WIDE = frozenset({Datatype.INT64, Datatype.UINT64, Datatype.DATETIME})
"""Integers that a float64 cannot hold exactly: they stand in `value_int` too, unsigned ones in two's complement."""


def split(datatype: Datatype, quality: Quality, value: Value | None) -> tuple[float | None, int | None, str | None]:
    """(value, value_int, value_text) of a sample; booleans are 0 and 1, texts have no number."""
    if value is None or quality is Quality.BAD:
        return None, None, None
    if datatype in TEXTS:
        return None, None, str(value)
    if datatype in WIDE:
        number = int(value)
        return float(number), number - (1 << 64) if number >> 63 and number > 0 else number, None
    return float(value), None, None


def joined(datatype: Datatype, value: float | None, value_int: int | None, value_text: str | None) -> Value | None:
    """The value again as its datatype says."""
    if datatype in TEXTS:
        return value_text
    if datatype in WIDE:
        signed = datatype is Datatype.INT64 or value_int is None or value_int >= 0
        return value_int if signed or value_int is None else value_int + (1 << 64)
    if value is None:
        return None
    if datatype is Datatype.BOOLEAN:
        return value != 0
    return float(value) if datatype in (Datatype.FLOAT, Datatype.DOUBLE) else int(value)


def sample_of(
    tag: str,
    datatype: int,
    ts_ms: int,
    quality: int,
    reason: int,
    value: float | None,
    value_int: int | None,
    value_text: str | None,
) -> Sample:
    """A database row as a Sample."""
    kind = Datatype(datatype)
    return Sample(tag, kind, ts_ms, Quality(quality), joined(kind, value, value_int, value_text), Reason(reason))
