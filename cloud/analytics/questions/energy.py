"""Energy per day, from the registers of cumulative meters."""

from __future__ import annotations

import ibis

from cloud.analytics.question import TAG, Options, Question, Table, Tables, dated, day, in_turn, of_tag
from cloud.costs.energy import KWH_PER


def ask(tables: Tables, options: Options) -> Table:
    """A register proves differences only. One that steps back was reset: that difference is unknown, and counted."""
    meters = tables.tags.filter(tables.tags.measures == "energy")
    s = of_tag(tables.samples, options).inner_join(meters.select(*TAG, "unit", "asset"), TAG)
    s = s.filter(s.value.notnull())
    s = s.mutate(used=s.value - s.value.lag().over(in_turn()), day=day(s.ts_ms))
    per_unit = ibis.cases(*((s.unit == unit, factor) for unit, factor in KWH_PER.items()), else_=None)
    s = s.mutate(kwh=ibis.cases((s.used >= 0, s.used * per_unit), else_=None), reset=(s.used < 0).cast("int64"))
    by_day = s.group_by("site", "asset", "node", "device", "tag", "day")
    found = by_day.aggregate(kwh=s.kwh.sum(), resets=s.reset.sum().coalesce(0))
    return dated(found).order_by("site", "asset", "node", "device", "tag", "day")


QUESTION = Question(
    "energy per day and meter, from tags that measure energy",
    "kwh: what was used between readings, booked on the later one's UTC day (null: a unit that is no energy);"
    " resets: how often the register stepped back",
    ask,
)
