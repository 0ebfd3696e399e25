"""The host's archivist: due days into the archive by itself, and what a person asks for; one job at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from cloud.archive.day import Archived, settle, sweep
from cloud.archive.folder import ArchiveDown, Folder, shown
from cloud.archive.manifest import day_of, folder_of
from cloud.archive.marks import LOOKED_THROUGH, DayMarks
from cloud.archive.parquet import DayWriter
from cloud.archive.restore import Into, restore_day
from cloud.archive.tags import Births, born, keep_tags
from cloud.duty import Duty
from cloud.ledger import Ledger
from cloud.retention.port import Removal
from cloud.state.restored import RestoredDays
from cloud.stats import Stats
from cloud.store.port import Batch, TelemetryStore
from cloud.store.whole_rows import DayId, Of
from wire.errors import ConfigError, StoreDown

log = logging.getLogger(__name__)

EVERY_S = 600.0
FIRST_S = 30.0  # after the start: gateways deliver what waited for the host first
KEPT_JOBS = 20


@dataclass(slots=True)
class Job:
    """kind: 'run' or 'restore'. days: of a run, those wanted (none: every day that is due)."""

    number: int
    kind: str
    days: list[DayId]
    done: bool = False
    at: str = ""  # the day that is being worked on
    finished: int = 0
    total: int = 0
    rows: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        names = ("number", "kind", "done", "at", "finished", "total", "rows", "results", "problems")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Archiver:
    """`run` until cancelled. writing: held while samples are written.

    duty: whether this host is the active one; `run` raises LeaseLost when it is not any more. about_to_write: called
    with batches before a restore writes them.
    """

    folder: Folder
    after_days: int
    store: TelemetryStore
    marks: DayMarks
    writing: asyncio.Lock
    stats: Stats
    now_ms: Callable[[], int]
    births: Callable[[], Awaitable[Births]]
    ledger: Ledger
    restored: RestoredDays
    duty: Duty = field(default_factory=Duty)
    about_to_write: Callable[[Sequence[Batch]], Awaitable[None]] | None = None
    removal: Removal | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    _queue: list[Job] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _last: int = 0

    async def run(self) -> None:
        pause_s = FIRST_S
        swept = False
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                self._queue.append(self._job("run", []))
            self._wanted.clear()
            try:
                if not swept:
                    await asyncio.to_thread(sweep, self.folder)
                    swept = True
                while self._queue:
                    await self.work(self._queue[0])
                    self._queue.pop(0)
            except StoreDown as fault:
                self._ill(str(fault))
            pause_s = EVERY_S

    def ask(self, kind: str, days: list[DayId]) -> Job:
        """Is done as soon as `run` comes to it. Raises ConfigError when a day is not over."""
        for day in days:
            if kind == "run" and day.day > self.newest_day:
                raise ConfigError(
                    f"{day} is still being written, or too new for after_days: {self.after_days}; up to"
                    f" {DayId('', self.newest_day).date} can be archived now (UTC)"
                )
        job = self._job(kind, days)
        self._queue.append(job)
        self._wanted.set()
        return job

    def _job(self, kind: str, days: list[DayId]) -> Job:
        self._last += 1
        self.jobs.pop(self._last - KEPT_JOBS, None)
        job = self.jobs[self._last] = Job(self._last, kind, days)
        return job

    @property
    def newest_day(self) -> int:
        """The last day that may be archived now."""
        return day_of(self.now_ms()) - self.after_days

    async def due(self) -> list[DayId]:
        """Raises StoreDown."""
        if not await self.marks.looked_through():  # a database from before there was an archive
            found = await self.store.days()
            async with self.writing:
                await self.marks.add([*found, LOOKED_THROUGH])
        return [day for day in await self.marks.marked() if day.day <= self.newest_day]

    async def work(self, job: Job) -> None:
        """Every fault stands in the job's problems; what could not be archived stays due. Raises nothing of it."""
        try:
            if job.kind == "run" and job.days:
                async with self.writing:
                    await self.marks.add(job.days)
            days = job.days or await self.due()
        except StoreDown as fault:
            job.problems.append(str(fault))
            days = []
        if job.kind == "run":
            await self._keep_tags(job)
        job.total = len(days)
        for day in days:
            job.at = str(day)
            try:
                result = await (self._archive(day, job) if job.kind == "run" else self._restore(day, job))
                job.results.append({"site": day.group, "day": day.date, **result})
            except StoreDown as fault:
                job.problems.append(str(fault))
            job.finished += 1
        job.at, job.done = "", True
        if job.problems:
            self._ill("; ".join(job.problems[:3]))
        elif job.kind == "run" and self.stats.problems.pop("archive", None) is not None:
            log.info("the archive is written again")

    async def _keep_tags(self, job: Job) -> None:
        try:
            found = born(await self.births())
            await asyncio.to_thread(keep_tags, self.folder, found)
        except StoreDown as fault:
            job.problems.append(str(fault))

    async def _archive(self, day: DayId, job: Job) -> Mapping[str, Any]:
        async with self.writing:
            times = (await self.marks.marked()).get(day, 0)
        found = await self._written(day, job)
        async with self.writing:
            await self.marks.clean(day, times)
        if found.changed:
            facts = {"day": str(day), "rows": found.rows, "bytes": found.bytes}
            log.info("a day is archived", extra=facts)
        return {"rows": found.rows, "bytes": found.bytes, "kept": found.kept, "changed": found.changed}

    async def _written(self, day: DayId, job: Job) -> Archived:
        temporary = self.folder.temporary()
        file = await asyncio.to_thread(temporary.__enter__)
        writer = DayWriter(file, day)
        try:
            async for batch in self.store.samples(Of(day.group), day.from_ms, day.to_ms):
                await asyncio.to_thread(writer.write, batch)
                job.rows += batch.num_rows
            await asyncio.to_thread(writer.finish)
            await self.duty.check()
            return await asyncio.to_thread(settle, self.folder, day, file, writer, self.duty.still)
        except (OSError, pa.ArrowException) as fault:
            with suppress(OSError, pa.ArrowException):  # the end of the file does not fit on the disk either
                writer.abandon()
            what = f"{shown(self.folder.place)}, {folder_of(day)}"
            raise ArchiveDown(f"archive {what}: {getattr(fault, 'strerror', fault)}; the day stays due") from fault
        finally:
            temporary.__exit__(None, None, None)

    async def _restore(self, day: DayId, job: Job) -> Mapping[str, Any]:
        async with self.writing:  # nobody stores one of these samples while they are compared
            into = Into(
                self.store, self.ledger, self.restored, self.duty, self.about_to_write, self.removal, self.now_ms()
            )
            return await restore_day(self.folder, into, day, job)

    async def status(self) -> dict[str, Any]:
        """Raises StoreDown."""
        marked = await self.marks.marked()
        due = [day for day in marked if day.day <= self.newest_day]
        return {
            "place": shown(self.folder.place),
            "after_days": self.after_days,
            "due": [{"site": day.group, "day": day.date} for day in due],
            "jobs": [job.as_json() for job in self.jobs.values()],
        }

    def _ill(self, why: str) -> None:
        level = logging.DEBUG if "archive" in self.stats.problems else logging.WARNING
        self.stats.problems["archive"] = f"not everything is archived: {why}"
        log.log(level, "not everything is archived", extra={"error": why[:500]})
