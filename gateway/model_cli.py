"""`gaugeline gateway model suspend|resume|accept|overhaul SITE ASSET`: what a person tells a running gateway."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from gateway.config import Site
from gateway.status import ask
from wire.errors import ConfigError

_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPILOG = """\
examples:
  gaugeline gateway model suspend site.yaml press-1 --for 2h --why "bearing is exchanged"
  gaugeline gateway model resume site.yaml press-1        the warm-up begins anew, with the baseline as it was
  gaugeline gateway model accept site.yaml press-1        the level of now is normal
  gaugeline gateway model overhaul site.yaml press-1      its remaining life is told anew from here

Asks the running gateway. Each command is on record beside the outbox (outbox.db.audit.jsonl): who, what, when, why.
"""


def add_parser(commands: Any) -> None:
    model = commands.add_parser(
        "model",
        help="suspend or resume the model of an asset, or accept its level",
        description="Tells the model of one asset what only a person knows: that it is in maintenance, or that its "
        "level of now is normal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ways = model.add_subparsers(dest="do", required=True, metavar="suspend|resume|accept|overhaul")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = ways.add_parser(name, help=about, description=about)
        made.add_argument("site", type=Path, metavar="SITE", help="path of site.yaml")
        made.add_argument("asset", metavar="ASSET", help="the id of an asset with a model, or a life")
        made.add_argument("--why", default="", metavar="TEXT", help="goes on record")
        made.add_argument("--json", action="store_true", help="the record, as one JSON object")
        return made

    suspend = add("suspend", "in maintenance: nothing is judged, learnt or in alarm until `resume`, or for a time")
    suspend.add_argument("--for", dest="for_s", type=_length_s, metavar="TIME", help="such as 90s, 30min, 2h, 1d")
    add("resume", "maintenance is over: the warm-up begins anew, with the baseline as it was")
    add("overhaul", "the machine begins a new life: what was known of its remaining life is forgotten")
    add("accept", "the level of now is normal: the alarm ends, and what was learnt of drift begins anew")


def _length_s(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)", text.strip())
    if found is None or not 0 < (seconds := float(found[1]) * _UNITS[found[2]]) < 1e9:
        raise argparse.ArgumentTypeError("must be a time such as 90s, 30min, 2h or 1d")
    return seconds


async def model(site: Site, arguments: argparse.Namespace) -> str:
    """What was done, in one line. Raises ConfigError with what the gateway refuses."""
    asked = {"cmd": "model", "do": arguments.do, "asset": arguments.asset, "why": arguments.why}
    said = await ask(site.outbox.path, asked | {"for_s": getattr(arguments, "for_s", None)})
    if "result" not in said:
        raise ConfigError(str(said.get("error", "the gateway does not know this command")))
    return json.dumps(said, ensure_ascii=False) if arguments.json else _told(arguments.do, arguments.asset, said)


def _told(do: str, asset: str, said: dict[str, Any]) -> str:
    if do == "resume":
        return f"{asset}: resumed; the warm-up begins anew"
    if do == "overhaul":
        return f"{asset}: a new life begins; the first estimate comes when enough of it is known"
    if do == "accept":
        return f"{asset}: the level of now is normal; the warm-up begins anew"
    if said["until_ms"] is None:
        return f"{asset}: suspended until `gaugeline gateway model resume`"
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(said["until_ms"] / 1000))
    return f"{asset}: suspended until {until}"
