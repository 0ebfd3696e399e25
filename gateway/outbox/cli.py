"""`gaugeline gateway outbox SITE [list|show|parked]`: looks into the outbox and changes nothing."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config import Site
from gateway.outbox.look import MOST_ROWS, STATES, read_file
from gateway.status import Busy, ask, sole_owner
from wire.errors import ConfigError

_EPILOG = """\
examples:
  gaugeline gateway outbox site.yaml                        epochs, batches, bytes, what was dropped or refused
  gaugeline gateway outbox site.yaml list --state unconfirmed --device pump-1
  gaugeline gateway outbox site.yaml show 12                every sample of batch 12
  gaugeline gateway outbox site.yaml parked                 batches that the host refused: it holds another one

Asks the running gateway; opens the file, read-only, when none runs. Changes nothing.
"""


def add_parser(commands: Any) -> None:
    outbox = commands.add_parser(
        "outbox",
        help="look into the outbox: epochs, batches, samples, conflicts",
        description="Shows what the outbox holds: what waits for the host, what was dropped or refused, and why.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    outbox.add_argument("site", type=Path, metavar="SITE", help="path of site.yaml")
    outbox.add_argument("--json", action="store_true", help="one JSON object")
    ways = outbox.add_subparsers(dest="what", metavar="list|show|parked")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = ways.add_parser(name, help=about, description=about)
        # Suppressed when not given: it must not undo one before the word.
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object")
        return made

    listed = add("list", "batches, oldest first: the newest 100 that fit the filters")
    listed.add_argument("--state", choices=STATES)
    listed.add_argument("--device", metavar="ID", help="'' for records of the gateway itself")
    listed.add_argument("--epoch", metavar="EPOCH", help="of one start of the gateway")
    listed.add_argument("--from", dest="from_ms", type=_time_ms, metavar="TIME", help="2026-01-31T08:00 (UTC) or ms")
    listed.add_argument("--to", dest="to_ms", type=_time_ms, metavar="TIME")
    listed.add_argument("--limit", type=_limit, default=100, metavar="N", help="default 100")
    shown = add("show", "one batch with all its samples")
    shown.add_argument("number", type=int, metavar="NUMBER")
    shown.add_argument("--epoch", metavar="EPOCH", help="default: the newest that has this number")
    add("parked", "batches that the host refused, because it holds another one under the same key")


def _limit(text: str) -> int:
    value = int(text)
    if not 0 < value <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_ROWS}")
    return value


def _time_ms(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError("must be like 2026-01-31T08:00 (UTC) or milliseconds since 1970") from fault
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


async def outbox(site: Site, arguments: argparse.Namespace) -> int:
    """Raises ConfigError."""
    asked = {name: value for name, value in vars(arguments).items() if name not in ("site", "command", "json")}
    asked = {**asked, "what": asked["what"] or "summary"}
    try:
        with sole_owner(site.outbox.path, looks=True):
            found = read_file(site.outbox.path, asked, time.time_ns() // 1_000_000)
    except Busy:
        found = await ask(site.outbox.path, {"cmd": "outbox", **asked})
    if "error" in found:
        raise ConfigError(str(found["error"]))
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
    elif asked["what"] == "summary":
        print(_summary(found))
    elif asked["what"] == "show":
        print(_shown(found))
    else:
        print(_listed(found["batches"]))
    return 0


def _summary(found: dict[str, Any]) -> str:
    oldest = found["oldest_unconfirmed_s"]
    samples = found["samples"]
    lines = [
        f"{found['file']}: {found['file_bytes'] / 1e6:.1f} MB on the disk, {found['used_bytes'] / 1e6:.1f} MB used",
        f"{found['batches']} batches kept: {found['unconfirmed']} unconfirmed, {found['parked']} parked, "
        f"{found['thinned']} thinned" + ("" if oldest is None else f"; the oldest has waited {_age(oldest)}"),
        "samples: " + ", ".join(f"{samples[name]} {name.replace('_', ' ')}" for name in samples),
        *(f"set aside as damaged: {name}" for name in found["set_aside"]),
        "",
        _table(
            ("epoch", "started", "batches made", "kept", "unconfirmed", "ended"),
            [
                (e["epoch"], _time(e["started_ms"]), e["number"], e["kept"], e["unconfirmed"], _ended(e, found))
                for e in found["epochs"]
            ],
        ),
    ]
    if found["gaps"]:
        rows = [(g["line"], _time(g["last_poll_ms"]), _time(g["first_new_ms"]), g["reason"]) for g in found["gaps"]]
        lines += ["", _table(("gap of line", "last poll", "first new", "why"), rows)]
    return "\n".join(lines)


def _ended(epoch: dict[str, Any], found: dict[str, Any]) -> str:
    if epoch["clean"]:
        return "stopped"
    return "newest" if epoch is found["epochs"][-1] else "killed"


def _listed(batches: Sequence[dict[str, Any]]) -> str:
    if not batches:
        return "no batches"
    head = ("epoch", "number", "device", "samples", "first", "last", "bytes", "state", "replaces")
    rows = [
        (
            b["epoch"], b["number"], b["device"] or "(gateway)", b["samples"], _time(b["first_ms"]),
            _time(b["last_ms"]), b["bytes"], b["state"], ":".join((b["replaces"] or "").split(":")[:2]),
        )
        for b in batches
    ]  # fmt: skip
    return _table(head, rows)


def _shown(found: dict[str, Any]) -> str:
    rows = [
        (_time(s["ts_ms"]), s["tag"], "" if s["value"] is None else s["value"], s["quality"], s["reason"])
        for s in found["samples"]
    ]
    return _listed([found["batch"]]) + "\n\n" + _table(("time", "tag", "value", "quality", "reason"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    texts = [list(head), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in texts)


def _cell(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _time(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "never"
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _age(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
