"""`gaugeline cloud retention plan | run | status`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from cloud.ask import Answer, call, table
from wire.errors import ConfigError

ABOUT = """\
Old samples leave the store by class of tag, and are counted as they go: the balance holds. What the archive has of them
stays there. Nothing is ever removed without `retention:` in cloud.yaml:

  retention:
    hot_days: 400
    classes:
      - {name: vibration, tags: ["*/vibration_*"], hot_days: 30}
      - {name: energy, measures: [energy, power], hot_days: 1825}

  gaugeline cloud retention plan       what would go now: days, classes, samples; what is held back, and why
  gaugeline cloud retention run        now; otherwise the host does it by itself, once a day
  gaugeline cloud retention status     what was removed so far, by site, device and class

All three ask the running host. Where there is an archive only days go that it has, as they are, and that
`archive verify` finds in order. Exit code 0: done; 1: something that is due could not go, told with the reason.
"""
WHAT = ("plan", "run", "status")
LOOK_S, LOOK_AT_MOST_S = 0.02, 0.5
MOST_SHOWN = 30

_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = command("retention", help="old samples leave the store, counted", description=ABOUT, formatter_class=raw)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(
        ask=lambda arguments: {"plan": _plan, "run": _run, "status": _status}[arguments.what](arguments)
    )


def _plan(arguments: argparse.Namespace) -> Answer:
    found = call(arguments.url, "/api/retention/plan")
    if arguments.json:
        return Answer(json.dumps(found, indent=2))
    days = found["days"]
    if not days:
        return Answer("nothing is due: no sample is older than its class is kept")
    head = ["site", "day", "class", "kept for", "samples", "bytes", "held back"]
    rows = [
        [d["site"], d["day"], d["class"], f"{d['hot_days']} days", f"{d['rows']:,}", _bytes(d["bytes"]), d["held"]]
        for d in days[:MOST_SHOWN]
    ]
    more = f"\n... and {len(days) - MOST_SHOWN:,} more, see --json" if len(days) > MOST_SHOWN else ""
    held = sum(d["rows"] for d in days if d["held"])
    told = f"{found['rows']:,} samples are due" + (f", {held:,} of them are held back" if held else "")
    return Answer(f"{table([head, *rows], left=True)}{more}\n\n{told}")


def _bytes(size: int | None) -> str:
    return "-" if size is None else f"{size:,}"


def _run(arguments: argparse.Namespace) -> Answer:
    from cloud.archive.command import bar

    run: dict[str, Any] = call(arguments.url, "/api/retention/run", body={"run": "now"})
    with bar("looked through", arguments.json) as show:
        pause_s = LOOK_S
        while not run["done"]:
            time.sleep(pause_s)
            pause_s = min(LOOK_AT_MOST_S, 1.5 * pause_s)
            runs = {r["number"]: r for r in call(arguments.url, "/api/retention")["runs"]}
            if run["number"] not in runs:
                raise ConfigError("the host was started anew meanwhile: ask again")
            run = runs[run["number"]]
            show(run["finished"], run["total"])
    late = [h for h in run["held"] if "restored" not in h["why"]]
    code = 1 if run["problems"] or late else 0
    if arguments.json:
        return Answer(json.dumps(run, indent=2), code)
    lines = [f"{r['site']} {r['day']} {r['class']}: {r['rows']:,} samples removed" for r in run["results"]]
    lines += [f"{h['site']} {h['day']} {h['class']}: {h['rows']:,} samples stay: {h['why']}" for h in run["held"]]
    lines += [f"PROBLEM: {problem}" for problem in run["problems"]]
    return Answer("\n".join(lines or ["nothing is due: no sample is older than its class is kept"]), code)


def _status(arguments: argparse.Namespace) -> Answer:
    found = call(arguments.url, "/api/retention")
    if arguments.json:
        return Answer(json.dumps(found, indent=2))
    days = ", ".join(
        f"{c['name']} {c['hot_days']} days" if c["hot_days"] else f"{c['name']} for ever" for c in found["classes"]
    )
    first = "only what the archive has" if found["archive_first"] else "WHETHER IT IS ARCHIVED OR NOT"
    lines = [f"kept: {days}; removed is {first}", ""]
    if found["devices"]:
        rows = [[d["gateway"], d["device"], d["class"], f"{d['rows']:,}", d["from"], d["to"]] for d in found["devices"]]
        lines += [table([["gateway", "device", "class", "removed", "from", "to"], *rows], left=True), ""]
    lines.append(f"{found['removed']:,} samples are removed" if found["removed"] else "nothing was removed so far")
    return Answer("\n".join(lines))
