"""`gaugeline sim`: runs simulated devices, exports their values, lists what there is."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from firmware_sim.check import report
from firmware_sim.devices import build
from firmware_sim.errors import ScenarioError
from firmware_sim.scenario import Scenario, load, packaged
from firmware_sim.simulation import Simulation
from firmware_sim.status_line import show
from firmware_sim.truth import Truth

_RUN = """\
Runs the devices of a scenario until SIGINT or SIGTERM, or for as long as --for says. On a terminal, stderr shows
what happens.

One JSON line goes to stdout once all listen:
  {"event":"ready","devices":[{"id":"machine-plc","kind":"modbus-tcp","host":"127.0.0.1","port":40123},...]}
Serial lines are pseudo-terminals; their "port" is a path that any serial program can open.
"""
_RUN_EPILOG = """\
examples:
  gaugeline sim run demo --truth truth.jsonl
  gaugeline sim run demo --set lines.plc-tcp.port=5020 --set lines.meter-rtu.port=/tmp/meter
  gaugeline sim run demo --seed 7 --set devices.machine-plc.row_s=1

  gaugeline sim run plant.yaml --speed 60 --for 3600 --truth truth.jsonl

keys of a scenario and all kinds of faults: docs/simulator.md
  faults:
    - {device: meter-rtu-7, kind: silent, at_s: 20, for_s: 5}
    - {device: machine-plc, kind: late, rate_per_h: 30, for_s: 2, delay_s: 1.5}
"""
_EXPORT_EXAMPLES = """\
examples:
  gaugeline sim export demo --device machine-plc --rows 1500 --from "2014-01-06 20:00" --out normal.csv
  gaugeline sim export demo --device meter-rtu-7 --rows 60
"""


def main(argv: list[str]) -> int:
    """Runs one sub-command; 0 is success, 1 a problem that was told, 2 a wrong call."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
    except ScenarioError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gaugeline sim", description="Devices to test against.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter

    run = commands.add_parser(
        "run",
        help="run the devices of a scenario",
        description=_RUN,
        epilog=_RUN_EPILOG,
        formatter_class=raw,
    )
    _add_scenario(run)
    run.add_argument(
        "--truth", type=Path, metavar="FILE", help="append every answer served and every fault to FILE (JSON lines)"
    )
    run.add_argument("--speed", type=float, metavar="N", help="simulated seconds in one real one (default: 1)")
    run.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="end by itself after so long")
    run.set_defaults(command=_run)

    check = commands.add_parser(
        "check",
        help="check a scenario without running it",
        description="Reads a scenario and its recordings, tells every problem with its line, and what would run.",
    )
    _add_scenario(check)
    check.set_defaults(command=_check)

    export = commands.add_parser(
        "export",
        help="write a device's values as CSV",
        description="Writes the values that a device serves, step by step, as CSV: t_s and every signal.",
        epilog=_EXPORT_EXAMPLES,
        formatter_class=raw,
    )
    _add_scenario(export)
    export.add_argument("--device", required=True, metavar="ID", help="which device of the scenario")
    export.add_argument("--rows", required=True, type=int, metavar="N", help="how many steps")
    export.add_argument(
        "--from", dest="start", metavar="TIME", help='recorded time to begin at, for example "2014-01-06 20:00"'
    )
    export.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: stdout)")
    export.set_defaults(command=_export)

    listing = commands.add_parser(
        "list",
        help="list packaged scenarios, or the signals of one",
        description="Without SCENARIO: the packaged scenarios. With one: its devices and every signal's register.",
    )
    listing.add_argument("scenario", nargs="?", metavar="SCENARIO", help="a YAML file or a packaged name")
    listing.set_defaults(command=_list)
    return parser


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO", help="a YAML file, or a packaged name such as demo")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the scenario's seed")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the scenario, for example lines.plc-tcp.port=5020; may be repeated",
    )


def _scenario(arguments: argparse.Namespace, more: Sequence[str] = ()) -> Scenario:
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return load(arguments.scenario, [*arguments.changes, *seed, *more])


def _run(arguments: argparse.Namespace) -> int:
    if arguments.for_s is not None and not arguments.for_s > 0:
        raise ScenarioError(f"--for: must be more than 0 seconds (got {arguments.for_s:g})")
    speed = [] if arguments.speed is None else [f"speed={arguments.speed}"]
    simulation = Simulation(_scenario(arguments, speed), Truth(arguments.truth))
    asyncio.run(_until_told(simulation, arguments.for_s))
    return 0


async def _until_told(simulation: Simulation, for_s: float | None) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(devices: list[dict[str, object]]) -> None:
        print(json.dumps({"event": "ready", "devices": devices}), flush=True)
        if for_s is not None:
            loop.call_later(for_s, stop.set)

    shown = asyncio.create_task(show(simulation, sys.stderr), name="status") if sys.stderr.isatty() else None
    try:
        await simulation.run(ready, stop)
    finally:
        if shown is not None:
            shown.cancel()
            await asyncio.wait([shown])


def _check(arguments: argparse.Namespace) -> int:
    for line in report(_scenario(arguments)):
        print(line)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    if arguments.rows < 1:
        raise ScenarioError(f"--rows: must be at least 1 (got {arguments.rows})")
    scenario = _scenario(arguments)
    settings = scenario.device(arguments.device)
    if arguments.start is not None:
        if not hasattr(settings, "start"):
            raise ScenarioError(f"--from: {settings.id} replays no recording")
        settings = settings.model_copy(update={"start": _time(arguments.start)})
    device = build(settings, scenario.seed)
    if device.steps is not None and arguments.rows > device.steps:
        raise ScenarioError(f"--rows: the recording has only {device.steps} rows from there on")
    names = [each.name for each in device.signals]
    rows = [["t_s", *names]]
    for step in range(arguments.rows):
        values = device.at(step)
        served = [each.as_served(values[each.name]) for each in device.signals]
        rows.append([f"{step * device.step_s:.3f}", *(str(int(v) if isinstance(v, bool) else v) for v in served)])
    _write(rows, arguments.out)
    return 0


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as fault:
        raise ScenarioError(f"--from: {text!r} is not a time such as 2014-01-06 20:00") from fault


def _write(rows: Iterable[Sequence[str]], out: Path | None) -> None:
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as fault:
        raise ScenarioError(f"--out: cannot write {out}: {fault.strerror}") from fault


def _list(arguments: argparse.Namespace) -> int:
    if arguments.scenario is None:
        for name in packaged():
            print(f"{name:<16} {load(name).about}")
        return 0
    scenario = load(arguments.scenario)
    for settings in scenario.devices:
        print(f"{settings.id}  ({settings.model}, line {settings.line}, unit id {settings.unit_id})")
        for each in build(settings, scenario.seed).signals:
            order = each.order if len(each.addresses) > 1 else ""
            register = "frame" if each.table is None else f"{each.table} {each.address} {each.raw_type} {order}"
            scale = "" if each.scale == 1.0 else f"x {each.scale:g}"
            print(f"  {each.name:<16} {register:<28} {scale:<8} {each.unit:<10} {each.origin}")
    return 0
