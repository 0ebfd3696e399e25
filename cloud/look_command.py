"""`gaugeline cloud sites | tags | values | series | ledger`: what the running host knows."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from cloud.ask import Answer, call, clock, table
from cloud.times import HELP, WrongCall, moment_ms, unshielded
from wire.errors import ConfigError

SITES_ABOUT = """\
Lists the sites (Sparkplug groups) with their gateways: there or gone, since when, heard last, and whether every sample
is accounted for (`gaugeline cloud audit` has the whole balance).

  gaugeline cloud sites
"""
TAGS_ABOUT = """\
Lists everything that was born: each tag with its unit, its datatype and its newest value. What `gaugeline cloud series`
wants to know stands in the first column: GROUP/GATEWAY/DEVICE/TAG.

  gaugeline cloud tags                                 the first 200
  gaugeline cloud tags --site plant-1 --name temp      tags of one site with 'temp' in their names
  gaugeline cloud tags --asset feed-pump --all         all tags of an asset
"""
VALUES_ABOUT = """\
Lists the newest value of each tag, its age and its quality. From the host's memory: also while the database is down.

  gaugeline cloud values --site plant-1 --device pump-1
"""
SERIES_ABOUT = f"""\
One tag between two times: about --points of its samples, each slice of time with its lowest and its highest value, so
that a spike is never smoothed away. --csv gives every single row instead.

  gaugeline cloud series plant-1/gw-1/pump-1/flow                     the last hour
  gaugeline cloud series plant-1/gw-1/pump-1/flow --from -7d --points 100
  gaugeline cloud series plant-1/gw-1/pump-1/flow --from 2026-05-01 --to 2026-05-02 --csv > flow.csv
  gaugeline cloud series plant-1/gw-1//cpu                            a tag of the gateway itself

Times are {HELP}.
More than one tag, Parquet and Arrow: `gaugeline cloud export --help`.
"""
LEDGER_ABOUT = f"""\
Lists the ledger: one entry a batch that the host has stored and confirmed, with the digest of its samples. Sorted by
gateway, epoch (one start of a gateway) and number.

  gaugeline cloud ledger --site plant-1 --gateway gw-1 --from -1h      batches with samples of the last hour
  gaugeline cloud ledger --epoch 9f2c --numbers 100 200                are all of these stored?

