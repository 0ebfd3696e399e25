"""`gaugeline cloud state info | move`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.ask import Answer, table
from cloud.config import load_config
from cloud.state.place import PostgresDb, StateChoice, parse_state
from wire.errors import ConfigError, StoreDown

ABOUT = """\
The host's state: dead letters, births, counters, records, and with InfluxDB the ledger.

  gaugeline cloud state info --config cloud.yaml       schema version, rows of each table, size
  gaugeline cloud state move --config cloud.yaml --to postgresql://gaugeline@db.plant/gaugeline
      everything into an empty PostgreSQL database, while no host runs; checked before it counts
  gaugeline cloud state move --state postgresql://gaugeline@db.plant/gaugeline --to state.db
      and back

move leaves where it came from as it is, and says what to change in cloud.yaml. A password of the target comes from
--password-file (or from ~/.pgpass). The samples stay where they are. Exit code 0: done; 1: nothing was moved, and why.
"""
_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = command("state", help="look at the state, move it", description=ABOUT, formatter_class=raw)
    parser.add_argument("what", choices=("info", "move"))
    parser.add_argument("--config", metavar="FILE", type=Path, help="the host's cloud.yaml, which says where it is")
    parser.add_argument(
        "--state", metavar="STATE", help="where it is, as of `gaugeline cloud run` (gaugeline-state.db)"
    )
    parser.add_argument("--to", metavar="STATE", help="where it is to be: postgresql://USER@HOST/DATABASE, or a file")
    parser.add_argument("--password-file", metavar="FILE", type=Path, help="of the user in --to")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(ask=_state)


def _state(arguments: argparse.Namespace) -> Answer:
    where = load_config(arguments.config, {"state": arguments.state} if arguments.state else {}).state
    try:
        return _info(where, arguments) if arguments.what == "info" else _move(where, arguments)
    except StoreDown as fault:
        raise ConfigError(str(fault)) from fault


def _info(where: StateChoice, arguments: argparse.Namespace) -> Answer:
    from cloud.state.move import info

    found = info(where)
    if arguments.json:
        return Answer(json.dumps(found._asdict(), indent=2))
    rows = [[name, n] for name, n in found.tables.items()]
    older = (
        "" if found.schema == found.newest else f" (this program has {found.newest}; a host's start brings it there)"
    )
    place = f"{found.place}: schema {found.schema or 'none'}{older}, {found.bytes:,} bytes"
    return Answer(f"{table([['table', 'rows'], *rows])}\n\n{place}")


def _move(where: StateChoice, arguments: argparse.Namespace) -> Answer:
    from dataclasses import replace

    from cloud.state.move import move

    if not arguments.to:
        raise ConfigError("say where it is to be: --to postgresql://USER@HOST/DATABASE, or a file")
    target = parse_state(arguments.to, Path())
    if arguments.password_file is not None:
        if not isinstance(target, PostgresDb):
            raise ConfigError("--password-file: a state file has no password")
        try:
            target = replace(target, password=arguments.password_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"--password-file: {fault}") from fault
    with _bar(arguments.json) as progress:
        moved = move(where, target, progress)
    line = f"state: {target}"
    if isinstance(target, PostgresDb) and arguments.password_file is not None:
        line = f"state: {{url: {target}, password_file: {arguments.password_file}}}"
    if arguments.json:
        told = {"from": str(where), "to": str(target), "tables": [m._asdict() for m in moved], "config": line}
        return Answer(json.dumps(told, indent=2))
    rows = [[m.table, m.rows, m.sha256[:12]] for m in moved]
    total = sum(m.rows for m in moved)
    return Answer(
        f"{table([['table', 'rows', 'checksum'], *rows])}\n\n"
        f"{total:,} rows are moved and read back: {where} -> {target}\n"
        f"Now write into cloud.yaml:\n  {line}\n"
        f"and start the host. {where} is left as it was, and is not used any more: do not start a host on it again."
    )


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """On stderr, for people who watch."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        yield show
