"""With an archive nothing leaves the store that the archive does not have, sound and complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud.archive.manifest import folder_of
from cloud.duty import Duty
from cloud.retention.classes import RetentionChoice
from cloud.retention.embedded import EmbeddedRemoval
from cloud.retention.proof import Proof
from cloud.retention.retention import Retention, Run
from cloud.state.restored import RestoredDays
from cloud.store.embedded import EmbeddedStore
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DAY_MS
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NODE, NOON, Keeping, flow, keeping
from wire.errors import ConfigError, LeaseLost, StoreDown
from wire.ids import NodeId


@dataclass
class Case:
    k: Keeping
    retention: Retention

    async def run(self) -> Run:
        run = self.retention.ask()
        await self.retention.work(run)
        return run

    async def rows(self) -> int:
        return sum((await self.k.store.count()).values())


@asynccontextmanager
async def case(folder: Path) -> AsyncIterator[Case]:
    async with keeping(folder) as k:
        assert isinstance(k.store, EmbeddedStore)
        removal = EmbeddedRemoval(k.store.file)
        proof = Proof(k.folder, k.marks, k.store)
        a = k.archiver
        a.removal = removal
        yield Case(
            k,
            Retention(
                RetentionChoice(30), removal, proof, a.births, RestoredDays(k.db), a.writing, a.stats,
                lambda: k.now_ms + 60 * DAY_MS,
            ),
        )  # fmt: skip


async def test_a_day_goes_once_it_is_archived_and_sound(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        await c.k.write(flow(NOON, 1.0), flow(NOON + 1, 2.0))
        await c.k.write(flow(NEXT.from_ms, 3.0), device="fan")
        assert [h["why"] for h in (await c.run()).held] == ["it is not archived as it is now"] * 2
        await c.k.run()
        (file,) = (tmp_path / "archive" / folder_of(DAY)).glob("*.parquet")
        sound = file.read_bytes()
        file.write_bytes(sound[:-7])
        run = await c.run()
        assert (run.rows, len(run.held), await c.rows()) == (1, 1, 2)
        assert "is cut off" in run.held[0]["why"]
        assert "archive verify" in c.k.archiver.stats.problems["retention"]
        file.write_bytes(sound)
        run = await c.run()
        assert (run.rows, run.held, await c.rows()) == (2, [], 0)
        assert "retention" not in c.k.archiver.stats.problems
        assert c.k.archiver.stats.counters["samples_removed"] == 3
        assert c.k.archiver.stats.counters["retention_days_held"] == 0


@pytest.mark.parametrize("how", ["manifest", "parquet", "folder"])
async def test_a_day_whose_archive_is_gone_stays(tmp_path: Path, how: str) -> None:
    async with case(tmp_path) as c:
        await c.k.write(flow(NOON, 1.0))
        await c.k.run()
        for path in (tmp_path / "archive" / folder_of(DAY)).iterdir():
            if how == "folder" or path.name.startswith(how[:4]) or (how == "parquet" and path.suffix == ".parquet"):
                path.unlink()
        run = await c.run()
        assert (run.rows, await c.rows()) == (0, 1)
        assert run.held[0]["why"].startswith("it is not archived" if how != "parquet" else "part-")


async def test_a_day_that_the_archive_lacks_a_sample_of_stays_and_is_archived_anew(tmp_path: Path) -> None:
    """As after a backup of the state: the mark of a late sample is lost, the sample is not."""
    async with case(tmp_path) as c:
        await c.k.write(*EVERY_KIND, flow(NOON, 1.0))
        await c.k.run()
        await c.k.write(flow(NOON + 1, 2.0))
        await c.k.marks.clean(DAY, (await c.k.marks.marked())[DAY])
        run = await c.run()
        assert (run.rows, [h["why"] for h in run.held]) == (
            0, ["1 samples of plant/gw-1/pump-1 are not in the archive yet"],
        )  # fmt: skip
        assert DAY in await c.k.marks.marked()
        await c.k.run()
        assert (await c.run()).rows == len(EVERY_KIND) + 2


async def test_what_is_written_while_a_day_is_proven_keeps_it(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        await c.k.write(*(flow(NOON + i, 1.0, name) for name in ("a", "b") for i in range(3)))
        await c.k.run()
        assert c.retention.proof is not None

        class Meanwhile(Proof):
            async def covers(self, *given: Any) -> None:
                await Proof.covers(self, *given)
                await meanwhile()

        proof = c.retention.proof
        c.retention.proof = Meanwhile(proof.folder, proof.marks, proof.store)

        async def late() -> None:
            await c.k.write(flow(NOON + 9, 1.0))

        async def late_and_archived() -> None:
            await late()
            await c.k.run()

        meanwhile = late
        assert [h["why"] for h in (await c.run()).held] == ["it is not archived as it is now"]
        await c.k.run()
        c.k.now_ms += 1
        meanwhile = late_and_archived
        run = await c.run()
        assert (run.rows, await c.rows()) == (0, 8)
        assert run.held[0]["why"] in ("it was archived anew meanwhile", "it is not archived as it is now")


async def test_large_days_go_in_pieces_and_a_lost_duty_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.retention.retention.PIECE_ROWS", 7)

    class Once(Duty):
        left = 3

        async def check(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise LeaseLost("another host has taken the place of this one")

    async with case(tmp_path) as c:
        await c.k.write(*(flow(NOON + i, 1.0, name) for name in ("a", "b") for i in range(20)))
        await c.k.run()
        c.retention.duty = Once()
        with pytest.raises(LeaseLost):
            await c.run()
        left = await c.rows()
        assert 40 - 3 * 7 <= left < 40
        c.retention.duty = Duty()
        assert (await c.run()).rows == left
        totals = await c.retention.removal.totals()
        assert sum(totals.values()) == 40


async def test_what_is_away_is_a_problem_and_no_end(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        await c.k.write(flow(NOON, 1.0))
        await c.k.run()

        async def away() -> Any:
            raise StoreDown("the state is away")

        births, c.retention.births = c.retention.births, away
        run = await c.run()
        assert (run.problems, run.done) == (["the state is away"], True)
        assert "the state is away" in c.k.archiver.stats.problems["retention"]
        c.retention.births = births
        assert (await c.run()).rows == 1


class RollUps:
    """busy: a window of the day is being made. fault: raised by `work`. forgets: whether it can now."""

    def __init__(self) -> None:
        self.busy, self.forgets = False, True
        self.fault: Exception | None = None
        self.deleted: list[tuple[str, int]] = []

    async def work(self) -> None:
        if self.fault is not None:
            raise self.fault

    def lacking(self, of: DeviceId, from_ms: int, to_ms: int) -> bool:
        return self.busy

    async def forget(self, level: str, before_ms: int) -> bool:
        self.deleted.append((level, before_ms))
        return self.forgets


async def test_samples_stay_as_long_as_roll_ups_are_made_of_them(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        await c.k.write(flow(NOON, 1.0))
        await c.k.run()
        c.retention.rollups = rollups = RollUps()
        rollups.fault = ConfigError("the lease has changed hands too often")
        assert (await c.run()).problems == ["the lease has changed hands too often"]
        rollups.fault, rollups.busy = None, True
        run = await c.run()
        assert run.rows == 0
        assert [h["why"] for h in run.held] == [
            "roll-ups of plant/gw-1/pump-1 are still being made from it; ask again later"
        ]
        assert await c.rows() == 1
        rollups.busy = False
        assert (await c.run()).rows == 1


async def test_roll_ups_that_cannot_be_forgotten_yet_are_looked_at_again_the_same_day(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        c.retention.rollups = rollups = RollUps()
        c.retention.choice = RetentionChoice(30, rollups={"1m": 400})
        rollups.forgets = False
        await c.run()
        assert c.retention.is_time
        rollups.forgets = True
        await c.run()
        assert not c.retention.is_time
        assert len(rollups.deleted) == 2


async def test_other_hosts_sites_and_roll_ups_that_are_kept_are_left_alone(tmp_path: Path) -> None:
    async with case(tmp_path) as c:
        await c.k.write(flow(NOON, 1.0))
        await c.k.write(flow(NOON, 1.0), node=NodeId("other", "gw-1"))
        await c.k.run()
        c.retention.duty = Duty(("other",))
        c.retention.rollups = levels = RollUps()
        c.retention.choice = RetentionChoice(30, rollups={"1m": 400, "1h": None})
        assert (await c.run()).rows == 1
        assert set(await c.k.store.count()) == {(NODE, "pump-1")}
        assert levels.deleted == [("1m", (c.retention.now_ms() // DAY_MS - 400) * DAY_MS)]
