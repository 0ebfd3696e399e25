"""`gaugeline cloud rollup`: how far the roll-ups are, and a time computed anew."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from cloud.archive.command import bar
from cloud.ask import Answer, call
from cloud.times import HELP, moment_ms, unshielded

ABOUT = f"""\
Long charts read roll-ups: what each tag came to in every minute, quarter of an hour and hour. The host keeps them right
by itself, also for data that comes late. Without --from or --to this tells how far it is; with one of them the host
computes the UTC days of that time anew, newest first, and this waits until it has.

  gaugeline cloud rollup                        what is due, and how far back
  gaugeline cloud rollup --from -7d             the last week anew, for example after rows were changed by hand
  gaugeline cloud rollup --from 2026-05-01 --to 2026-06-01 --json

Times are {HELP}.
Ctrl-C ends the waiting; the host goes on. Exit code 0: all is as it should be; 1: a problem, told with what to do.
"""
LOOK_S, LOOK_AT_MOST_S = 0.05, 0.5
_FIRST_MS = 946_684_800_000  # 2000-01-01: earlier stamps are never stored


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """command: add_parser of the sub-commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = command("rollup", help="what long charts are drawn from", description=ABOUT, formatter_class=raw)
    parser.add_argument("--from", dest="from_time", metavar="T", help="compute anew from the day of this time on")
    parser.add_argument("--to", dest="to_time", metavar="T", help="... up to the day of this time (now)")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(ask=_rollup)


def _rollup(arguments: argparse.Namespace) -> Answer:
    days = 0
    if arguments.from_time is None and arguments.to_time is None:
        found: dict[str, Any] = call(arguments.url, "/api/rollups")
    else:
        now_ms = time.time_ns() // 1_000_000
        from_ms = moment_ms(unshielded(arguments.from_time), now_ms) if arguments.from_time else _FIRST_MS
        to_ms = moment_ms(unshielded(arguments.to_time), now_ms) if arguments.to_time else now_ms
        # A host with many samples looks through all of them for its days.
        body = {"from_ms": from_ms, "to_ms": to_ms}
        found = call(arguments.url, "/api/rollups", body=body, timeout_s=600)
        days = int(found["days"])
        found = _waited(arguments, found, days)
    code = 1 if found["problem"] else 0
    if arguments.json:
        return Answer(json.dumps(found, indent=2), code)
    return Answer(_told(found, days), code)


def _waited(arguments: argparse.Namespace, found: dict[str, Any], days: int) -> dict[str, Any]:
    pause_s = LOOK_S
    with bar("rolled up", arguments.json) as show:
        while found["days_due"] and not found["problem"]:
            time.sleep(pause_s)
            pause_s = min(LOOK_AT_MOST_S, 1.5 * pause_s)
            found = {"days": days, **call(arguments.url, "/api/rollups")}
            show(max(0, days - found["days_due"]), days)
    return found


def _told(found: dict[str, Any], days: int) -> str:
    lines = []
    if days:
        told = f"{days:,} UTC day{'s' if days > 1 else ''} of sites"
        lines.append(f"{told} to compute" if found["days_due"] else f"{told} computed anew")
    if found["problem"]:
        lines.append(f"PROBLEM: {found['problem']}")
    if found["hours_due"] or found["days_due"]:
        back = f"the oldest {found['oldest_due_s'] // 60:,} minutes back"
        lines.append(f"due: {found['hours_due']:,} hours of devices, {found['days_due']:,} days of sites; {back}")
    else:
        lines.append("nothing is due: every window that is over is computed")
    if found["windows_left"]:
        lines.append(f"{found['windows_left']:,} windows left as they are: the store lacks rows of them")
    return "\n".join(lines)
