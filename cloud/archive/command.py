"""`gaugeline cloud archive run | verify | list | restore`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cloud.ask import Answer, call, clock, table
from cloud.config import load_config
from wire.errors import ConfigError, StoreDown

if TYPE_CHECKING:
    from cloud.archive.folder import Folder  # with Arrow, for which only those wait who read files

ABOUT = """\
The archive: whole UTC days of every site as Parquet files, each with a manifest. The host writes it by itself once it
knows where: `archive: {path: FOLDER, after_days: 1}` in cloud.yaml, or `gaugeline cloud run --archive FOLDER`.

  gaugeline cloud archive run                                  archive now what is due; asks the running host
  gaugeline cloud archive run --day 2026-05-01 --site plant-1  one day anew, for example when verify tells of damage
  gaugeline cloud archive list --site plant-1                  which days there are, with samples and bytes
  gaugeline cloud archive verify                               is every file as it was written? reads all of them
  gaugeline cloud archive verify --path /srv/archive --json    ... of a folder, without a host
  gaugeline cloud archive restore --site plant-1 --day 2026-05-01   a day's samples back into the store

list and verify look at --path (or the archive of --config), and ask the running host at --url where it is when neither
is given. In S3-compatible storage: --path 's3://BUCKET/PREFIX?endpoint_override=HOST:PORT&scheme=https&region=R', keys
from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. restore writes only what the store does not have; the host stores
nothing else meanwhile, and gateways keep what they have. After a backup was restored: first
`gaugeline cloud audit --refill FROM now`, then this. In the other order nothing is doubled either: it takes longer.

