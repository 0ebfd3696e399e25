"""What a day of the archive consists of, and where. The manifest is what makes files a day: it is written last.

    site=plant-1/day=2026-05-01/manifest.json
    site=plant-1/day=2026-05-01/part-<first digits of its SHA-256>.parquet

A file that no manifest names does not count: it is what an interrupted run left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from cloud.archive.folder import Folder
from cloud.store.whole_rows import DAY_MS, DayId

SCHEMA_VERSION = 1
"""Of the Parquet files: the columns of whole_rows.ROWS, sorted by node, device, tag, ts_ms."""
MANIFEST = "manifest.json"
_LONGEST = 180  # bytes of a folder's name, of the 255 that file systems take


class Damaged(Exception):
    """Something of a day is not as it was written. what: what is wrong; the text also says what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a day."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One day of one site. first_ms, last_ms: stamps of its first and last sample in time."""

    site: str
    day: str
    schema_version: int
    rows: int
    first_ms: int
    last_ms: int
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        return sum(p.bytes for p in self.parts)

    @property
    def id(self) -> DayId:
        return DayId(self.site, day_number(self.day))

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def day_number(text: str) -> int:
    """Days since 1970-01-01. Raises ValueError."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def day_of(ts_ms: int) -> int:
    return ts_ms // DAY_MS


def folder_of(day: DayId) -> str:
    return f"{site_folder(day.group)}/day={day.date}"


def site_folder(group: str) -> str:
    """Groups of third-party nodes may hold any letters: they are escaped as in a URL, very long ones also cut."""
    name = quote(group, safe="")
    if len(name) > _LONGEST:
        name = f"{name[:120]}~{hashlib.blake2b(group.encode(), digest_size=16).hexdigest()}"
    return f"site={name}"


def parsed(content: bytes, where: str) -> Manifest:
    """Raises Damaged."""
    try:
        raw: dict[str, Any] = json.loads(content)
        parts = tuple(Part(p["name"], int(p["rows"]), int(p["bytes"]), p["sha256"]) for p in raw.pop("parts"))
        found = Manifest(**raw, parts=parts)
        if where != folder_of(found.id):
            raise ValueError(f"it is the manifest of {found.id}")
    except (ValueError, KeyError, TypeError) as fault:
        raise Damaged(f"{MANIFEST} cannot be read ({fault})") from fault
    return found


def manifest_of(folder: Folder, day: DayId) -> Manifest | None:
    """None where the day is not archived. Raises Damaged, ArchiveDown."""
    where = folder_of(day)
    try:
        content = folder.read(f"{where}/{MANIFEST}")
    except FileNotFoundError:
        return None
    return parsed(content, where)


def day_folders(folder: Folder) -> Iterator[str]:
    """Every folder of a day, whether its manifest is there or not, by site and day. Raises ArchiveDown."""
    for site in folder.names():
        if site.startswith("site="):
            yield from (f"{site}/{day}" for day in folder.names(site) if day.startswith("day="))


def manifests(folder: Folder) -> Iterator[Manifest]:
    """Every archived day whose manifest can be read. Raises ArchiveDown."""
    for where in day_folders(folder):
        try:
            yield parsed(folder.read(f"{where}/{MANIFEST}"), where)
        except (Damaged, FileNotFoundError):
            continue  # `verify` tells of it
