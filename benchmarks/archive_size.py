"""Bytes a sample in the archive, and in the DuckDB file, on real recordings; and how fast a day is archived.

Each recording becomes the tags of a device: one row a second, its stamp as a poll gives it (some milliseconds late, the
same for all tags of the device), values as float32, as a Modbus device sends them, and once as they stand in the file.
The recordings are those of firmware_sim and, where they are, of the folder DATA (SKAB, NAB, steel energy, parking).
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
import random
import resource
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import ROOT, keep
from cloud.archive.archiver import Archiver
from cloud.archive.folder import open_folder
from cloud.archive.manifest import manifests
from cloud.archive.marks import DayMarks
from cloud.archive.tags import Births
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.stats import Stats
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.port import Batch
from cloud.store.whole_rows import DAY_MS
from wire.block import Quality, Sample
from wire.ids import NodeId
from wire.tag import Datatype

DAY = 20_000
AT_ONCE = 1_000  # rows of a device in one commit
LATENESS_MS = 15  # of a poll's answer: what a TCP device on this machine shows
DATA = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))


def recordings() -> dict[str, list[list[float]]]:
    """Name of the set and file -> rows of numbers."""
    files = {f"recordings/{p.name}": p for p in (ROOT / "firmware_sim" / "recordings").glob("*.csv")}
    for folder in ("skab/valve1", "nab/realKnownCause", "steel_energy", "parking_birmingham"):
        files |= {f"{folder}/{p.name}": p for p in (DATA / folder).glob("*.csv*")}
    found = {name: list(rows(path)) for name, path in sorted(files.items())}
    return {name: table for name, table in found.items() if len(table) > 500}


def rows(path: Path) -> Iterator[list[float]]:
    """The columns that are numbers in the second line, row by row; labels of the data set are no measurements."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        first = lines.readline()
        separator = ";" if ";" in first else ","
        names = first.strip().split(separator)
        columns: list[int] = []
        for row in csv.reader(lines, delimiter=separator):
            columns = columns or [
                i for i, x in enumerate(row) if _number(x) and names[i] not in ("anomaly", "changepoint")
            ]
            try:
                yield [float(row[i]) for i in columns]
            except (ValueError, IndexError):
                continue


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def batches(name: str, table: list[list[float]], single: bool) -> Iterator[Batch]:
    dice = random.Random(1)
    kind = Datatype.FLOAT if single else Datatype.DOUBLE
    group, _, device = name.rpartition("/")
    node = NodeId(group.replace("/", "-"), "gw")
    for start in range(0, len(table), AT_ONCE):
        found = []
        for i, values in enumerate(table[start : start + AT_ONCE], start):
            ts_ms = DAY * DAY_MS + i * 1000 + dice.randrange(LATENESS_MS)
            for n, value in enumerate(values):
                exact = struct.unpack("f", struct.pack("f", value))[0] if single else value
                found.append(Sample(f"tag{n}", kind, ts_ms, Quality.GOOD, exact))
        yield Batch(node, device, tuple(found))


async def measure(folder: Path, single: bool) -> dict[str, object]:
    db, store = StateDb(folder / "state.db"), EmbeddedStore(folder / "samples.duckdb")
    await db.open()
    await store.open()

    async def births() -> Births:
        return {}

    archive = open_folder(str(folder / "archive"))
    writing, now = asyncio.Lock(), (DAY + 40) * DAY_MS
    archiver = Archiver(
        archive, 1, store, DayMarks(db), writing, Stats(started_s=0), lambda: now, births,
        EmbeddedLedger(store.file), HostState(db).restored,
    )  # fmt: skip
    samples = 0
    for name, table in recordings().items():
        for batch in batches(name, table, single):
            async with store.transaction():
                await store.write([batch])
            samples += len(batch.samples)
    began = time.perf_counter()
    job = archiver.ask("run", [])
    await archiver.work(job)
    took_s = time.perf_counter() - began
    assert not job.problems, job.problems
    await store.close()
    await db.close()
    days = list(manifests(archive))
    assert sum(m.rows for m in days) == samples
    sets: dict[str, list[int]] = {}
    for m in days:
        of_set = sets.setdefault(m.site, [0, 0])
        of_set[0] += m.bytes
        of_set[1] += m.rows
    kind = "float32" if single else "as_recorded"
    figures: dict[str, object] = {f"{kind}_samples": samples}
    figures[f"{kind}_bytes_per_sample"] = round(sum(m.bytes for m in days) / samples, 2)
    for name, (size, count) in sorted(sets.items()):
        figures[f"{kind}_bytes_per_sample_{name}"] = round(size / count, 2)
    figures[f"{kind}_duckdb_bytes_per_sample"] = round((folder / "samples.duckdb").stat().st_size / samples, 2)
    figures[f"{kind}_archived_samples_per_s"] = round(samples / took_s)
    return figures


def main() -> None:
    figures: dict[str, object] = {}
    for single in (True, False):
        with tempfile.TemporaryDirectory() as name:
            figures |= asyncio.run(measure(Path(name), single))
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    keep("archive_size", figures)


if __name__ == "__main__":
    main()
