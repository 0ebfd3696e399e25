"""Looks through the archive: what is there, whether it is as it was written, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow.compute as pc

from cloud.archive.day import check_bytes
from cloud.archive.folder import Folder
from cloud.archive.manifest import MANIFEST, Damaged, Manifest, Part, day_folders, folder_of, parsed
from cloud.archive.parquet import batches, opened


class Problem(NamedTuple):
    """where: the folder of the day. what: what is wrong. todo: what to do about it."""

    where: str
    what: str
    todo: str


class Checked(NamedTuple):
    days: int
    rows: int
    bytes: int
    problems: list[Problem]


def verify(
    folder: Folder, wanted: Callable[[str], bool] = lambda _: True, progress: Callable[[int, int], None] | None = None
) -> Checked:
    """wanted: of a day's folder. progress: called with days done and all days. Raises ArchiveDown."""
    places = [where for where in day_folders(folder) if wanted(where)]
    problems: list[Problem] = []
    days = rows = size = 0
    for done, where in enumerate(places):
        if progress is not None:
            progress(done, len(places))
        found = _manifest(folder, where, problems)
        if found is None:
            continue
        days, rows, size = days + 1, rows + found.rows, size + found.bytes
        problems += [Problem(where, what, _todo(found)) for what in faults(folder, found)]
    if progress is not None:
        progress(len(places), len(places))
    return Checked(days, rows, size, problems)


def _manifest(folder: Folder, where: str, problems: list[Problem]) -> Manifest | None:
    try:
        return parsed(folder.read(f"{where}/{MANIFEST}"), where)
    except FileNotFoundError:
        names = [name for name in folder.names(where) if name.endswith(".parquet")]
        if names:
            todo = "archive the day again from the store, or bring the manifest back from a copy"
            problems.append(Problem(where, f"{MANIFEST} is missing beside {', '.join(names)}", todo))
    except Damaged as fault:
        todo = f"bring it back from a copy, or move {where} away and archive the day again from the store"
        problems.append(Problem(where, str(fault), todo))
    return None


def _todo(day: Manifest) -> str:
    again = f"gaugeline cloud archive run --site {day.site} --day {day.day}"
    return f"while the store has all of that day: `{again}` writes it anew; else bring the file back from a copy"


def faults(folder: Folder, day: Manifest) -> Iterator[str]:
    """What is wrong with one day; every byte of it is read. Raises ArchiveDown."""
    first_ms, last_ms, rows = 2**63 - 1, 0, 0
    for part in day.parts:
        try:
            check_bytes(folder, day.id, part)
        except Damaged as fault:
            yield str(fault)
            return
        try:
            n, first, last = _looked_at(folder, day, part)
        except Damaged as fault:
            yield str(fault)
            return
        if n != part.rows:
            yield f"{part.name} has {n:,} samples, the manifest says {part.rows:,}"
            return
        rows, first_ms, last_ms = rows + n, min(first_ms, first), max(last_ms, last)
    if rows != day.rows:
        yield f"the files have {rows:,} samples, the manifest says {day.rows:,}"
    if (first_ms, last_ms) != (day.first_ms, day.last_ms):
        yield f"the samples reach from {first_ms} to {last_ms}, the manifest says {day.first_ms} to {day.last_ms}"
    if not day.id.from_ms <= first_ms <= last_ms < day.id.to_ms:
        yield "there are samples of another day in it"


def _looked_at(folder: Folder, day: Manifest, part: Part) -> tuple[int, int, int]:
    """Rows, first and last stamp as they stand in the file; every column is read. Raises Damaged."""
    first_ms, last_ms, rows = 2**63 - 1, 0, 0
    with folder.open(f"{folder_of(day.id)}/{part.name}") as source:
        for batch in batches(opened(source, part.name)):
            stamps = pc.min_max(batch.column("ts_ms")).as_py()
            first_ms, last_ms = min(first_ms, stamps["min"]), max(last_ms, stamps["max"])
            rows += batch.num_rows
    return rows, first_ms, last_ms
