"""`gaugeline cloud backup DIR | restore DIR | export`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from cloud.ask import Answer, call, clock
from cloud.config import load_config
from cloud.times import HELP, moment_ms, unshielded
from wire.errors import ConfigError

BACKUP_ABOUT = """\
Asks the running host for a copy of what it keeps: its state (births, counters, dead letters, marks) and, with DuckDB,
its samples and ledger, as they are at one moment. The host goes on collecting. DIR must be new or empty, on the host's
machine.

  gaugeline cloud backup /srv/backup/2026-05-01

With InfluxDB the samples are InfluxDB's to back up (`influxd backup -portable -database DB DIR`): the answer says so.
A state in PostgreSQL is PostgreSQL's (`pg_dump`): this command makes no backup then, and the answer says what to do.
"""
RESTORE_ABOUT = """\
Puts a backup back in place, while no host runs: checked against its manifest first, and nothing is replaced when any of
it is damaged. Files that are there already are only replaced with --force.

  gaugeline cloud restore /srv/backup/2026-05-01                      into ./gaugeline.duckdb, ./gaugeline-state.db
  gaugeline cloud restore /srv/backup/2026-05-01 --config cloud.yaml  where cloud.yaml says
  gaugeline cloud restore /srv/backup/2026-05-01 --check              only look whether it is sound

Then start the host and ask the gateways for what came since: `gaugeline cloud audit --refill FROM now`, with the time
of the backup as FROM. What gateways no longer keep may be in the archive: `gaugeline cloud archive restore`.
"""
EXPORT_ABOUT = f"""\
Whole rows out of the store of the running host, exactly as they are stored, sorted by gateway, device, tag and time.

  gaugeline cloud export --site plant-1 --from -1d --out yesterday.csv
  gaugeline cloud export --site plant-1 --gateway gw-1 --device pump-1 --tag flow --from 2026-05-01 --to 2026-06-01 \\
      --format parquet --out flow.parquet

Formats: csv, parquet, arrow (an Arrow stream). Without --out it goes to the standard output.
Times are {HELP}.
"""
_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    backup = command("backup", help="a copy of state and store", description=BACKUP_ABOUT, formatter_class=raw)
    backup.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    backup.set_defaults(ask=_backup)
    back = command("restore", help="put a backup back in place", description=RESTORE_ABOUT, formatter_class=raw)
    back.add_argument("folder", metavar="DIR", type=Path, help="a folder that `gaugeline cloud backup` made")
    back.add_argument(
        "--config", metavar="FILE", type=Path, help="the host's cloud.yaml, which says where its files are"
    )
    back.add_argument("--store", metavar="STORE", help="as of `gaugeline cloud run` (duckdb:gaugeline.duckdb)")
    back.add_argument("--state", metavar="FILE", help="as of `gaugeline cloud run` (gaugeline-state.db)")
    back.add_argument("--force", action="store_true", help="replace files that are there")
    back.add_argument("--check", action="store_true", help="only check the backup against its manifest")
    back.set_defaults(ask=_restore)
    export = command("export", help="samples as CSV, Parquet or Arrow", description=EXPORT_ABOUT, formatter_class=raw)
    export.add_argument("--site", metavar="S", required=True, help="the site (group)")
    export.add_argument("--gateway", metavar="G", help="only this gateway of the site")
    export.add_argument("--device", metavar="D", help="only this device")
    export.add_argument("--tag", metavar="T", help="only this tag")
    export.add_argument("--from", dest="from_time", metavar="T", default="\0-1d", help="from this time on (-1d)")
    export.add_argument("--to", dest="to_time", metavar="T", default="now", help="before this time (now)")
    export.add_argument("--format", choices=("csv", "parquet", "arrow"), default="csv")
    export.add_argument("--out", metavar="FILE", type=Path, help="into this file")
    export.set_defaults(ask=_export)
    for parser in (backup, export):
        parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    for parser in (backup, back):
        parser.add_argument("--json", action="store_true", help="as JSON")


def _backup(arguments: argparse.Namespace) -> Answer:
    folder = arguments.folder.absolute()
    made: dict[str, Any] = call(arguments.url, "/api/backup", body={"folder": str(folder)}, timeout_s=3600)
    if arguments.json:
        return Answer(json.dumps(made, indent=2))
    size = sum(f["bytes"] for f in made["files"].values())
    lines = [f"{folder}: {', '.join(made['files'])}, {size:,} bytes, as of {made['made']}"]
    return Answer("\n".join([*lines, *(f"not in it: {text}" for text in made["also"])]))


def _restore(arguments: argparse.Namespace) -> Answer:
    from cloud.backup.restore import checked, restore  # with databases, which no other command waits for

    manifest = checked(arguments.folder)
    since = clock(manifest["made_ms"])
    if arguments.check:
        return Answer(json.dumps(manifest, indent=2) if arguments.json else f"{arguments.folder} is sound, of {since}")
    options = {key: getattr(arguments, key) for key in ("store", "state") if getattr(arguments, key)}
    files = restore(arguments.folder, load_config(arguments.config, options), arguments.force)
    refill = f"gaugeline cloud audit --refill {since} now"
    if arguments.json:
        return Answer(json.dumps({"restored": files, "made": manifest["made"], "next": refill}, indent=2))
    return Answer(
        f"restored: {', '.join(files)}\nStart the host, then ask the gateways for what came since: `{refill}`"
    )


def _export(arguments: argparse.Namespace) -> Answer:
    now_ms = time.time_ns() // 1_000_000
    from_ms, to_ms = (moment_ms(unshielded(t), now_ms) for t in (arguments.from_time, arguments.to_time))
    asked = {"group": arguments.site, "node": arguments.gateway, "device": arguments.device, "tag": arguments.tag,
             "from_ms": from_ms, "to_ms": to_ms, "format": arguments.format}  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    target = arguments.out
    part = None if target is None else target.with_name(f".{target.name}.part")
    try:
        with httpx.stream(
            "GET", f"{arguments.url.rstrip('/')}/api/export", params=asked, timeout=60, trust_env=False
        ) as got:
            if got.is_error:
                got.read()
                raise ConfigError(str(got.json().get("detail", got.text)))
            size = _received(got, part)
        if part is not None:
            part.replace(target)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise ConfigError(f"the host at {arguments.url} did not give all of it ({fault}); see --url") from fault
    except OSError as fault:
        raise ConfigError(f"{target}: {fault.strerror or fault}") from fault
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return Answer(f"{target}: {size:,} bytes" if target is not None else "")


def _received(answer: httpx.Response, target: Path | None) -> int:
    size = 0
    with open(1, "wb", closefd=False) if target is None else target.open("wb") as out:
        for piece in answer.iter_bytes():
            out.write(piece)
            size += len(piece)
    return size
