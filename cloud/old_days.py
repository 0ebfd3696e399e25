"""What becomes of old days: roll-ups of them, the archive, and retention, put together for one host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cloud.archive.archiver import Archiver
from cloud.archive.folder import open_folder
from cloud.archive.marks import DayMarks
from cloud.config import Config
from cloud.duty import Duty
from cloud.ledger import Ledger
from cloud.retention.port import Removal
from cloud.retention.proof import Proof
from cloud.retention.retention import Retention
from cloud.retention.whole_day import Removed, WholeDay
from cloud.rollups.marks import WindowMarks
from cloud.rollups.roller import Roller
from cloud.state.host import HostState
from cloud.stats import Stats
from cloud.store.port import TelemetryStore


@dataclass(frozen=True, slots=True)
class Around:
    """What a host's old days share with its collector. writing: held while samples are written; days, windows: marked
    before they are."""

    store: TelemetryStore
    ledger: Ledger
    state: HostState
    removal: Removal
    days: DayMarks
    windows: WindowMarks
    writing: asyncio.Lock
    stats: Stats
    duty: Duty
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True)
class OldDays:
    """`run` until cancelled. archiver, retention: None where the configuration does not ask for them."""

    roller: Roller
    archiver: Archiver | None
    retention: Retention | None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.roller.run(), name="roller")
            if self.archiver is not None:
                tasks.create_task(self.archiver.run(), name="archiver")
            if self.retention is not None:
                tasks.create_task(self.retention.run(), name="retention")


def old_days(config: Config, a: Around) -> OldDays:
    """Late samples and roll-ups find what was removed in the archive, and retention removes nothing that it lacks."""
    folder = open_folder(config.archive.place) if config.archive is not None else None
    a.state.removed = Removed(a.removal, folder).known
    rules, proof = config.retention, None
    if rules is not None and folder is not None and rules.archive_first is not False:
        proof = Proof(folder, a.days, a.store)
    # Where rows go without a proof that the archive has them, what is left of them makes no window.
    more = WholeDay(a.store, folder) if folder is not None and (rules is None or proof is not None) else None
    roller = Roller(a.store, a.windows, a.writing, a.stats, a.now_ms, a.duty, more, a.removal.settle)
    archiver = retention = None
    if config.archive is not None and folder is not None:
        archiver = Archiver(
            folder, config.archive.after_days, a.store, a.days, a.writing, a.stats, a.now_ms,
            a.state.births, a.ledger, a.state.restored, a.duty, a.windows.touch, a.removal,
        )  # fmt: skip
    if rules is not None:
        retention = Retention(
            rules, a.removal, proof, a.state.births, a.state.restored, a.writing, a.stats, a.now_ms, a.duty, roller,
        )  # fmt: skip
    return OldDays(roller, archiver, retention)
