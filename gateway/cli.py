"""`gaugeline gateway run|check|plan|read|status|outbox|reload|write|model`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import sys
from pathlib import Path

from agent.load import LineLoad
from gateway.config import Site, load_site
from gateway.config.apart import load_apart
from gateway.logs import FORMATS, log_to_stderr
from gateway.model_cli import add_parser as add_model_parser
from gateway.model_cli import model
from gateway.outbox.cli import add_parser as add_outbox_parser
from gateway.outbox.cli import outbox
from gateway.plan import check_fits, loads, warnings
from gateway.plan_view import plan_json, plan_text
from gateway.status import ask
from gateway.status_view import EXIT_CODES, NOT_RUNNING, exit_code, status_of, status_text
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
      gaugeline gateway status site.yaml   how it is, and what became of every sample; --watch to look on
      gaugeline gateway outbox site.yaml   what waits for the host, batch by batch, sample by sample
      gaugeline gateway reload site.yaml   after a change of the file; it also notices by itself
      gaugeline gateway write site.yaml pump-1/setpoint 12.5   where site.yaml allows it
      gaugeline gateway model suspend site.yaml press-1 --for 2h   its asset is in maintenance; also resume, accept
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
    run.add_argument("--log-format", choices=FORMATS, default="text", help="json: one object a line, for machines")
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
        "Tells for every line what is asked for together, the bytes of request and answer (5+10), what each request "
        "costs on the wire, how much of the line's time is taken, and the reserve for one silent device; or that its "
        "devices speak by themselves. Nothing is sent. Ends with 1 when a line cannot keep its plan.",
    )
    plan.add_argument("--json", action="store_true", help="one JSON object a line")
    status = add(
        "status",
        "how the gateway is, and what became of every sample",
        "Asks the running gateway; when none runs, reads the counters from the outbox itself. "
        f"Exit codes: {EXIT_CODES}.",
    )
    status.add_argument("--json", action="store_true", help="everything, as one JSON object")
    status.add_argument(
        "--watch", nargs="?", const=2.0, type=_seconds, metavar="SECONDS",
        help="again and again until Ctrl-C, every 2 s or so many; with --json a line each",
    )  # fmt: skip
    add_outbox_parser(commands)
    add_model_parser(commands)
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
    write.add_argument(
        "value", metavar="VALUE", help="in its unit; on or off for a coil or a bit; the name of a state; a text"
    )
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
    """0: done. 1: a problem, told as `error: ...`. 2: a wrong call. 3: `status`, and no gateway runs."""
    arguments = parser().parse_args(argv)
    level = logging.DEBUG if getattr(arguments, "verbose", False) else logging.INFO
    log_to_stderr(level, getattr(arguments, "log_format", "text"))
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
        if arguments.command == "model":
            print(asyncio.run(model(site, arguments)))
            return 0
        if arguments.command == "write":
            return _write(site, arguments)
        if arguments.command == "outbox":
            return asyncio.run(outbox(site, arguments))
        return asyncio.run(_status(site, arguments.json, arguments.watch))
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
    except GaugelineError as fault:
        print(f"error: {fault}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _plan(site: Site, found: list[LineLoad], as_json: bool) -> None:
    width = shutil.get_terminal_size((100, 24)).columns
    for i, (line, load) in enumerate(zip(site.lines, found, strict=True)):
        if as_json:
            print(json.dumps(plan_json(line, load)))
        else:
            print("\n" * bool(i) + "\n".join(plan_text(line, load, width)))
    for problem in warnings(site, found):
        print(f"warning: {problem}", file=sys.stderr)


def _check(site: Site, found: list[LineLoad]) -> int:
    from agent.score import Scorers
    from gateway.surroundings import surroundings
    from gateway.tls import outdated_files

    for problem in warnings(site, found):
        print(f"warning: {problem}", file=sys.stderr)
    tags = sum(len(device.tags) for device in site.devices)
    for problem in Scorers(site.assets, site.lines, surroundings(site)).problems():
        print(f"warning: not scored: {problem}", file=sys.stderr)
    for line in site.lines:
        if not line.by_socket and not Path(str(line.port)).exists():
            print(
                f"warning: line {line.name}: {line.port} does not exist now; it is tried until it does", file=sys.stderr
            )
    for text in (
        problem for broker in site.brokers if broker.tls is not None for problem in outdated_files(broker.tls)
    ):
        print(f"warning: {text}", file=sys.stderr)
    print(
        f"{site.path}: good. {site.node}: {len(site.lines)} lines, {len(site.devices)} devices, {tags} tags, "
        f"{len(site.assets)} assets; publishes to {' or '.join(str(b) for b in site.brokers)} for "
        f"{', '.join(site.hosts) or 'whoever listens'}; keeps in {site.outbox.path}"
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


async def _status(site: Site, as_json: bool, every_s: float | None) -> int:
    """Once, or every so many seconds until Ctrl-C; the exit code."""
    while True:
        try:
            status = await status_of(site)
        except ConfigError as fault:
            if every_s is None and site.outbox.path.exists():
                raise
            print(f"error: {fault}", file=sys.stderr)
            if every_s is None:
                return NOT_RUNNING  # and has never run
        else:
            text = json.dumps(status, ensure_ascii=False) if as_json else status_text(status)
            clear = "\x1b[H\x1b[2J" if every_s is not None and not as_json and sys.stdout.isatty() else ""
            print(clear + text, flush=True)
            if every_s is None:
                return exit_code(status)
        await asyncio.sleep(every_s)
