"""The windows of one hour as bits: 60 minutes, 4 quarters, the hour. Pure."""

from __future__ import annotations

from cloud.store.window_port import Range
from cloud.store.windows import HOUR_MS, MINUTE_MS, QUARTER_MS

SETTLE_MS = 10_000
"""A window is computed once its end lies so far back: most of what belongs to it has come by then, and the rest marks
it anew."""
_QUARTER_BIT, _HOUR_BIT = 60, 64
ALL = (1 << 65) - 1
MINUTES = (1 << 60) - 1
_PART = {MINUTE_MS: (0, 60), QUARTER_MS: (_QUARTER_BIT, 4), HOUR_MS: (_HOUR_BIT, 1)}


def touched(minute: int) -> int:
    """All windows of its hour that hold the minute (0 to 59)."""
    return 1 << minute | 1 << (_QUARTER_BIT + minute // 15) | 1 << _HOUR_BIT


def over(hour: int, now_ms: int) -> int:
    """The windows of the hour that can be computed now. An hour that begins far in the future comes from a clock that
    is wrong, and is computed as it is."""
    start_ms = hour * HOUR_MS
    if start_ms > now_ms + HOUR_MS:
        return ALL
    past_ms = min(HOUR_MS, max(0, now_ms - SETTLE_MS - start_ms))
    bits = 0
    for step_ms, (first, _) in _PART.items():
        bits |= ((1 << past_ms // step_ms) - 1) << first
    return bits


def ranges(hour: int, bits: int, step_ms: int) -> list[Range]:
    """The times of the windows of this step, those that follow each other as one."""
    first, n = _PART[step_ms]
    left = bits >> first & ((1 << n) - 1)
    found: list[Range] = []
    at = hour * HOUR_MS
    while left:
        skip = (left & -left).bit_length() - 1
        left >>= skip
        run = (~left & left + 1).bit_length() - 1
        left >>= run
        at += skip * step_ms
        found.append((at, at + run * step_ms))
        at += run * step_ms
    return found


def merged(found: list[Range], from_ms: int, to_ms: int) -> list[Range]:
    """In order, without overlap, within the two times."""
    result: list[Range] = []
    for begin, end in sorted(found):
        begin, end = max(begin, from_ms), min(end, to_ms)
        if begin >= end:
            continue
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result
