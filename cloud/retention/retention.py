"""The host's retention: what is older than its class is kept leaves the store, counted, piece by piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from cloud.archive.tags import Births
from cloud.duty import Duty
from cloud.retention.classes import RetentionChoice
from cloud.retention.plan import Due, due, known_measures
from cloud.retention.port import Cut, Removal, RollUps, raw_since_ms
from cloud.retention.proof import NotProven, Proof, Proven
from cloud.state.restored import RestoredDay, RestoredDays
from cloud.stats import Stats
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DAY_MS, MOST_TAGS, DayId, pieces
from wire.errors import ConfigError, StoreDown
from wire.ids import NodeId

log = logging.getLogger(__name__)

EVERY_S = 3600.0
FIRST_S = 180.0  # after the start: gateways deliver what waited for the host, and the archive is written
KEPT_JOBS = 20
PIECE_ROWS = 500_000
"""Removed at once, while nothing is stored: half a second of DuckDB."""


@dataclass(slots=True)
class Run:
    """One look through everything that is due. held: what stays although it is due, and why."""

    number: int
    done: bool = False
    at: str = ""
    finished: int = 0
    total: int = 0
    rows: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        names = ("number", "done", "at", "finished", "total", "rows", "results", "held", "problems")
        return {name: getattr(self, name) for name in names}

    def hold(self, day: DayId, name: str, rows: int, why: str) -> None:
        self.held.append({"site": day.group, "day": day.date, "class": name, "rows": rows, "why": why})


@dataclass(slots=True)
class Retention:
    """`run` until cancelled. writing: held while samples are written.

    proof: None: what is removed need not be archived. rollups: made of the samples before those go. duty: whether this
    host is the active one; `run` raises LeaseLost when it is not any more.
    """

    choice: RetentionChoice
    removal: Removal
    proof: Proof | None
    births: Callable[[], Awaitable[Births]]
    restored: RestoredDays
    writing: asyncio.Lock
    stats: Stats
    now_ms: Callable[[], int]
    duty: Duty = field(default_factory=Duty)
    rollups: RollUps | None = None
    runs: dict[int, Run] = field(default_factory=dict)
    _queue: list[Run] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _last: int = 0
    _looked: int = -1  # the UTC day that everything was looked through on

    def raw_since_ms(self, node: NodeId, device: str, tag: str) -> int:
        return raw_since_ms(self.removal, node, device, tag)

    async def run(self) -> None:
        pause_s = FIRST_S
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                if self.is_time:
                    self._queue.append(self._new())
            self._wanted.clear()
            while self._queue:
                await self.work(self._queue[0])
                self._queue.pop(0)
            pause_s = EVERY_S

    @property
    def is_time(self) -> bool:
        """Once a UTC day, and as long as something is held back."""
        return self.now_ms() // DAY_MS != self._looked or "retention" in self.stats.problems

    def ask(self) -> Run:
        """Is done as soon as `run` comes to it."""
        self._queue.append(run := self._new())
        self._wanted.set()
        return run

    def _new(self) -> Run:
        self._last += 1
        self.runs.pop(self._last - KEPT_JOBS, None)
        run = self.runs[self._last] = Run(self._last)
        return run

    async def plan(self) -> list[Due]:
        """What is due now, oldest first. Raises StoreDown."""
        found = await self.births()
        folder = self.proof.folder if self.proof is not None else None
        measures = await asyncio.to_thread(known_measures, found, folder)
        return await due(self.removal, self.choice, measures, self.duty, self.now_ms())

    async def why_held(self, found: Due) -> str:
        """Why a day would stay; '' when it would go. Looks at marks only: whether the files are sound, `run` sees."""
        if self.proof is not None and found.day in await self.proof.marks.marked():
            return "it is not archived as it is now"
        held = await self._held()
        kept = [part for part in found.parts if RestoredDay(*part) in held]
        return "it was restored from the archive" if kept else ""

    async def work(self, run: Run) -> None:
        """Every fault stands in the run's problems; what could not be removed stays due. Raises LeaseLost."""
        today = self.now_ms() // DAY_MS
        try:
            async with self.writing:
                await self.removal.settle()
            if self.rollups is not None:
                await self.rollups.work()
            found = await self.plan()
            held = await self._held()
            run.total = len(found)
            for day, of_day in groupby(found, lambda one: one.day):
                await self._day(day, list(of_day), held, run)
            if await self._forget_rollups():
                self._looked = today
        except (StoreDown, ConfigError) as fault:
            run.problems.append(str(fault))
        run.at, run.done = "", True
        self._tell(run)

    async def _held(self) -> set[RestoredDay]:
        """Days that a person brought back, and may be looking at."""
        return await self.restored.since(self.now_ms() - self.choice.restored_days * DAY_MS)

    async def _day(self, day: DayId, found: list[Due], held: set[RestoredDay], run: Run) -> None:
        run.at = str(day)
        left = {one.one.name: one.rows for one in found}
        try:
            async with self._proven(day) as proven:
                for one in found:
                    await self._class(one, proven, held, run, left)
                    del left[one.one.name]
                    run.finished += 1
        except NotProven as why:
            for name, rows in left.items():
                run.hold(day, name, rows, str(why))
                run.finished += 1

    @asynccontextmanager
    async def _proven(self, day: DayId) -> AsyncIterator[Proven | None]:
        async with nullcontext() if self.proof is None else self.proof.of(day) as proven:
            yield proven

    async def _class(
        self, one: Due, proven: Proven | None, held: set[RestoredDay], run: Run, left: dict[str, int]
    ) -> None:
        """left: class -> rows that are still there."""
        result: dict[str, Any] = {"site": one.day.group, "day": one.day.date, "class": one.one.name, "rows": 0}
        for part, rows in sorted(one.parts.items()):
            if RestoredDay(*part) in held:
                run.hold(one.day, one.one.name, rows, f"{part.node}/{part.device} was restored from the archive")
                continue
            tags = one.tags_of(part)
            if self.proof is not None and proven is not None:
                await self.proof.covers(proven, part, tags)
            counts = await self.removal.counts(part, tags)
            count = self.removal.count
            async for piece in pieces(counts, part.from_ms, part.to_ms, count, PIECE_ROWS, MOST_TAGS):
                names = tuple(tag.tag for tag in piece.tags)
                n = await self._cut(Cut(part, one.one.name, names, piece.from_ms, piece.to_ms), proven)
                if n and not result["rows"]:
                    run.results.append(result)
                result["rows"] += n
                left[one.one.name] -= n
                run.rows += n
                self.stats.counters["samples_removed"] += n

    async def _cut(self, cut: Cut, proven: Proven | None) -> int:
        async with self.writing:  # nobody stores one of these while they are counted and removed
            await self.removal.settle()
            if self.proof is not None and proven is not None:
                await self.proof.still(proven)
            await self.duty.check()
            of = cut.of
            if self.rollups is not None and self.rollups.lacking(DeviceId(of.node, of.device), of.from_ms, of.to_ms):
                raise NotProven(f"roll-ups of {of.node}/{of.device} are still being made from it; ask again later")
            return await self.removal.remove(cut)

    async def _forget_rollups(self) -> bool:
        """Whether all that are old enough are gone."""
        gone = True
        for level in self.choice.rollups if self.rollups is not None else ():
            if since_ms := self.choice.rollups_since_ms(level, self.now_ms()):
                assert self.rollups is not None
                gone &= await self.rollups.forget(level, since_ms)
        return gone

    def _tell(self, run: Run) -> None:
        late = [h for h in run.held if "restored" not in h["why"]]
        self.stats.counters["retention_days_held"] = len({(h["site"], h["day"]) for h in late})
        if run.rows:
            log.info("old samples are removed", extra={"samples": run.rows, "days": len(run.results)})
        told = [*run.problems, *(f"{h['site']} {h['day']} stays: {h['why']}" for h in late)]
        if not told:
            if self.stats.problems.pop("retention", None) is not None:
                log.info("what is due is removed again")
            return
        level = logging.DEBUG if "retention" in self.stats.problems else logging.WARNING
        more = f" and {len(told) - 3:,} more" if len(told) > 3 else ""
        self.stats.problems["retention"] = f"not everything that is due is removed: {'; '.join(told[:3])}{more}"
        log.log(level, "not everything that is due is removed", extra={"first": told[0][:300]})

    async def status(self) -> dict[str, Any]:
        """Raises StoreDown."""
        taken = await self.removal.taken()
        sites: dict[str, int] = {}
        for one in taken:
            sites[one.of.node.group] = sites.get(one.of.node.group, 0) + one.rows
        return {
            "classes": [{"name": one.name, "hot_days": one.hot_days} for one in self.choice.all_classes],
            "archive_first": self.proof is not None,
            "removed": sum(sites.values()),
            "sites": sites,
            "devices": [
                {
                    "gateway": str(one.of.node),
                    "device": one.of.device,
                    "class": one.name,
                    "rows": one.rows,
                    "from": DayId("", one.first_day).date,
                    "to": DayId("", one.last_day).date,
                }
                for one in taken
            ],
            "runs": [run.as_json() for run in self.runs.values()],
        }
