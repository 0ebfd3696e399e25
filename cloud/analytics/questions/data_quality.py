"""How complete and how good the data of each gateway is."""

from __future__ import annotations

from cloud.analytics.question import (
    BAD,
    GOOD,
    HOUR_MS,
    TAG,
    UNCERTAIN,
    Options,
    Question,
    Table,
    Tables,
    dated,
    day,
    in_turn,
    of_tag,
)  # fmt: skip
from wire.block import Reason

LONGER = 5  # times a tag's usual pause: then samples are missing
AT_LEAST_MS = 60_000


def ask(tables: Tables, options: Options) -> Table:
    s = of_tag(tables.samples, options)
    s = s.mutate(day=day(s.ts_ms), pause_ms=s.ts_ms - s.ts_ms.lag().over(in_turn()))
    usual = s.group_by(TAG).aggregate(usual_ms=s.pause_ms.approx_median())
    s = s.inner_join(usual, TAG)
    missing = (s.pause_ms > LONGER * s.usual_ms) & (s.pause_ms > AT_LEAST_MS)
    s = s.mutate(
        missing_ms=(s.pause_ms * missing.fill_null(False).cast("int64")).fill_null(0),
        good=(s.quality == GOOD).cast("float64"),
        uncertain=(s.quality == UNCERTAIN).cast("float64"),
        bad=(s.quality == BAD).cast("float64"),
        placed=(s.reason == int(Reason.CLOCK_UNKNOWN)).cast("float64"),
    )
    found = s.group_by("site", "node", "day").aggregate(
        tags=(s.device.concat("/", s.tag)).nunique(), samples=s.count(), share_good=s.good.mean(),
        share_uncertain=s.uncertain.mean(), share_bad=s.bad.mean(), share_placed=s.placed.mean(),
        missing_tag_hours=s.missing_ms.sum() / HOUR_MS, longest_pause_s=s.pause_ms.max() / 1000,
    )  # fmt: skip
    return dated(found).order_by("site", "node", "day")


QUESTION = Question(
    "data quality per gateway and day: shares of GOOD and BAD, what is missing",
    "share_placed: stamped late, for the clock was unknown; missing_tag_hours: pauses of single tags of over a minute"
    " and five times their usual one, added up (a tag with a deadband may rest); longest_pause_s",
    ask,
)
