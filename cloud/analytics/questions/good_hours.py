"""For how long each tag was GOOD."""

from __future__ import annotations

from cloud.analytics.question import GOOD, HOUR_MS, TAG, Options, Question, Table, Tables, held, of_tag


def ask(tables: Tables, options: Options) -> Table:
    s = held(of_tag(tables.samples, options))
    good_ms = (s.held_ms * (s.quality == GOOD).cast("int64")).sum()
    found = s.group_by(TAG).aggregate(hours_good=good_ms / HOUR_MS, hours=s.held_ms.sum() / HOUR_MS)
    return found.mutate(share_good=found.hours_good / found.hours).order_by(TAG)


QUESTION = Question(
    "hours GOOD and share of GOOD per tag",
    "hours: from the tag's first to its last sample; hours_good: of these, when its newest sample was GOOD;"
    " share_good: 0 to 1",
    ask,
)
