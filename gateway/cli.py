"""`gaugeline gateway run|check|plan|read|status|reload|write`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from agent.load import LineLoad
from gateway.clock_text import clock_lines
from gateway.config import Site, load_site
from gateway.config.apart import load_apart
from gateway.logs import log_to_stderr
from gateway.plan import check_fits, loads, plan_json, plan_text, warnings
from gateway.status import Busy, ask, sole_owner
from wire.errors import ConfigError, GaugelineError

log = logging.getLogger(__name__)

_EXAMPLE = """\
a first site.yaml:
  group: plant-1
  gateway: gw-1
  broker: mqtt://192.168.1.10
  lines:
    - {name: plc, driver: modbus-tcp, host: 192.168.1.20}
  devices:
    - id: pump-1
      line: plc
      tags:
        - {name: flow, table: holding, address: 0, type: float32, unit: m3/h}

then: gaugeline gateway check site.yaml    what is wrong, all at once, with line numbers
      gaugeline gateway plan site.yaml     every request, its time on the wire, the load of each line
      gaugeline gateway read site.yaml     what the devices say now; nothing is stored or sent
      gaugeline gateway run site.yaml      sample, keep, publish until it is stopped
      gaugeline gateway status site.yaml   what the running gateway has done with every sample
      gaugeline gateway reload site.yaml   after a change of the file; it also notices by itself
      gaugeline gateway write site.yaml pump-1/setpoint 12.5   where site.yaml allows it
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="gaugeline gateway",
        description="Reads the devices of a site, judges, keeps every sample until the host has stored it, publishes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, about: str, more: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=more)
        made.add_argument("site", type=Path, metavar="SITE", help="path of site.yaml")
        return made

    run = add(
        "run",
        "sample, keep and publish until stopped",
        "Samples until SIGTERM, SIGINT (Ctrl-C) or --for; then commits, waits at most 10 s until the host has "
        "confirmed everything, says NDEATH and ends with 0. What is not confirmed is kept for the next run.",
    )
    run.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="stop sampling after so long")
    run.add_argument("--verbose", action="store_true", help="log every retry, not only changes of state")
    add("check", "judge site.yaml without touching a device", "Tells every problem with file, line and key.")
    read = add(
        "read",
        "show what the devices say now",
        "Polls every device and shows each value with unit and quality. Asks the running gateway when there is one.",
    )
    read.add_argument("--json", action="store_true", help="one JSON object a tag and cycle")
    read.add_argument("--cycles", type=_count, default=1, metavar="N", help="polls of every device (default 1)")
    plan = add(
        "plan",
        "show every request and the load of every line",
        "Tells which registers are asked for together, what each request costs on the wire, and how much of each "
        "line's time is taken; nothing is sent.",
    )
    plan.add_argument("--json", action="store_true", help="one JSON object a line")
    status = add(
        "status",
        "what became of every sample",
        "Asks the running gateway; when none runs, reads the counters from the outbox itself.",
    )
    status.add_argument("--json", action="store_true", help="everything, as one JSON object")
    add(
        "reload",
        "let the running gateway take the changed file",
        "Checks site.yaml, then only lines that changed are restarted. With a bad file the old configuration runs on. "
        "The gateway also does so by itself when the file has changed, and at SIGHUP.",
    )
    write = add(
        "write",
        "write one value into a device",
        "Writes to a tag with `writable: true` within its limits, reads it back and puts it on record beside the "
        "outbox. Needs `commands: {write: true}` in site.yaml. Asks the running gateway when there is one.",
    )
    write.add_argument("tag", metavar="DEVICE/TAG", help="such as press/setpoint")
    write.add_argument("value", metavar="VALUE", help="in the unit of the tag; on or off for a coil")
    write.add_argument("--yes", action="store_true", help="do not ask")
    write.add_argument("--json", action="store_true", help="the record, as one JSON object")
    return top


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return value


