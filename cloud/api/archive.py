"""GET /api/archive: what is due, what is under way. POST /api/archive/run and /restore: ask for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cloud.archive.archiver import Archiver
from cloud.archive.manifest import day_number
from cloud.store.whole_rows import DayId
from wire.errors import ConfigError

OFF = (
    "this host keeps no archive: write `archive: {path: FOLDER}` into its cloud.yaml, or start it with --archive FOLDER"
)


class Wanted(BaseModel):
    """One UTC day of one site; without site of every site, without day everything that is due."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"site": "plant-1", "day": "2026-05-01"}]})

    site: str | None = None
    day: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")


class ArchiveJob(BaseModel):
    """results: per day what was written, or restored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"number": 1, "kind": "run", "done": True, "at": "", "finished": 1, "total": 1, "rows": 86400,
                 "results": [{"site": "plant-1", "day": "2026-05-01", "rows": 86400}], "problems": []}
            ]
        }
    )  # fmt: skip

    number: int
    kind: str
    done: bool
    at: str = Field(description="the day that is being worked on")
    finished: int
    total: int
    rows: int
    results: list[dict[str, Any]]
    problems: list[str]


class Day(BaseModel):
    site: str
    day: str


class ArchiveStatus(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "place": "/srv/archive",
                    "after_days": 1,
                    "due": [{"site": "plant-1", "day": "2026-05-01"}],
                    "jobs": [],
                }
            ]
        }
    )

    place: str
    after_days: int
    due: list[Day]
    jobs: list[ArchiveJob]


def router(archiver: Archiver | None) -> APIRouter:
    api = APIRouter(prefix="/archive", tags=["archive"])

    def there() -> Archiver:
        if archiver is None:
            raise ConfigError(OFF)
        return archiver

    @api.get("", summary="What is due, and the newest jobs")
    async def status() -> ArchiveStatus:
        """due: days that are not archived as they are now. jobs: the newest ones, with their results and problems."""
        return ArchiveStatus.model_validate(await there().status())

    @api.post("/run", summary="Archive days now")
    async def run(wanted: Wanted) -> ArchiveJob:
        """The job as it begins; look for its number in GET /api/archive."""
        return ArchiveJob.model_validate(there().ask("run", await _days(there(), wanted)).as_json())

    @api.post("/restore", summary="Write a day's samples into the store again")
    async def restore(wanted: Wanted) -> ArchiveJob:
        """The day's samples that the store does not have are written into it again."""
        if wanted.site is None or wanted.day is None:
            raise ConfigError("give site and day: one day of one site is restored at a time")
        return ArchiveJob.model_validate(there().ask("restore", await _days(there(), wanted)).as_json())

    return api


async def _days(archiver: Archiver, wanted: Wanted) -> list[DayId]:
    if wanted.day is None:
        if wanted.site is not None:
            raise ConfigError("give a day with the site; without both everything that is due is archived")
        return []
    try:
        number = day_number(wanted.day)
    except ValueError as fault:
        raise ConfigError(f"day {wanted.day!r}: {fault}; write it as 2026-05-01") from fault
    if wanted.site is not None:
        return [DayId(wanted.site, number)]
    found = sorted(day for day in await archiver.store.days() if day.day == number)
    if not found:
        raise ConfigError(f"the store has no samples of {wanted.day}")
    return found
