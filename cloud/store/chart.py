"""One tag between two times: for charts, from rows or roll-ups, and as aggregates.

What is read follows from the time and the number of points that are wanted, so that a year costs no more than a day.
Where the roll-ups of a tag are missing or not right (any more), its rows take their place, added up by the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from cloud.store.port import Aggregate, DeviceId, Series
from cloud.store.reduce import reduced
from cloud.store.whole_rows import TagId
from cloud.store.window_port import Range, Rolled, WindowStore
from cloud.store.windows import LEVELS, Windows, joined, no_windows
from wire.block import Quality
from wire.errors import ConfigError

MOST_RAW = 200_000
"""Rows that are read for one chart, unless so many points are wanted; of more the database makes windows."""
MOST_PARTS = 8
"""Questions to the database for what the roll-ups lack."""
MOST_WINDOWS = 100_000
_FINER = 60
"""The newest window, which is not over, is shown in so many parts."""
_LOOKS = 4


def level_for(span_ms: int, points: int) -> str:
    """The coarsest roll-up with at least one window for two points; 'raw' where there is none."""
    fitting = [name for name, step_ms in LEVELS.items() if span_ms >= step_ms * max(1, points // 2)]
    return fitting[-1] if fitting else "raw"


def _there(rolled: Rolled, since_ms: int, from_ms: int, to_ms: int, points: int) -> str:
    """The same of what there still is: a coarser one where rows are removed and finer roll-ups forgotten."""
    level = level_for(to_ms - from_ms, points)
    if level == "raw" and from_ms >= since_ms:
        return level
    names = list(LEVELS)
    fitting = names[names.index(level) :] if level in names else names
    return next((one for one in fitting if from_ms >= min(since_ms, rolled.kept_since_ms(one))), names[-1])


async def series(store: WindowStore, rolled: Rolled, tag: TagId, from_ms: int, to_ms: int, points: int) -> Series:
    """See TelemetryStore.series. From windows: their lowest and highest value, the one that is nearer to the last one
    behind; quality GOOD where all rows are, BAD where none has a number and some are not GOOD, else UNCERTAIN."""
    for _ in range(_LOOKS):
        since_ms = rolled.raw_since_ms(*tag)
        found = await _series(store, rolled, tag, from_ms, to_ms, points)
        if rolled.raw_since_ms(*tag) == since_ms:
            break  # else rows were removed while it was read
    return found


async def _series(store: WindowStore, rolled: Rolled, tag: TagId, from_ms: int, to_ms: int, points: int) -> Series:
    since_ms = rolled.raw_since_ms(*tag)
    coarsest = max(LEVELS.values())
    for _ in range(_LOOKS):
        level = _there(rolled, since_ms, from_ms, to_ms, points)
        if level == "raw":
            return await _from_rows(store, tag, from_ms, to_ms, points)
        found = await windows(store, rolled, tag, from_ms, to_ms, LEVELS[level], newest_finer=True)
        if not len(found):
            return Series()
        begin_ms = max(from_ms, int(found.start_ms[0]))
        end_ms = min(to_ms, int(found.start_ms[-1]) + coarsest)
        if int(found.count.sum()) <= points and begin_ms >= since_ms:
            return await _from_rows(store, tag, begin_ms, end_ms, points)  # few rows in a long time: as they are
        if _there(rolled, since_ms, begin_ms, end_ms, points) == level:
            break
        from_ms, to_ms = begin_ms, end_ms  # most of the time that was asked for is empty
    return _drawn(found, from_ms, to_ms, points, level, LEVELS[level])


async def _from_rows(store: WindowStore, tag: TagId, from_ms: int, to_ms: int, points: int) -> Series:
    most = max(MOST_RAW, points)
    rows = await store.rows_of(tag, from_ms, to_ms, most + 1)
    if len(rows.t) <= most:
        return reduced(rows.t, rows.v, rows.q, points)
    step_ms = max(1, 2 * (to_ms - from_ms) // max(2, points))
    return _drawn(await store.computed_of(tag, from_ms, to_ms, step_ms), from_ms, to_ms, points, "raw", step_ms)


def _drawn(w: Windows, from_ms: int, to_ms: int, points: int, source: str, step_ms: int) -> Series:
    """Two points a window, at its begin and its middle; one where they are the same."""
    begin = np.maximum(w.start_ms, from_ms)
    length = np.minimum(np.diff(begin, append=to_ms), step_ms)  # the newest may be shorter ones
    if len(w) > 1:
        length[-1] = min(length[-1], length[-2])
    falls = np.abs(w.last - w.min) < np.abs(w.last - w.max)
    v = np.stack([np.where(falls, w.max, w.min), np.where(falls, w.min, w.max)], axis=1).ravel()
    t = np.stack([begin, begin + length // 2], axis=1).ravel()
    none = w.num == 0
    quality = np.where(w.good == w.count, Quality.GOOD, np.where(none, Quality.BAD, Quality.UNCERTAIN))
    q = np.repeat(quality.astype(np.int64), 2)
    second_too = np.ones(len(v), bool)
    second_too[1::2] = ~none & (w.min != w.max)
    return reduced(t[second_too], v[second_too], q[second_too], points, source)


async def windows(
    store: WindowStore, rolled: Rolled, tag: TagId, from_ms: int, to_ms: int, step_ms: int, newest_finer: bool = False
) -> Windows:
    """In order. step_ms: of a roll-up. The first and the last window may hold only a part of their rows: those between
    the times; where the rows are removed they are whole."""
    level = next(name for name, step in LEVELS.items() if step == step_ms)
    since_ms = -(-rolled.raw_since_ms(*tag) // step_ms) * step_ms  # a window that lacks rows is its roll-up
    begin_ms, end_ms = -(-from_ms // step_ms) * step_ms, to_ms // step_ms * step_ms
    if from_ms < begin_ms and begin_ms - step_ms < since_ms:
        begin_ms -= step_ms
    if end_ms < to_ms and end_ms < since_ms:
        end_ms += step_ms
    if begin_ms >= end_ms:
        return await store.computed_of(tag, from_ms, to_ms, step_ms)
    of = DeviceId(tag.node, tag.device)
    lacking = [(a, b) for a, b in rolled.pending(of, step_ms, begin_ms, end_ms) if b > since_ms]
    ends = [(from_ms, begin_ms), (end_ms, to_ms)]
    forgotten = (max(begin_ms, since_ms), min(end_ms, rolled.kept_since_ms(level)))  # of which there are rows
    lacking = fewer(sorted([*lacking, *((a, b) for a, b in [*ends, forgotten] if a < b)]), MOST_PARTS)
    steps = [step_ms] * len(lacking)
    if newest_finer and lacking and lacking[-1][1] - lacking[-1][0] <= 2 * step_ms:
        steps[-1] = step_ms // _FINER
    parts = list(
        await asyncio.gather(
            _kept(store, tag, begin_ms, end_ms, level, lacking, since_ms),
            *(store.computed_of(tag, max(a, since_ms), b, s) for (a, b), s in zip(lacking, steps, strict=True)),
        )
    )
    return joined([part for part in parts if len(part)] or [no_windows([tag])]).ordered()


async def _kept(
    store: WindowStore, tag: TagId, from_ms: int, to_ms: int, level: str, lacking: Sequence[Range], since_ms: int
) -> Windows:
    """Roll-ups outside of these times."""
    left = to_ms - from_ms - sum(min(b, to_ms) - max(a, from_ms) for a, b in lacking if a < to_ms and b > from_ms)
    if left <= 0 and from_ms >= since_ms:
        return no_windows([tag])
    found = await store.rolled_of(tag, from_ms, to_ms, level)
    outside = np.ones(len(found), bool)
    for a, b in lacking:
        outside &= (found.start_ms < max(a, since_ms)) | (found.start_ms >= b)
    return found.where(outside)


def fewer(found: Sequence[Range], most: int) -> list[Range]:
    """Joined where they touch, and then over the smallest gaps until there are not too many. found: in order."""
    result: list[Range] = []
    for a, b in found:
        if result and a <= result[-1][1]:
            result[-1] = (result[-1][0], max(b, result[-1][1]))
        else:
            result.append((a, b))
    while len(result) > most:
        gaps = [result[i + 1][0] - result[i][1] for i in range(len(result) - 1)]
        i = gaps.index(min(gaps))
        result[i : i + 2] = [(result[i][0], result[i + 1][1])]
    return result


async def aggregates(
    store: WindowStore, rolled: Rolled, tag: TagId, from_ms: int, to_ms: int, step_ms: int
) -> list[Aggregate]:
    """See TelemetryStore.aggregates."""
    if step_ms <= 0 or (to_ms - from_ms) // max(1, step_ms) > MOST_WINDOWS:
        least_s = max(1, -(-(to_ms - from_ms) // MOST_WINDOWS // 1000))
        raise ConfigError(f"more than {MOST_WINDOWS:,} windows: choose a step of at least {least_s} s, or less time")
    if to_ms <= from_ms:
        return []
    fitting = [step for step in LEVELS.values() if step_ms % step == 0]
    for _ in range(_LOOKS):
        since_ms = rolled.raw_since_ms(*tag)
        if fitting:
            found = (await windows(store, rolled, tag, from_ms, to_ms, fitting[-1])).coarser(step_ms)
        else:
            found = await store.computed_of(tag, from_ms, to_ms, step_ms)
        if rolled.raw_since_ms(*tag) == since_ms:
            break  # else rows were removed while they were read
    columns = (found.start_ms, found.count, found.num, found.good, found.mean, found.min, found.max, found.last)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Aggregate(*row[:4], *(n if n == n else None for n in row[4:])) for row in rows]
