"""One day into the archive: the store's rows of it, and those that only the archive still has."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloud.archive.folder import TEMPORARY, ArchiveDown, Folder
from cloud.archive.manifest import MANIFEST, SCHEMA_VERSION, Damaged, Manifest, Part, folder_of, manifest_of
from cloud.archive.merge import count_only_in, union
from cloud.archive.parquet import DayWriter, opened
from cloud.store.whole_rows import DayId


class Archived(NamedTuple):
    """What became of a day. rows, bytes: of the day now; kept: rows of them that the store no longer has."""

    day: DayId
    rows: int
    bytes: int
    kept: int
    changed: bool


def settle(
    folder: Folder, day: DayId, file: Path, written: DayWriter, still: Callable[[], None] = lambda: None
) -> Archived:
    """The finished file with the store's rows becomes the day's, with the rows that only the archive has.

    still: called before anything that counts is replaced; what it raises ends it. Raises ArchiveDown: also when the
    archived day is damaged and the store does not have all of it.
    """
    old = _sound(folder, day, written.rows)
    if old is None:
        return _put(folder, day, file, written, 0, None, still) if written.rows else Archived(day, 0, 0, 0, False)
    if not written.rows:
        return Archived(day, old.rows, old.bytes, old.rows, False)
    with copied(folder, old) as before:
        kept = count_only_in(before, file, folder.scratch)
        if not kept:
            return _put(folder, day, file, written, 0, old, still)
        with folder.temporary() as both:
            merged = DayWriter(both, day)
            try:
                for batch in union(file, before, folder.scratch):
                    merged.write(batch)
                merged.finish()
            except OSError as fault:
                merged.abandon()
                raise ArchiveDown(f"archive {folder.place}, {day}: {fault}") from fault
            return _put(folder, day, both, merged, kept, old, still)


def _sound(folder: Folder, day: DayId, store_rows: int) -> Manifest | None:
    """The archived day; None where there is none, or where it is damaged and the store has all of it."""
    try:
        found = manifest_of(folder, day)
    except Damaged as fault:
        raise ArchiveDown(
            f"archive of {day}: {fault}; move {folder_of(day)} away, and the day is archived anew from the store"
        ) from fault
    try:
        for part in found.parts if found is not None else ():
            check_bytes(folder, day, part)
    except Damaged as fault:
        assert found is not None
        if store_rows >= found.rows:
            return None
        raise ArchiveDown(
            f"archive of {day}: {fault}; the store holds {store_rows:,} of its {found.rows:,} samples: bring the file"
            f" back from a copy, or move {folder_of(day)} away to archive what the store has"
        ) from fault
    return found


def check_bytes(folder: Folder, day: DayId, part: Part) -> None:
    """Raises Damaged, ArchiveDown."""
    try:
        size, digest = folder.hashed(f"{folder_of(day)}/{part.name}")
    except FileNotFoundError as fault:
        raise Damaged(f"{part.name} is missing") from fault
    if size < part.bytes:
        raise Damaged(f"{part.name} is cut off: {size:,} of {part.bytes:,} bytes")
    if digest != part.sha256:
        raise Damaged(f"{part.name} was changed: its SHA-256 is not the manifest's")


@contextmanager
def copied(folder: Folder, day: Manifest) -> Iterator[Path]:
    """A local copy of an archived day. Raises ArchiveDown, Damaged."""
    (part,) = day.parts
    with folder.temporary() as target:
        folder.get(f"{folder_of(day.id)}/{part.name}", target)
        opened(target, part.name).close()
        yield target


def _put(
    folder: Folder,
    day: DayId,
    file: Path,
    written: DayWriter,
    kept: int,
    old: Manifest | None,
    still: Callable[[], None],
) -> Archived:
    size, digest = _hashed(file)
    part = Part(f"part-{digest[:16]}.parquet", written.rows, size, digest)
    manifest = Manifest(
        day.group, day.date, SCHEMA_VERSION, written.rows, written.first_ms, written.last_ms, (part,)
    )  # fmt: skip
    where = folder_of(day)
    if manifest != old:
        folder.put(file, f"{where}/{part.name}")
        still()
        folder.put_text(manifest.text(), f"{where}/{MANIFEST}")
    for name in folder.names(where):
        if name not in (part.name, MANIFEST):
            folder.delete(f"{where}/{name}")
    return Archived(day, written.rows, size, kept, manifest != old)


def _hashed(file: Path) -> tuple[int, str]:
    with file.open("rb") as stream:
        return file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()


def sweep(folder: Folder) -> None:
    """What a killed process left. Only before anything is written."""
    for name in folder.names():
        if name.startswith(TEMPORARY):
            path = Path(folder.scratch) / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                folder.delete(name)