samples = stored + dead letters + collided.
Times are {HELP}.
"""
MOST = 1_000  # of one page

_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    """command: add_parser of the sub-commands."""
    raw = argparse.RawDescriptionHelpFormatter
    sites = command("sites", help="sites and their gateways", description=SITES_ABOUT, formatter_class=raw)
    sites.set_defaults(ask=_sites)
    tags = command("tags", help="every tag that was born", description=TAGS_ABOUT, formatter_class=raw)
    tags.set_defaults(ask=_tags)
    values = command("values", help="newest values", description=VALUES_ABOUT, formatter_class=raw)
    values.set_defaults(ask=_values)
    for parser in (tags, values):
        parser.add_argument("--asset", metavar="A", help="only this asset")
        parser.add_argument("--name", metavar="TEXT", help="only tags with this in their name")
    series = command("series", help="one tag between two times", description=SERIES_ABOUT, formatter_class=raw)
    series.add_argument("tag", metavar="GROUP/GATEWAY/DEVICE/TAG", help="as `gaugeline cloud tags` lists it")
    series.add_argument("--points", type=int, default=200, metavar="N", help="about so many at most (200)")
    series.add_argument("--csv", action="store_true", help="every row, as CSV")
    series.set_defaults(ask=_series)
    ledger = command("ledger", help="which batches are stored", description=LEDGER_ABOUT, formatter_class=raw)
    ledger.add_argument("--epoch", metavar="E", help="only this epoch")
    ledger.add_argument("--numbers", nargs=2, type=int, metavar=("FIRST", "LAST"), help="only these, both included")
    ledger.set_defaults(ask=_ledger)
    for parser in (tags, values, ledger):
        parser.add_argument("--site", metavar="S", help="only this site (group)")
        parser.add_argument("--gateway", metavar="G", help="only this gateway")
        parser.add_argument("--device", metavar="D", help="only this device")
        parser.add_argument("--limit", type=int, default=200, metavar="N", help="at most so many (200)")
        parser.add_argument("--all", action="store_true", help="all of them, however many")
    for parser, since in ((series, "\0-1h"), (ledger, None)):
        word = " (-1h)" if since else ""
        parser.add_argument("--from", dest="from_time", metavar="T", default=since, help=f"from this time on{word}")
        parser.add_argument("--to", dest="to_time", metavar="T", help="before this time (now)")
    for parser in (sites, tags, values, series, ledger):
        parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
        parser.add_argument("--json", action="store_true", help="as JSON")


def pages(url: str, path: str, asked: Mapping[str, Any], most: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Items of a list of the API, and whether there are more of them. most None: all."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while most is None or len(found) < most:
        limit = MOST if most is None else min(MOST, most - len(found))
        page = call(url, path, {**asked, "limit": limit, "after": after})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found, False
    return found, True


def _listed(arguments: argparse.Namespace, path: str, **more: Any) -> tuple[list[dict[str, Any]], str]:
    if arguments.limit < 1:
        raise WrongCall("--limit: 1 or more; --all for all of them")
    asked = {"group": arguments.site, "node": arguments.gateway, "device": arguments.device, **more}
    found, cut = pages(arguments.url, path, asked, None if arguments.all else arguments.limit)
    return found, f"there are more: --limit N or --all shows them (shown: {len(found):,})" if cut else ""


def _shown(arguments: argparse.Namespace, rows: list[list[Any]], items: object, more: str, none: str) -> Answer:
    if arguments.json:
        return Answer(json.dumps(items, indent=2))
    lines = [table(rows, left=True) if len(rows) > 1 else none, *([more] if more else [])]
    return Answer("\n".join(lines))


def _sites(arguments: argparse.Namespace) -> Answer:
    found, _ = pages(arguments.url, "/api/sites", {}, None)
    rows: list[list[Any]] = [["site", "gateway", "state", "since", "heard", "devices", "tags", "stored", "lost"]]
    for site in found:
        for g in site["gateways"]:
            counts = g["balance"] or {}
            state = "two with this id" if g["duplicate_id"] else "online" if g["online"] else "gone"
            times = [clock(g["since_ms"]), clock(g["heard_ms"])]
            counted = [counts.get("stored", "-"), counts.get("lost", "-")]
            rows.append([site["id"], g["id"], state, *times, g["devices"], g["tags"], *counted])
    return _shown(arguments, rows, found, "", "no site was heard yet: is a gateway's `broker` the one of this host?")


NO_TAG = "no such tag was ever born; without --site, --gateway, --device, --asset and --name all are listed"


def _place(tag: Mapping[str, Any]) -> str:
    return f"{tag['group']}/{tag['node']}/{tag['device']}/{tag['tag']}"


def _quality(tag: Mapping[str, Any]) -> str:
    name = {0: "BAD", 64: "UNCERTAIN", 192: "GOOD"}.get(tag["quality"], str(tag["quality"]))
    return f"{name} ({tag['reason']})" if tag["reason"] else name


def _value(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _tags(arguments: argparse.Namespace) -> Answer:
    found, more = _listed(arguments, "/api/tags", asset=arguments.asset, name=arguments.name)
    rows: list[list[Any]] = [["tag", "value", "unit", "datatype", "asset", "quality", "at"]]
    for t in found:
        facts = [_value(t["value"]), t["unit"], t["datatype"], t["asset"], _quality(t), clock(t["ts_ms"] or 0)]
        rows.append([_place(t), *facts])
    return _shown(arguments, rows, found, more, NO_TAG)


def _values(arguments: argparse.Namespace) -> Answer:
    found, more = _listed(arguments, "/api/values", asset=arguments.asset, name=arguments.name)
    rows: list[list[Any]] = [["tag", "value", "unit", "quality", "at"]]
    rows += [[_place(t), _value(t["value"]), t["unit"], _quality(t), clock(t["ts_ms"] or 0)] for t in found]
    return _shown(arguments, rows, found, more, NO_TAG)


def _times(arguments: argparse.Namespace) -> dict[str, int | None]:
    now_ms = time.time_ns() // 1_000_000
    given = {"from_ms": arguments.from_time, "to_ms": arguments.to_time}
    return {name: moment_ms(unshielded(t), now_ms) if t else None for name, t in given.items()}


def _series(arguments: argparse.Namespace) -> Answer:
    parts = arguments.tag.split("/", 3)
    if len(parts) != 4 or not parts[3]:
        raise WrongCall(f"{arguments.tag!r}: write it as GROUP/GATEWAY/DEVICE/TAG; `gaugeline cloud tags` lists them")
    asked: dict[str, Any] = dict(zip(("group", "node", "device", "tag"), parts, strict=True))
    asked |= _times(arguments)
    asked["to_ms"] = asked["to_ms"] or time.time_ns() // 1_000_000
    if arguments.csv:
        return _csv(arguments.url, asked)
    found = call(arguments.url, "/api/series", {**asked, "points": arguments.points})
    if arguments.json:
        return Answer(json.dumps(found, indent=2))
    rows: list[list[Any]] = [["time", "value", "quality"]]
    for t, v, q in zip(found["t"], found["v"], found["q"], strict=True):
        rows.append([f"{clock(t)[:-1]}.{t % 1000:03d}Z", _value(v), _quality({"quality": q, "reason": ""})])
    if len(rows) == 1:
        return Answer("no samples in this time; `gaugeline cloud tags` says when the newest one came")
    return Answer(f"{table(rows, left=True)}\n({len(rows) - 1:,} points, source: {found['source']})")


def _csv(url: str, asked: Mapping[str, Any]) -> Answer:
    try:
        with httpx.stream(
            "GET", f"{url.rstrip('/')}/api/export", params=dict(asked), timeout=60, trust_env=False
        ) as answer:
            if answer.is_error:
                answer.read()
                raise WrongCall(str(answer.json().get("detail", answer.text)))
            for piece in answer.iter_bytes():
                sys.stdout.buffer.write(piece)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise ConfigError(f"the host at {url} did not give all of it ({fault}); see --url") from fault
    sys.stdout.flush()
    return Answer("")


def _ledger(arguments: argparse.Namespace) -> Answer:
    numbers = dict(zip(("number_from", "number_to"), arguments.numbers or (), strict=False))
    found, more = _listed(arguments, "/api/ledger", epoch=arguments.epoch, **numbers, **_times(arguments))
    head = ["gateway", "epoch", "number", "device", "samples", "stored", "dead letters", "collided", "first", "last"]
    rows: list[list[Any]] = [head]
    for e in found:
        counts = [e["samples"], e["stored"], e["dead_letters"], e["collided"]]
        place = [f"{e['group']}/{e['node']}", e["epoch"], str(e["number"]), e["device"] or "(records)"]
        rows.append([*place, *counts, clock(e["first_ms"]), clock(e["last_ms"])])
    return _shown(arguments, rows, found, more, "no such batch is stored")
