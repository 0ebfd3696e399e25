"""A backup back into place, while no host runs: checked first, then copied, then renamed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from cloud.backup.make import FORMAT, MANIFEST, STATE, STORE
from cloud.config import Config, DuckDbFile
from cloud.state.place import PostgresDb
from wire.errors import ConfigError


def restore(folder: Path, config: Config, force: bool) -> list[str]:
    """Files that were put in place. Raises ConfigError: damaged backup, files in the way, a running host."""
    manifest = checked(folder)
    pairs = list(_pairs(folder, config, manifest))
    in_use = [problem for _, target in pairs if (problem := _held(target))]
    if in_use:
        raise ConfigError(in_use)
    there = [str(target) for _, target in pairs if target.exists()]
    if there and not force:
        raise ConfigError(
            f"{', '.join(there)}: there already; move it away, or restore with --force, which replaces it"
        )
    waiting = []
    for source, target in pairs:
        new = target.with_name(f".{target.name}.restored")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, new)
        except OSError as fault:
            with suppress(OSError):
                new.unlink()
            raise ConfigError(f"{target}: {fault.strerror or fault}; nothing was replaced") from fault
        waiting.append((new, target))
    for new, target in waiting:
        for log in (f"{target}-wal", f"{target}-shm", f"{target}.wal"):  # of the database that is replaced
            Path(log).unlink(missing_ok=True)
        new.replace(target)
    return [str(target) for _, target in pairs]


def checked(folder: Path) -> dict[str, Any]:
    """The manifest of a sound backup. Raises ConfigError with everything that is wrong."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (int(f["bytes"]), str(f["sha256"])) for name, f in manifest["files"].items()}
        form = manifest["format"]
    except FileNotFoundError as fault:
        raise ConfigError(f"{folder} is no backup: it has no {MANIFEST}") from fault
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"{folder}/{MANIFEST} cannot be read ({fault}): take another backup") from fault
    if form != FORMAT:
        raise ConfigError(f"{folder} has format {form}, this Gaugeline reads {FORMAT}: use the one that made it")
    problems = [why for name, (size, digest) in files.items() if (why := _wrong(folder / name, size, digest))]
    if problems:
        raise ConfigError([f"{folder}: {why}: take another backup" for why in problems])
    return manifest


def _wrong(path: Path, size: int, digest: str) -> str:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        return f"{path.name} cannot be read ({fault.strerror})"
    if path.stat().st_size != size:
        return f"{path.name} has {path.stat().st_size:,} bytes instead of {size:,}"
    return "" if found == digest else f"{path.name} was changed (its SHA-256 is another)"


def _pairs(folder: Path, config: Config, manifest: dict[str, Any]) -> Iterator[tuple[Path, Path]]:
    if isinstance(config.state, PostgresDb):
        raise ConfigError(
            f"the backup holds a state file, and {config.state} is none: give --state FILE; what pg_dump made is"
            " brought back with pg_restore"
        )
    yield folder / STATE, config.state
    if STORE in manifest["files"]:
        if not isinstance(config.store, DuckDbFile):
            raise ConfigError(
                "the backup holds a DuckDB file: give the host's settings with --config, or --store duckdb:FILE"
            )
        yield folder / STORE, config.store.path
    elif isinstance(config.store, DuckDbFile):
        raise ConfigError(
            "the backup is of a host with InfluxDB: give its settings with --config, and restore InfluxDB with"
            " `influxd restore -portable`"
        )


def _held(path: Path) -> str:
    """Why the file cannot be replaced now; only a running host holds a DuckDB file."""
    if not path.exists() or path.suffix == ".db":
        return ""
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.IOException as fault:
        if "lock" in str(fault):
            return f"{path} is in use: stop the running host first"
    except duckdb.Error:
        return ""  # damaged: that is why somebody restores
    return ""
