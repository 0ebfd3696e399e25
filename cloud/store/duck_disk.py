"""What a DuckDB file takes on the disk, and how it is made smaller: written anew, sorted by day and tag."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from cloud.store.duck_file import DuckFile
from wire.errors import StoreDown

log = logging.getLogger(__name__)

SPARE = 1.2  # of the bytes in use must be free on the disk: DuckDB sorts beside the new file
WORTH_BYTES = 64_000_000
WORTH_SHARE = 0.5


class DiskUse(NamedTuple):
    """of_file: bytes of the file and its log. empty: bytes of blocks that hold nothing; samples to come use them again.

    rows: stored samples.
    """

    of_file: int
    empty: int
    rows: int

    @property
    def per_million(self) -> int | None:
        """Bytes that a million samples take, with their share of ledger and roll-ups; None where there are none."""
        return round((self.of_file - self.empty) / self.rows * 1e6) if self.rows else None

    @property
    def worth_it(self) -> bool:
        """More than half of it is empty, and that is a size that somebody would miss."""
        return self.empty >= max(WORTH_BYTES, WORTH_SHARE * self.of_file)


async def disk_use(file: DuckFile) -> DiskUse:
    """Raises StoreDown."""
    ((block, free),) = await file.read("SELECT block_size, free_blocks FROM pragma_database_size()")
    ((rows,),) = await file.read("SELECT count(*) FROM samples")
    log_file = file.path.with_name(f"{file.path.name}.wal")
    of_file = sum(p.stat().st_size for p in (file.path, log_file) if p.exists())
    return DiskUse(of_file, int(block) * int(free), int(rows))


async def compact(file: DuckFile) -> tuple[DiskUse, DiskUse]:
    """Writes the file anew without its empty blocks, and puts it in its place; before and after. Nothing is written
    meanwhile, readers go on.

    A crash leaves the old file or the new one, both whole. Raises StoreDown when there is no room, or when it fails:
    then the old file is as it was.
    """
    async with file.still():
        try:
            before, after = await _compacted(file)
        except StoreDown:
            await file.close()  # a disk that is full makes the connection useless
            await file.open()
            raise
    log.info("compacted", extra={"store": str(file.path), "bytes_before": before.of_file, "bytes": after.of_file})
    return before, after


async def _compacted(file: DuckFile) -> tuple[DiskUse, DiskUse]:
    await file.execute("CHECKPOINT")
    before = await disk_use(file)
    room = shutil.disk_usage(file.path.parent).free
    needed = round(SPARE * (before.of_file - before.empty))
    if room < needed:
        raise StoreDown(
            f"{file.path.parent}: compacting needs {needed:,} bytes of free disk, and there are {room:,}: free some"
        )
    target = file.path.with_name(f"{file.path.name}.compact")
    sweep(file.path)
    try:
        await _copy(file, target)
        await asyncio.to_thread(_synced, target)
        await file.take_place(target)
    finally:
        sweep(file.path)
    await asyncio.to_thread(_synced, file.path.parent)
    return before, await disk_use(file)


def sweep(path: Path) -> None:
    """What an interrupted compaction left behind."""
    for name in (f"{path.name}.compact", f"{path.name}.compact.wal"):
        path.with_name(name).unlink(missing_ok=True)


async def _copy(file: DuckFile, target: Path) -> None:
    ((source,),) = await file.read("SELECT current_database()")
    tables = [t for (t,) in await file.read("SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [source])]
    quoted = str(target).replace("'", "''")
    await file.execute(f"ATTACH '{quoted}' AS compacted")
    try:
        await file.execute(f'COPY FROM DATABASE "{source}" TO compacted (SCHEMA)')
        for table in tables:
            # A chart of a day then reads a few blocks instead of all that were written on it.
            order = "ORDER BY ts_ms // 86400000, series, ts_ms" if table == "samples" else ""
            await file.execute(f'INSERT INTO compacted."{table}" SELECT * FROM "{table}" {order}')  # noqa: S608 - ours
            ((here, there),) = await file.read(
                f'SELECT (SELECT count(*) FROM "{table}"), (SELECT count(*) FROM compacted."{table}")'  # noqa: S608
            )
            if here != there:
                raise StoreDown(f"{file.path}: {there} of {here} rows of {table} were copied; the file stays as it is")
    finally:
        await file.execute("DETACH compacted")


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
