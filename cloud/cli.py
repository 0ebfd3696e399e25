"""`gaugeline cloud`: run the host, ask a running one."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloud import ask, broker_command, disk_command, logs, look_command
from cloud.analytics import command as query_command
from cloud.archive import command as archive_command
from cloud.backup import command as backup_command
from cloud.config import KEYS, load_config
from cloud.doctor import command as doctor_command
from cloud.retention import command as retention_command
from cloud.rollups import command as rollup_command
from cloud.state import command as state_command
from cloud.times import WrongCall, shielded
from wire.errors import ConfigError

ABOUT = """\
The host: collects, stores, confirms, shows. What looks at samples asks the running host, at --url.
"""
GROUPS = {
    "Begin": ("run", "doctor", "broker-config"),
    "Look at what is measured": ("sites", "nodes", "tags", "values", "series", "export"),
    "What became of every sample": ("audit", "ledger", "dead-letters"),
    "What is kept, and how long": ("archive", "query", "retention", "rollup", "disk"),
    "Move and rescue": ("backup", "restore", "state"),
}
RUN_ABOUT = """\
Collects what gateways publish, stores it, confirms it to them, and shows it.

  gaugeline cloud run
      broker on this machine, samples in ./gaugeline.duckdb, page at http://127.0.0.1:8080
  gaugeline cloud run --broker mqtt://192.168.1.10 --store influxdb+v1://127.0.0.1:8086/gaugeline
      samples in InfluxDB 1.x; the database is made when it is missing
  gaugeline cloud run --store 'influxdb://127.0.0.1:8086/?org=plant&bucket=gaugeline&token_file=token'
      samples in InfluxDB 2.x, 3.x or Cloud; influxdb+v1+https:// and influxdb+https:// for TLS
  gaugeline cloud run --config cloud.yaml
      the same settings in a file: broker, store, state, http, host_id, tariff, groups,
      standby ({name: ..., lease_s: 5}), reorder_s (2: how long a message waits for one before it), forget_after_days,
      archive: {path: FOLDER, after_days: 1} (Parquet, see `gaugeline cloud archive --help`),
      retention: {hot_days: 400, classes: [...]} (see `gaugeline cloud retention --help`);
      broker, store and state may be
      {url: ..., username: ..., password_file: ...}, a broker at mqtts:// also with ca_file, certificate_file, key_file,
      a store at InfluxDB also with token_file, ca_file, retention_days
  gaugeline cloud run --config cloud.yaml --state postgresql://gaugeline@db/gaugeline --standby host-a
      one of two hosts with one host id: the state's lease says which one is active, the other one waits
      (docs/standby.md); needs PostgreSQL and InfluxDB

While the broker or the database is down the host keeps trying and says so; gateways keep what is not confirmed.
"""


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="gaugeline cloud", description=ABOUT, formatter_class=raw)
    told = "`gaugeline cloud COMMAND --help` tells all of it"
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help=told)
    helps: dict[str, str] = {}

    def command(name: str, *, help: str, **more: Any) -> argparse.ArgumentParser:  # as argparse has it
        """As add_parser, but for the list, which argparse gives in one piece."""
        helps[name] = help
        made: argparse.ArgumentParser = commands.add_parser(name, **more)
        return made

    run = command("run", help="collect, store, confirm, show", description=RUN_ABOUT, formatter_class=raw)
    run.add_argument("--config", metavar="FILE", type=Path, help="settings in YAML; options overrule them")
    run.add_argument("--broker", metavar="URL", help="mqtt[s]://[user:password@]HOST[:PORT] (mqtt://127.0.0.1:1883)")
    run.add_argument(
        "--store",
        metavar="STORE",
        help="duckdb:FILE, influxdb+v1://HOST:PORT/DATABASE or influxdb://HOST:PORT/?org=…&bucket=…&token_file=FILE"
        " (duckdb:gaugeline.duckdb)",
    )
    run.add_argument(
        "--state",
        metavar="STATE",
        help="dead letters, births, counters: a file, or postgresql://USER@HOST/DATABASE (gaugeline-state.db)",
    )
    run.add_argument("--http", metavar="ADDRESS:PORT", help="where page and API listen (127.0.0.1:8080)")
    run.add_argument("--host-id", metavar="ID", help="as gateways name their primary host (gaugeline)")
    run.add_argument("--tariff", metavar="FILE", help="prices of energy (an example tariff)")
    run.add_argument("--verbose", action="store_true", help="log every occurrence, not just changes")
    run.add_argument(
        "--forget-after-days", metavar="N", help="forget edge nodes that were silent so long and are balanced (365)"
    )
    run.add_argument("--groups", metavar="A,B", help="collect only these sites (all)")
    run.add_argument("--standby", metavar="NAME", help="this host's name among several of which one is active")
    run.add_argument(
        "--archive", metavar="FOLDER", help="keep whole days as Parquet here, or at s3://BUCKET/PREFIX (none)"
    )
    keeping = (archive_command, retention_command, query_command, backup_command, disk_command, rollup_command)
    for part in (ask, look_command, *keeping, state_command, doctor_command):
        part.add(command)
    broker_command.add(command)
    parser.epilog = "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:<15}{helps[name]}" for name in names)]) for title, names in GROUPS.items()
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """0 is success, 1 a problem that was told, 2 a wrong call."""
    arguments = _parser().parse_args(shielded(argv))
    try:
        if arguments.command == "broker-config":
            print(broker_command.answer(arguments))
            return 0
        if arguments.command == "run":
            return _run(arguments)
        answer: ask.Answer = arguments.ask(arguments)
        if answer.text:
            print(answer.text)
        return answer.code
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2 if isinstance(fault, WrongCall) else 1


def _run(arguments: argparse.Namespace) -> int:
    from cloud import app  # brings web server and databases along: the other commands need neither

    given = {key: getattr(arguments, key, None) for key in KEYS}  # not every key has an option
    options = {key: value for key, value in given.items() if value is not None}
    config = load_config(arguments.config, options)
    logs.start(arguments.verbose)
    asyncio.run(app.run(config))
    return 0