Exit code 0: done, or all is as it should be; 1: a problem, told with what to do.
"""
WHAT = ("run", "verify", "list", "restore")
LOOK_S, LOOK_AT_MOST_S = 0.02, 0.5

_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = command(
        "archive", help="whole days as Parquet: write, check, restore", description=ABOUT, formatter_class=raw
    )
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--site", metavar="S", help="only this site (group)")
    parser.add_argument("--day", metavar="D", help="only this UTC day: 2026-05-01")
    add_place(parser)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(ask=_archive)


def add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", metavar="FOLDER", help="where the archive is: a folder, or s3://BUCKET/PREFIX")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the host's cloud.yaml, which says where it is")


def place_of(arguments: argparse.Namespace) -> Folder:
    """The archive that a command means. Raises ConfigError."""
    from cloud.archive.folder import open_folder

    if arguments.path:
        return open_folder(arguments.path)
    if arguments.config:
        choice = load_config(arguments.config, {}).archive
        if choice is None:
            raise ConfigError(
                f"{arguments.config}: names no archive; write `archive: {{path: FOLDER}}`, or give --path"
            )
        return open_folder(choice.place)
    place = str(call(arguments.url, "/api/archive")["place"])
    if "://" in place:
        raise ConfigError(
            f"the archive is at {place}: give the host's cloud.yaml with --config, which says how to get there"
        )
    return open_folder(place)


def _archive(arguments: argparse.Namespace) -> Answer:
    if arguments.day is not None:
        try:
            date.fromisoformat(arguments.day)
        except ValueError as fault:
            raise ConfigError(f"--day {arguments.day!r}: {fault}; write it as 2026-05-01") from fault
    try:
        if arguments.what == "list":
            return _list(arguments)
        if arguments.what == "verify":
            return _verify(arguments)
    except StoreDown as fault:
        raise ConfigError(str(fault)) from fault
    return _job(arguments)


def _fits(arguments: argparse.Namespace, site: str, day: str) -> bool:
    return arguments.site in (None, site) and arguments.day in (None, day)


def _list(arguments: argparse.Namespace) -> Answer:
    from cloud.archive.folder import shown
    from cloud.archive.manifest import manifests

    folder = place_of(arguments)
    days = [m for m in manifests(folder) if _fits(arguments, m.site, m.day)]
    if arguments.json:
        found = [
            {"site": m.site, "day": m.day, "rows": m.rows, "bytes": m.bytes, "first_ms": m.first_ms,
             "last_ms": m.last_ms, "schema_version": m.schema_version, "files": [p.name for p in m.parts]}
            for m in days
        ]  # fmt: skip
        return Answer(json.dumps({"place": shown(folder.place), "days": found}, indent=2))
    if not days:
        return Answer(f"nothing is archived in {shown(folder.place)}")
    head = ["site", "day", "samples", "bytes", "per sample", "first", "last"]
    rows = [
        [m.site, m.day, f"{m.rows:,}", f"{m.bytes:,}", f"{m.bytes / m.rows:.2f}", clock(m.first_ms), clock(m.last_ms)]
        for m in days
    ]
    rows_all, bytes_all = sum(m.rows for m in days), sum(m.bytes for m in days)
    total = f"{len(days):,} days, {rows_all:,} samples, {bytes_all:,} bytes: {bytes_all / rows_all:.2f} bytes a sample"
    return Answer(f"{table([head, *rows], left=True)}\n\n{total}")


def _verify(arguments: argparse.Namespace) -> Answer:
    from cloud.archive.folder import shown
    from cloud.archive.manifest import folder_of, manifests
    from cloud.archive.verify import verify

    folder = place_of(arguments)
    names = {}
    if arguments.site is not None or arguments.day is not None:
        names = {folder_of(m.id): (m.site, m.day) for m in manifests(folder)}

    def wanted(where: str) -> bool:
        # A day whose manifest cannot be read has no site: it is looked at whatever is asked for.
        return where not in names or _fits(arguments, *names[where])

    with bar("verified", arguments.json) as shown_bar:
        found = verify(folder, wanted, shown_bar)
    if not (found.days or found.problems) and arguments.site is None and arguments.day is None:
        raise ConfigError(f"nothing is archived in {shown(folder.place)}: is that the archive's folder? see --path")
    code = 1 if found.problems else 0
    if arguments.json:
        facts = {"ok": not found.problems, "place": shown(folder.place), "days": found.days, "rows": found.rows}
        problems = [problem._asdict() for problem in found.problems]
        return Answer(json.dumps({**facts, "bytes": found.bytes, "problems": problems}, indent=2), code)
    lines = [f"{p.where}: {p.what}\n  {p.todo}" for p in found.problems]
    verdict = "Everything is as it was written" if not found.problems else f"{len(found.problems)} PROBLEMS"
    lines.append(
        f"{verdict}: {found.days:,} days, {found.rows:,} samples, {found.bytes:,} bytes in {shown(folder.place)}"
    )
    return Answer("\n".join(lines), code)


def _job(arguments: argparse.Namespace) -> Answer:
    body = {"site": arguments.site, "day": arguments.day}
    job: dict[str, Any] = call(arguments.url, f"/api/archive/{arguments.what}", body=body)
    with bar("archived" if arguments.what == "run" else "restored", arguments.json) as show:
        pause_s = LOOK_S
        while not job["done"]:
            time.sleep(pause_s)
            pause_s = min(LOOK_AT_MOST_S, 1.5 * pause_s)
            jobs = {j["number"]: j for j in call(arguments.url, "/api/archive")["jobs"]}
            if job["number"] not in jobs:
                raise ConfigError("the host was started anew meanwhile: ask again")
            job = jobs[job["number"]]
            show(job["finished"], job["total"])
    code = 1 if job["problems"] else 0
    if arguments.json:
        return Answer(json.dumps(job, indent=2), code)
    return Answer("\n".join([*_results(job), *(f"PROBLEM: {p}" for p in job["problems"])]), code)


def _results(job: dict[str, Any]) -> Iterator[str]:
    if not job["results"] and not job["problems"]:
        yield "nothing is due: everything up to yesterday is archived"
    for r in job["results"]:
        name = f"{r['site']} {r['day']}"
        if job["kind"] == "restore":
            refused = f", {r['refused']:,} refused by the database" if r["refused"] else ""
            yield f"{name}: {r['restored']:,} samples restored, {r['there']:,} were in the store{refused}"
        else:
            kept = f", {r['kept']:,} of them only in the archive" if r["kept"] else ""
            yield f"{name}: {r['rows']:,} samples, {r['bytes']:,} bytes{kept}{'' if r['changed'] else ' (as before)'}"


@contextmanager
def bar(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for people who watch; nothing for machines and files."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"days {what}", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
