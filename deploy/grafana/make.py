"""Makes the Grafana dashboards: `python deploy/grafana/make.py` writes deploy/grafana/dashboards/*.json.

Queries are InfluxQL, as InfluxDB 1.x speaks it and 2.x understands it. Charts read the host's roll-ups: measurements
rollup_1m, rollup_15m, rollup_1h. Of one window several rows may stand beside each other, a few ns apart, and the newest
one counts: last(...) for each window comes first, and what a chart shows is made of that.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

from wire.block import Quality, Reason

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "influxdb", "uid": "gaugeline"}
WINDOWS = ("1m", "15m", "1h")
GATEWAY = '"group" =~ /^$group$/ AND "node" =~ /^$node$/'
DEVICE = f'{GATEWAY} AND "device" =~ /^$device$/'
TAG = f'{DEVICE} AND "tag" =~ /^$tag$/'
EVERY_TAG = '"group", "node", "device", "tag"'
COLUMNS = 24

Json = dict[str, Any]


def windows(where: str, **fields: str) -> str:
    """Each window once. fields: name -> the roll-up's field."""
    picked = ", ".join(f'last("{field}") AS "{name}"' for name, field in fields.items())
    group = f"GROUP BY time($window), {EVERY_TAG} fill(none)"
    return f'SELECT {picked} FROM "rollup_$window" WHERE {where} AND $timeFilter {group}'


def of_windows(what: str, where: str, by: str, **fields: str) -> str:
    inner = windows(where, **fields)
    return f"SELECT {what} FROM ({inner}) WHERE $timeFilter GROUP BY time($__interval), {by} fill(none)"


def raw(what: str, where: str, by: str = "", more: str = "") -> str:
    group = f" GROUP BY {by}" if by else ""
    return f'SELECT {what} FROM "sample" WHERE {where} AND $timeFilter{more}{group}'


def target(query: str, alias: str = "", ref: str = "A", kind: str = "time_series") -> Json:
    return {"refId": ref, "datasource": SOURCE, "rawQuery": True, "query": query, "alias": alias, "resultFormat": kind}


def panel(title: str, kind: str, at: tuple[int, int, int, int], targets: list[Json], **more: Any) -> Json:
    """at: x, y, width, height on a grid of 24 columns."""
    x, y, w, h = at
    unit = more.pop("unit", "short")
    defaults = {"unit": unit, **more.pop("defaults", {})}
    return {
        "title": title, "type": kind, "gridPos": {"x": x, "y": y, "w": w, "h": h}, "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])}, "targets": targets,
        **({"interval": "$window"} if any("$window" in t["query"] for t in targets) else {}), **more,
    }  # fmt: skip


def variable(name: str, label: str, where: str = "", multi: bool = True) -> Json:
    keys = f'SHOW TAG VALUES FROM "sample" WITH KEY = "{name}"{f" WHERE {where}" if where else ""}'
    everything = {"includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": keys, "refresh": 2, "sort": 1,
        "multi": multi, **(everything if multi else {"includeAll": False}),
    }  # fmt: skip


def window_variable() -> Json:
    options = [{"text": w, "value": w, "selected": w == "1m"} for w in WINDOWS]
    return {
        "name": "window", "label": "Roll-up", "type": "custom", "query": ",".join(WINDOWS), "options": options,
        "current": options[0], "multi": False, "includeAll": False,
    }  # fmt: skip


def dashboard(uid: str, title: str, about: str, since: str, variables: list[Json], panels: list[Json]) -> Json:
    numbers = count(1)
    return {
        "uid": uid, "title": title, "description": about, "tags": ["gaugeline"], "timezone": "browser",
        "schemaVersion": 39, "version": 1, "editable": True, "refresh": "30s", "time": {"from": since, "to": "now"},
        "templating": {"list": variables}, "annotations": {"list": []},
        "links": [{"title": "Gaugeline", "type": "dashboards", "tags": ["gaugeline"], "keepTime": True,
                   "includeVars": True, "asDropdown": True}],
        "panels": [{"id": next(numbers), **p} for p in panels],
    }  # fmt: skip


SITE = variable("group", "Site")
NODE = variable("node", "Gateway", '"group" =~ /^$group$/')
PERCENT = {"unit": "percent", "defaults": {"min": 0, "max": 100}}


