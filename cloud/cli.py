"""`gaugeline cloud`: run the host, ask a running one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from cloud import app, logs
from cloud.config import KEYS, load_config
from wire.errors import ConfigError

RUN_ABOUT = """\
Collects what gateways publish, stores it, confirms it to them, and shows it.

  gaugeline cloud run
      broker on this machine, samples in ./gaugeline.duckdb, page at http://127.0.0.1:8080
  gaugeline cloud run --broker mqtt://192.168.1.10 --store influxdb+v1://127.0.0.1:8086/gaugeline
      samples in InfluxDB 1.x; the database is made when it is missing
  gaugeline cloud run --config cloud.yaml
      the same settings in a file: broker, store, state, http, host_id, tariff; broker and store may be
      {url: ..., username: ..., password_file: ...}; also reorder_s (2): how long a message waits for one before it

While the broker or the database is down the host keeps trying and says so; gateways keep what is not confirmed.
"""
AUDIT_ABOUT = """\
Asks the running host what became of every sample: produced = stored + dead letters + dropped + in flight + collided,
per gateway and device. Exit code 1 when that does not hold, or when the host does not answer.
"""
_FIGURES = ("produced", "stored", "in_flight", "dead_letters", "dropped", "collided", "lost", "suppressed", "refused")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gaugeline cloud", description="The host: collects, stores, confirms, shows.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter
    run = commands.add_parser("run", help="collect, store, confirm, show", description=RUN_ABOUT, formatter_class=raw)
    run.add_argument("--config", metavar="FILE", type=Path, help="settings in YAML; options overrule them")
    run.add_argument("--broker", metavar="URL", help="mqtt://[user:password@]HOST[:PORT] (mqtt://127.0.0.1:1883)")
    run.add_argument(
        "--store", metavar="STORE", help="duckdb:FILE or influxdb+v1://HOST:PORT/DATABASE (duckdb:gaugeline.duckdb)"
    )
    run.add_argument("--state", metavar="FILE", help="dead letters, births, counters (gaugeline-state.db)")
    run.add_argument("--http", metavar="ADDRESS:PORT", help="where page and API listen (127.0.0.1:8080)")
    run.add_argument("--host-id", metavar="ID", help="as gateways name their primary host (gaugeline)")
    run.add_argument("--tariff", metavar="FILE", help="prices of energy (an example tariff)")
    run.add_argument("--verbose", action="store_true", help="log every occurrence, not just changes")
    audit = commands.add_parser(
        "audit", help="what became of every sample", description=AUDIT_ABOUT, formatter_class=raw
    )
    audit.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    audit.add_argument("--json", action="store_true", help="as JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    """0 is success, 1 a problem that was told, 2 a wrong call."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments) if arguments.command == "run" else _audit(arguments.url, arguments.json)
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    given = {key: getattr(arguments, key, None) for key in KEYS}  # not every key has an option
    options = {key: value for key, value in given.items() if value is not None}
    config = load_config(arguments.config, options)
    logs.start(arguments.verbose)
    asyncio.run(app.run(config))
    return 0


def _audit(url: str, as_json: bool) -> int:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/balance", timeout=60, trust_env=False)
        balance = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise ConfigError(f"no host answers at {url} ({fault}); is `gaugeline cloud run` running? See --url") from fault
    except ValueError as fault:
        raise ConfigError(f"{url} is not a Gaugeline host") from fault
    if answer.is_error:
        raise ConfigError(str(balance.get("detail", balance)))
    print(json.dumps(balance, indent=2) if as_json else _table(balance))
    return 0 if balance["ok"] else 1


def _table(balance: Mapping[str, Any]) -> str:
    rows = [("all", balance), *balance["gateways"].items(), *balance["devices"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{name.replace('_', ' '):>14}" for name in _FIGURES)]
    lines += [f"{name:<{width}}" + "".join(f"{row[figure]:>14,}" for figure in _FIGURES) for name, row in rows]
    verdict = "The balance holds: nothing is lost." if balance["ok"] else "THE BALANCE DOES NOT HOLD: see column lost."
    known = f"duplicates {balance['duplicates']:,}, gaps {balance['gaps']:,}, third-party rows {balance['strangers']:,}"
    return "\n".join([*lines, "", f"{verdict} ({known})"])
