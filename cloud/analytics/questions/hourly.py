"""Lowest, mean and highest value of each tag and hour."""

from __future__ import annotations

from cloud.analytics.question import HOUR_MS, TAG, Options, Question, Table, Tables, of_tag


def ask(tables: Tables, options: Options) -> Table:
    s = of_tag(tables.samples, options)
    s = s.filter(s.value.notnull())
    s = s.mutate(hour=s.ts_ms // HOUR_MS)
    facts = {"samples": s.count(), "lowest": s.value.min(), "mean": s.value.mean(), "highest": s.value.max()}
    found = s.group_by([*TAG, "hour"]).aggregate(**facts)
    when = (found.hour * 3_600).as_timestamp("s").strftime("%Y-%m-%dT%H:00Z")
    return found.mutate(hour=when).order_by([*TAG, "hour"])


QUESTION = Question(
    "lowest, mean and highest value per tag and hour",
    "hour: UTC; mean: of the samples, not weighted by time; BAD samples have no value",
    ask,
)