def fleet() -> Json:
    each = raw('count("quality") AS "n"', GATEWAY, '"group", "node"')
    gateways = f'SELECT count("n") FROM ({each})'
    rate = of_windows('sum("n")', GATEWAY, '"group", "node"', n="count")
    good = of_windows('100 * sum("good") / sum("n")', GATEWAY, '"group", "node"', good="good", n="count")
    by = "$tag_group/$tag_node"
    return dashboard(
        "gaugeline-fleet", "Gaugeline: fleet", "Which gateways deliver, how much, and how good it is.", "now-6h",
        [SITE, NODE, window_variable()],
        [
            panel("Gateways that delivered", "stat", (0, 0, 4, 5), [target(gateways)]),
            panel("Samples", "stat", (4, 0, 4, 5), [target(raw('count("quality")', GATEWAY))]),
            panel("Last sample of each gateway", "table", (8, 0, 16, 5),
                  [target(raw('last("quality") AS "quality"', GATEWAY, '"group", "node"'), kind="table")]),
            panel("Samples in each interval", "timeseries", (0, 5, 12, 9), [target(rate, by)]),
            panel("Share of GOOD samples", "timeseries", (12, 5, 12, 9), [target(good, by)], **PERCENT),
        ],
    )  # fmt: skip


def device() -> Json:
    band = [
        target(of_windows('min("low")', TAG, '"tag"', low="min"), "min", "A"),
        target(of_windows('max("high")', TAG, '"tag"', high="max"), "max", "B"),
        target(of_windows('mean("middle")', TAG, '"tag"', middle="mean"), "mean", "C"),
    ]

    def thin(name: str, *more: Json) -> Json:
        faint = [{"id": "custom.lineWidth", "value": 0}, *more]
        return {"matcher": {"id": "byName", "options": name}, "properties": faint}

    overrides = [thin("max", {"id": "custom.fillBelowTo", "value": "min"}), thin("min")]
    worst = raw('min("quality") AS "quality"', TAG, 'time($__interval), "tag" fill(none)')
    return dashboard(
        "gaugeline-device", "Gaugeline: one device", "Values of a device's tags. The band reaches from the lowest to "
        "the highest sample: no spike is smoothed away.", "now-6h",
        [variable("group", "Site", multi=False), variable("node", "Gateway", '"group" =~ /^$group$/', multi=False),
         variable("device", "Device", GATEWAY, multi=False), variable("tag", "Tag", DEVICE), window_variable()],
        [
            panel("Newest values", "table", (0, 0, 8, 9),
                  [target(raw('last("value") AS "value"', TAG, '"tag"'), kind="table")]),
            panel("Quality (192 good, 64 uncertain, 0 bad)", "timeseries", (8, 0, 16, 9), [target(worst, "$tag_tag")],
                  defaults={"min": 0, "max": 192, "custom": {"lineInterpolation": "stepAfter"}}),
            panel("Every sample", "timeseries", (0, 9, 24, 8),
                  [target(raw('mean("value") AS "value"', TAG, 'time($__interval), "tag" fill(none)'), "$tag_tag")]),
            panel("$tag", "timeseries", (0, 17, 24, 8), band, overrides=overrides, repeat="tag", repeatDirection="v"),
        ],
    )  # fmt: skip


def quality() -> Json:
    by = "$tag_node $tag_device"
    good = of_windows('100 * sum("good") / sum("n")', DEVICE, '"node", "device"', good="good", n="count")

    def counted(code: Quality) -> list[Json]:
        by_device = 'time($__interval), "node", "device" fill(none)'
        return [target(raw('count("quality")', DEVICE, by_device, f' AND "quality" = {code:d}'), by)]

    reasons = [
        target(raw('count("reason")', DEVICE, more=f' AND "reason" = {reason:d}'), reason.name.lower(), f"R{reason:d}")
        for reason in Reason
        if reason
    ]
    silent = raw('last("quality") AS "quality"', DEVICE, '"group", "node", "device"')
    return dashboard(
        "gaugeline-quality", "Gaugeline: data quality", "What is not good, since when and why.", "now-24h",
        [SITE, NODE, variable("device", "Device", GATEWAY), window_variable()],
        [
            panel("Share of GOOD samples", "timeseries", (0, 0, 24, 8), [target(good, by)], **PERCENT),
            panel("BAD samples", "timeseries", (0, 8, 12, 8), counted(Quality.BAD)),
            panel("UNCERTAIN samples", "timeseries", (12, 8, 12, 8), counted(Quality.UNCERTAIN)),
            panel("Why samples were not good", "bargauge", (0, 16, 12, 10), reasons),
            panel("Last sample of each device", "table", (12, 16, 12, 10), [target(silent, kind="table")]),
        ],
    )  # fmt: skip


def dashboards() -> dict[str, str]:
    """File name -> content."""
    made = {"fleet.json": fleet(), "device.json": device(), "quality.json": quality()}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in dashboards().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
