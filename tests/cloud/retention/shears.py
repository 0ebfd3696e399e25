"""A running host with archive and retention, as the host puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloud.archive.archiver import Archiver, Job
from cloud.archive.folder import open_folder
from cloud.archive.marks import DayMarks
from cloud.host import wall_ms
from cloud.retention.classes import RetentionChoice, TagClass
from cloud.retention.proof import Proof
from cloud.retention.retention import Retention, Run
from cloud.retention.whole_day import Removed, WholeDay
from cloud.store.whole_rows import DayId
from tests.cloud.hosts import Running

MONTH = RetentionChoice(30)
LEVELS = RetentionChoice(None, (TagClass("level", 30, ("level",)),))


@dataclass
class Shears:
    host: Running
    archiver: Archiver
    retention: Retention

    async def archive(self, *days: DayId) -> Job:
        job = self.archiver.ask("run", list(days))
        await self.archiver.work(job)
        assert job.problems == []
        return job

    async def restore(self, day: DayId) -> Job:
        job = self.archiver.ask("restore", [day])
        await self.archiver.work(job)
        assert job.problems == []
        return job

    async def run(self, choice: RetentionChoice | None = None) -> Run:
        if choice is not None:
            self.retention.choice = choice
        run = self.retention.ask()
        await self.retention.work(run)
        return run

    @property
    def whole_day(self) -> WholeDay:
        return WholeDay(self.host.kept.store, self.archiver.folder)


def shears(host: Running, folder: Path, choice: RetentionChoice = MONTH, archived: bool = True) -> Shears:
    archive = open_folder(str(folder))
    marks = DayMarks(host.db)
    host.marks.append(marks)
    archiver = Archiver(
        archive, 1, host.kept.store, marks, host.collector.writing, host.stats, wall_ms,
        host.state.births, host.kept.ledger, host.state.restored, removal=host.removal,
    )  # fmt: skip
    host.state.removed = Removed(host.removal, archive if archived else None).known
    retention = Retention(
        choice, host.removal, Proof(archive, marks, host.kept.store) if archived else None, host.state.births,
        host.state.restored, host.collector.writing, host.stats, wall_ms,
    )  # fmt: skip
    return Shears(host, archiver, retention)
