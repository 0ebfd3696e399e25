"""`gaugeline cloud query NAME`: a question to the archive."""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any

from cloud.archive.command import add_place, place_of
from cloud.ask import Answer, table
from cloud.times import HELP, moment_ms, unshielded
from wire.errors import ConfigError, StoreDown

ABOUT = f"""\
Asks the archive. Without NAME: the questions that there are.

  gaugeline cloud query                                             lists them
  gaugeline cloud query energy --site plant-1 --from 2026-05-01 --to 2026-06-01
  gaugeline cloud query operating-hours --tag speed_rpm --above 50 --csv
  gaugeline cloud query hourly --tag flow --path /srv/archive --json     of a folder, without a host

The archive is at --path, or where --config or the running host at --url says. It ends yesterday: what is newer is in
the store. Days and hours are UTC.
Times are {HELP}.
"""
_Adder = Callable[..., argparse.ArgumentParser]
LATEST_MS = 4_102_444_800_000


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = command("query", help="questions to the archive", description=ABOUT, formatter_class=raw)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the question; without it they are listed")
    parser.add_argument("--site", metavar="S", help="only this site (group)")
    parser.add_argument("--from", dest="from_time", metavar="T", help="from this time on")
    parser.add_argument("--to", dest="to_time", metavar="T", help="before this time")
    parser.add_argument("--tag", metavar="T", help="only tags of this name")
    parser.add_argument("--above", type=float, default=0.0, metavar="X", help="the limit of operating-hours (0)")
    add_place(parser)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--csv", action="store_true", help="as CSV")
    parser.set_defaults(ask=_query)


def _query(arguments: argparse.Namespace) -> Answer:
    from cloud.analytics.catalogue import question  # with Ibis, which takes a second: no other command waits for it

    if arguments.name is None:
        return _listed(arguments.json)
    from cloud.analytics.question import Options
    from cloud.analytics.source import Range, answer

    wanted = question(arguments.name)
    now_ms = time.time_ns() // 1_000_000
    times = (arguments.from_time or "1970-01-01T00:00Z", arguments.to_time)
    from_ms = moment_ms(unshielded(times[0]), now_ms)
    to_ms = LATEST_MS if times[1] is None else moment_ms(unshielded(times[1]), now_ms)
    if from_ms > to_ms:
        raise ConfigError(f"--from {unshielded(times[0])} is later than --to {unshielded(str(times[1]))}")
    try:
        options = Options(arguments.tag, arguments.above)
        found = answer(place_of(arguments), wanted, Range(arguments.site, from_ms, to_ms), options)
    except StoreDown as fault:
        raise ConfigError(str(fault)) from fault
    if arguments.json:
        return Answer(json.dumps(found.to_pylist(), indent=2))
    if arguments.csv:
        return Answer(_csv(found))
    if not found.num_rows:
        return Answer("the archive has nothing of that: `gaugeline cloud archive list` shows which days there are")
    rows = [[_cell(value) for value in row.values()] for row in found.to_pylist()]
    return Answer(f"{table([found.column_names, *rows], left=True)}\n\n{wanted.columns}")


def _listed(as_json: bool) -> Answer:
    from cloud.analytics.catalogue import QUESTIONS

    if as_json:
        return Answer(
            json.dumps([{"name": n, "about": q.about, "columns": q.columns} for n, q in QUESTIONS.items()], indent=2)
        )
    return Answer(table(([name, q.about] for name, q in QUESTIONS.items()), left=True))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _csv(found: Any) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(found.column_names)
    writer.writerows(["" if value is None else value for value in row.values()] for row in found.to_pylist())
    return out.getvalue().rstrip("\n")
