"""What a question is, and what it may look at. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ibis

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
GOOD, UNCERTAIN, BAD = 192, 64, 0

Table = Any  # of Ibis, whose expressions are typed at run time
TAG = ["site", "node", "device", "tag"]


class Tables(NamedTuple):
    """samples: site, node, device, tag, ts_ms, datatype, quality, reason, value (null where BAD or a text).

    tags: site, node, device, tag, unit, measures, asset (texts, '' where there is none); only tags that were born.
    """

    samples: Table
    tags: Table


class Options(NamedTuple):
    """What a person may add to a question. tag: only tags of this name; above: the limit of what counts."""

    tag: str | None = None
    above: float = 0.0


class Question(NamedTuple):
    """about: one line. columns: what stands in the answer, with units."""

    about: str
    columns: str
    ask: Callable[[Tables, Options], Table]


def day(ts_ms: Table) -> Table:
    """UTC days since 1970. Not `.bucket()`: Spark has none."""
    return ts_ms // DAY_MS


def dated(table: Table) -> Table:
    """The column `day` as a date in text."""
    return table.mutate(day=(table.day * 86_400).as_timestamp("s").strftime("%Y-%m-%d"))


def in_turn() -> Table:
    """A tag's samples one after the other."""
    return ibis.window(group_by=TAG, order_by="ts_ms")


def of_tag(samples: Table, options: Options) -> Table:
    return samples if options.tag is None else samples.filter(samples.tag == options.tag)


def held(samples: Table) -> Table:
    """With held_ms: how long each sample's word stood, until the next one of its tag. The last one's is left out."""
    following = samples.ts_ms.lead().over(in_turn())
    found = samples.mutate(held_ms=following - samples.ts_ms)
    return found.filter(found.held_ms.notnull())
