"""A DuckDB file says what it takes, and is written anew without losing a row."""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.disk_command import told
from cloud.ledger import entry_of
from cloud.stats import Stats
from cloud.store import duck_care, duck_disk
from cloud.store.duck_care import DuckCare
from cloud.store.duck_disk import DiskUse, compact, disk_use
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.port import BatchKey
from tests.contract.test_stores import NODE, T0, batch, flow
from wire.block import Quality, Sample
from wire.errors import StoreDown
from wire.tag import Datatype

DAY_MS = 86_400_000
MANY = 1_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    found = EmbeddedStore(tmp_path / "it's.duckdb")
    await found.open()
    yield found
    await found.close()


async def filled(store: EmbeddedStore) -> EmbeddedLedger:
    """Rows of several tags and days, all kinds of values, and a ledger entry."""
    ledger = EmbeddedLedger(store.file)
    await ledger.open()
    rows = [flow(T0 + i * DAY_MS // 40, float(i)) for i in range(200)]
    rows += [
        Sample("note", Datatype.STRING, T0 + 5, Quality.GOOD, "a 'text'"),
        Sample("wide", Datatype.UINT64, T0 + 6, Quality.GOOD, 2**64 - 1),
        Sample("off", Datatype.BOOLEAN, T0 + 7, Quality.BAD, None),
    ]
    async with store.transaction():
        await store.write([batch(1, *rows)])
        await ledger.add([entry_of(batch(1, *rows))])
    return ledger


async def mostly_deleted(store: EmbeddedStore) -> None:
    async with store.transaction():
        await store.file.execute(
            "INSERT INTO samples SELECT 99, i, 192, 0, random(), NULL, NULL FROM range(?) AS t(i)", [MANY]
        )
    await store.file.execute("CHECKPOINT")
    async with store.transaction():  # behind it, so that the file cannot just be cut off
        await store.file.execute(
            "INSERT INTO samples SELECT 98, i, 192, 0, random(), NULL, NULL FROM range(?) AS t(i)", [MANY // 4]
        )
    await store.file.execute("CHECKPOINT")
    async with store.transaction():
        await store.file.execute("DELETE FROM samples WHERE series = 99")
    await store.file.execute("CHECKPOINT")


async def everything(store: EmbeddedStore) -> list[list[tuple[object, ...]]]:
    return [await store.file.read(f"SELECT * FROM {name} ORDER BY ALL") for name in ("samples", "series", "ledger")]


async def test_it_says_what_a_million_samples_take(store: EmbeddedStore) -> None:
    assert DiskUse(9_000_000, 1_000_000, 2_000_000).per_million == 4_000_000
    assert DiskUse(9_000_000, 1_000_000, 0).per_million is None
    await filled(store)
    use = await disk_use(store.file)
    assert use.rows == 203
    assert use.of_file == sum(p.stat().st_size for p in store.file.path.parent.iterdir())


async def test_compacting_keeps_every_row_and_gives_back_what_is_empty(store: EmbeddedStore) -> None:
    ledger = await filled(store)
    await mostly_deleted(store)
    was = await everything(store)
    before, after = await compact(store.file)
    assert before.empty > after.empty
    assert after.of_file < before.of_file / 2
    assert after.of_file == store.file.path.stat().st_size
    assert await everything(store) == was
    assert await ledger.known([BatchKey(NODE, "e1", 1)]) != {}
    assert [p.name for p in store.file.path.parent.iterdir()] == [store.file.path.name]


async def test_what_is_written_afterwards_is_in_the_new_file(store: EmbeddedStore) -> None:
    ledger = await filled(store)
    await compact(store.file)
    async with store.transaction():
        await store.write([batch(2, flow(T0 + 1, 77.0))])
        await ledger.add([entry_of(batch(2, flow(T0 + 1, 77.0)))])
    await store.close()
    await store.open()
    assert 77.0 in (await store.series(NODE, "pump-1", "flow", T0, T0 + 2)).v
    assert (await disk_use(store.file)).rows == 204


async def test_readers_and_writers_beside_it_see_a_whole_database(store: EmbeddedStore) -> None:
    await filled(store)
    done = asyncio.Event()
    counted: list[int] = []

    async def read() -> None:
        while not done.is_set():
            counted.append(sum((await store.count()).values()))

    async def write() -> int:
        for number in range(2, 32):
            async with store.transaction():
                await store.write([batch(number, flow(T0 + number * 1000 + 1, 1.0))])
            await asyncio.sleep(0)
        return 30

    readers = [asyncio.create_task(read()) for _ in range(3)]
    writing = asyncio.create_task(write())
    for _ in range(3):
        await compact(store.file)
    assert await writing == 30
    done.set()
    await asyncio.gather(*readers)
    assert min(counted) >= 203
    assert (await disk_use(store.file)).rows == 233


async def test_a_snapshot_that_is_open_is_waited_for(store: EmbeddedStore, tmp_path: Path) -> None:
    await filled(store)
    async with store.file.snapshot() as copy:
        compacting = asyncio.create_task(compact(store.file))
        await asyncio.sleep(0.2)
        assert not compacting.done()
        await copy(tmp_path / "copy.duckdb")
    await compacting
    assert (tmp_path / "copy.duckdb").exists()


async def test_who_reads_for_too_long_is_told_and_nothing_changes(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store)
    was = await everything(store)
    monkeypatch.setattr("cloud.store.duck_file.REPLACE_S", 0.1)
    async with store.file.snapshot():
        with pytest.raises(StoreDown, match=r"cannot be replaced: somebody reads for longer than 0\.1 s"):
            await compact(store.file)
    assert await everything(store) == was
    await compact(store.file)
    assert await everything(store) == was


async def test_without_room_on_the_disk_it_says_how_much_is_missing(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store)
    usage = shutil.disk_usage(store.file.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreDown, match=r"compacting needs [\d,]+ bytes of free disk, and there are 1,000"):
        await compact(store.file)


async def test_a_disk_that_fills_up_meanwhile_leaves_the_old_file(store: EmbeddedStore) -> None:
    await filled(store)
    async with store.transaction():
        await store.file.execute(
            "INSERT INTO samples SELECT 1, i, 192, 0, random(), NULL, NULL FROM range(?) AS t(i)", [MANY // 8]
        )
    was = await everything(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.file.path.stat().st_size // 2 + 300_000, hard))
    try:
        with pytest.raises(StoreDown):
            await compact(store.file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.open()
    assert await everything(store) == was
    await compact(store.file)
    assert await everything(store) == was


KILLED = """
import asyncio, os, signal, sys, traceback
from pathlib import Path
from uuid import uuid4
from cloud.store import duck_disk, duck_file
from cloud.store.duck_file import DuckFile

async def main(kill_at: int) -> int:
    file = DuckFile(Path(sys.argv[1]))
    await file.open()
    here = 0
    execute = file.execute

    def step() -> None:
        nonlocal here
        here += 1
        if here == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watched(sql, values=()):
        step()
        await execute(sql, values)
        step()

    synced = duck_disk._synced
    duck_disk._synced = lambda path: (step(), synced(path), step())
    file.execute = watched
    await duck_disk.compact(file)
    return here

for line in sys.stdin:  # each in a process of its own, which need not load DuckDB again
    child = os.fork()
    if child == 0:
        steps = 0
        try:
            steps = asyncio.run(main(int(line)))
        except Exception:
            traceback.print_exc()
        os._exit(steps)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


async def test_a_kill_at_any_step_leaves_a_whole_file(store: EmbeddedStore) -> None:
    await filled(store)
    was = await everything(store)
    path = store.file.path
    await store.close()
    steps = -9
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        for kill_at in range(1, 60, 3):
            killed.stdin.write(f"{kill_at}\n")
            killed.stdin.flush()
            steps = int(killed.stdout.readline())
            await store.open()
            assert await everything(store) == was, f"killed at step {kill_at}"
            await store.close()
            if steps != -9:
                break
        killed.stdin.close()
    assert steps >= 12
    await store.open()
    await compact(store.file)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


async def test_a_host_compacts_a_file_that_is_mostly_empty_by_itself(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duck_disk, "WORTH_BYTES", 100_000)
    monkeypatch.setattr(duck_care, "LOOK_S", 0.05)
    await filled(store)
    await mostly_deleted(store)
    assert (await disk_use(store.file)).worth_it
    care = DuckCare(store.file, Stats(started_s=0.0))
    caring = asyncio.create_task(care.run())
    async with asyncio.timeout(60):
        while care.last is None or care.last.worth_it:
            await asyncio.sleep(0.01)
    caring.cancel()
    await asyncio.gather(caring, return_exceptions=True)
    use = await disk_use(store.file)
    assert (use.rows, use.worth_it) == (203 + MANY // 4, False)


async def test_what_keeps_it_from_compacting_is_a_problem_that_is_shown(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duck_disk, "WORTH_BYTES", 100_000)
    monkeypatch.setattr(duck_care, "LOOK_S", 0.05)
    usage = shutil.disk_usage(store.file.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    await mostly_deleted(store)
    care = DuckCare(store.file, stats := Stats(started_s=0.0))
    caring = asyncio.create_task(care.run())
    async with asyncio.timeout(60):
        while "compacting" not in stats.problems:
            await asyncio.sleep(0.01)
    assert "bytes of free disk" in stats.problems["compacting"]
    caring.cancel()
    await asyncio.gather(caring, return_exceptions=True)


def test_a_person_is_told_what_a_million_takes_where_there_are_enough() -> None:
    use = {"bytes": 94_371_840, "empty_bytes": 3_145_728, "rows": 10_000_000, "bytes_per_million_samples": 9_122_611}
    assert told(use) == "94.4 MB, 3.1 MB of it empty; 10,000,000 samples, 9.1 MB a million"
    assert told(use | {"rows": 0, "bytes_per_million_samples": None}) == "94.4 MB, 3.1 MB of it empty; 0 samples"