def main(argv: list[str]) -> int:
    """0: done. 1: a problem, told as `error: ...`. 2: a wrong call."""
    arguments = parser().parse_args(argv)
    log_to_stderr(logging.DEBUG if getattr(arguments, "verbose", False) else logging.INFO)
    try:
        site = load_apart(arguments.site) if arguments.command == "run" else load_site(arguments.site)
        found = loads(site)
        if arguments.command == "plan":
            _plan(site, found, arguments.json)
        if arguments.command in ("run", "check", "plan"):
            check_fits(site, found)
        if arguments.command == "run":
            for problem in warnings(site, found):
                log.warning("no room for a fault", extra={"problem": problem})
            found.clear()  # plans of every line: the lines make their own
            from gateway.app import run  # the other commands start faster without onnxruntime

            return asyncio.run(run(site, arguments.for_s))
        if arguments.command == "check":
            return _check(site, found)
        if arguments.command == "plan":
            return 0
        if arguments.command == "read":
            return asyncio.run(_read(site, arguments.cycles, arguments.json))
        if arguments.command == "reload":
            return asyncio.run(_reload(site))
        if arguments.command == "write":
            return _write(site, arguments)
        return asyncio.run(_status(site, arguments.json))
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
    except GaugelineError as fault:
        print(f"error: {fault}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _plan(site: Site, found: list[LineLoad], as_json: bool) -> None:
    for load in found:
        print(json.dumps(plan_json(load)) if as_json else "\n".join(plan_text(load)))
    for problem in warnings(site, found):
        print(f"warning: {problem}", file=sys.stderr)


def _check(site: Site, found: list[LineLoad]) -> int:
    from agent.score import Scorers

    for problem in warnings(site, found):
        print(f"warning: {problem}", file=sys.stderr)
    tags = sum(len(device.tags) for device in site.devices)
    for problem in Scorers(site.assets, site.lines).problems():
        print(f"warning: not scored: {problem}", file=sys.stderr)
    for line in site.lines:
        if not line.by_socket and not Path(str(line.port)).exists():
            print(
                f"warning: line {line.name}: {line.port} does not exist now; it is tried until it does", file=sys.stderr
            )
    print(
        f"{site.path}: good. {site.node}: {len(site.lines)} lines, {len(site.devices)} devices, {tags} tags, "
        f"{len(site.assets)} assets; publishes to {site.broker} for {', '.join(site.hosts)}; "
        f"keeps in {site.outbox.path}"
    )
    return 0


async def _read(site: Site, cycles: int, as_json: bool) -> int:
    from gateway.readings import Reading, dead_lines, read_site, table_line

    found: list[Reading] = []
    async for reading in read_site(site, cycles):
        found.append(reading)
        print(json.dumps(reading) if as_json else table_line(reading), flush=True)
    problems = dead_lines(site, found)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


async def _reload(site: Site) -> int:
    said = await ask(site.outbox.path, {"cmd": "reload"})
    if "done" not in said:
        raise ConfigError(said.get("problems") or str(said.get("error")))
    print(f"reloaded: {said['done']}")
    return 0


def _write(site: Site, arguments: argparse.Namespace) -> int:
    from gateway.write import prepared, told, write_now

    _, write = prepared(site, arguments.tag, arguments.value)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is there to ask; give --yes to write without a question")
        said = input(f"write {arguments.value} {write.point.tag.unit} to {arguments.tag} of {site.node}? [y/N] ")
        if said.strip().lower() not in ("y", "yes"):
            print("nothing was written")
            return 1
    entry = asyncio.run(write_now(site, arguments.tag, arguments.value))
    print(json.dumps(entry, ensure_ascii=False) if arguments.json else told(entry))
    return 0 if entry["result"] == "done" else 1


async def _status(site: Site, as_json: bool) -> int:
    try:
        with sole_owner(site.outbox.path):
            from gateway.outbox.inspect import stored_status

            status = stored_status(site)
    except Busy:
        status = await ask(site.outbox.path, {"cmd": "status"})
    print(json.dumps(status) if as_json else _status_text(status))
    return 0


def _status_text(status: dict[str, Any]) -> str:
    uplink, outbox = status["uplink"], status["outbox"]
    lines = [
        f"{status['group']}/{status['gateway']}: {uplink['state']}"
        + (f", pid {status['pid']}" if status["pid"] else ""),
        *([f"site.yaml is not used as it is: {why}"] if (why := status.get("config", {}).get("error")) else []),
        f"outbox: {outbox['pending_batches']} batches wait, {outbox['bytes'] / 1e6:.1f} MB kept"
        + (f"; {outbox['trouble']}" if outbox.get("trouble") else ""),
        f"{'device':<24}" + "".join(f"{name:>12}" for name in _SHOWN),
    ]
    for device, counters in status["devices"].items():
        lines.append(f"{device:<24}" + "".join(f"{counters[name]:>12}" for name in _SHOWN))
    for name, line in status["lines"].items():
        lines.append(f"line {name}: {line['state']}" + (f"; {line['last_error']}" if line.get("last_error") else ""))
        for device, unit in line.get("units", {}).items():
            if unit.get("illegal"):
                lines.append(f"device {device}: found illegal: {', '.join(unit['illegal'])}")
    for asset, scoring in status["scoring"].items():
        lines.append(f"scoring {asset}: {scoring['state']}" + (f"; {scoring['problem']}" if scoring["problem"] else ""))
    lines += clock_lines(status["clock"])
    if status["gaps"]:
        lines.append(f"gaps on record: {len(status['gaps'])} (see --json)")
    return "\n".join(lines)


_SHOWN = ("produced", "confirmed", "in_flight", "suppressed", "refused", "dropped", "parked")
