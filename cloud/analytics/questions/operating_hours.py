"""How long something ran each day: a tag above a limit."""

from __future__ import annotations

import ibis

from cloud.analytics.question import (
    DAY_MS,
    HOUR_MS,
    TAG,
    Options,
    Question,
    Table,
    Tables,
    dated,
    day,
    held,
    of_tag,
)  # fmt: skip
from wire.errors import ConfigError


def ask(tables: Tables, options: Options) -> Table:
    """Raises ConfigError without a tag: nobody knows which of a machine's tags tells that it runs."""
    if options.tag is None:
        raise ConfigError("operating-hours needs to know which tag tells that it runs: --tag speed_rpm --above 50")
    s = held(of_tag(tables.samples, options))
    s = s.mutate(runs=(s.value > options.above).fill_null(False).cast("int64"), day=day(s.ts_ms))
    before = s.runs.lag().over(group_by=TAG, order_by="ts_ms").fill_null(0)
    s = s.mutate(start=((s.runs == 1) & (before == 0)).cast("int64"))
    # What reaches over midnight belongs to two days; longer than a day nothing is known of it.
    end_ms = s.ts_ms + s.held_ms
    midnight = (s.day + 1) * DAY_MS
    s = s.mutate(
        today_ms=ibis.least(end_ms, midnight) - s.ts_ms, rest_ms=ibis.least(end_ms, midnight + DAY_MS) - midnight
    )
    first = s.select(*TAG, "day", "start", ran_ms=s.today_ms * s.runs, known_ms=s.today_ms)
    late = s.filter(s.rest_ms > 0)
    late = late.select(
        *TAG, day=late.day + 1, start=late.start * 0, ran_ms=late.rest_ms * late.runs, known_ms=late.rest_ms
    )
    both = first.union(late)
    found = both.group_by([*TAG, "day"]).aggregate(
        hours=both.ran_ms.sum() / HOUR_MS, known_hours=both.known_ms.sum() / HOUR_MS, starts=both.start.sum()
    )
    return dated(found).order_by([*TAG, "day"])


QUESTION = Question(
    "operating hours per day: how long a tag was above a limit (--tag NAME --above 0)",
    "hours: with the tag above the limit; known_hours: of the UTC day, in which there was a newest sample; starts",
    ask,
)
