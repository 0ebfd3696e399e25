"""What only the DuckDB adapter promises: samples and ledger in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.ledger import entry_of
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.port import BatchKey
from tests.contract.test_stores import NODE, T0, batch, flow
from tests.wire.strategies import samples
from wire.block import Quality, Sample
from wire.errors import StoreDown


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    found = EmbeddedStore(tmp_path / "samples.duckdb")
    await found.open()
    yield found
    await found.close()


async def test_nothing_remains_of_a_transaction_that_failed(store: EmbeddedStore) -> None:
    ledger = EmbeddedLedger(store.file)
    await ledger.open()
    with pytest.raises(ZeroDivisionError):
        async with store.transaction():
            await store.write([batch(1, flow(T0, 1.0))])
            await ledger.add([entry_of(batch(1, flow(T0, 1.0)))])
            raise ZeroDivisionError
    assert await store.count() == {}
    assert await ledger.known([BatchKey(NODE, "e1", 1)]) == {}
    async with store.transaction():
        await store.write([batch(1, flow(T0, 2.0))])
        await ledger.add([])
    await store.close()
    await store.open()
    assert (await store.series(NODE, "pump-1", "flow", T0, T0 + 1)).v == [2.0]


async def test_a_file_that_is_no_database_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "samples.duckdb").write_bytes(b"not a database" * 1000)
    store = EmbeddedStore(tmp_path / "samples.duckdb")
    with pytest.raises(StoreDown, match=r"samples\.duckdb"):
        await store.open()
    with pytest.raises(StoreDown, match="not open"):
        await store.count()


async def test_before_its_series_are_known_nobody_is_told_that_there_are_none(store: EmbeddedStore) -> None:
    async with store.transaction():
        await store.write([batch(1, flow(T0, 1.0))])
    await store.close()
    young = EmbeddedStore(store.file.path)
    await young.file.open()
    with pytest.raises(StoreDown, match="is being opened"):
        await young.series(NODE, "pump-1", "flow", T0, T0 + 1)
    with pytest.raises(StoreDown, match="is being opened"):
        await young.windows.devices(NODE.group)
    await young.open()
    assert (await young.series(NODE, "pump-1", "flow", T0, T0 + 1)).v == [1.0]
    await young.close()


async def test_it_opens_again_after_a_fault_in_the_middle(store: EmbeddedStore) -> None:
    with pytest.raises(StoreDown):
        async with store.transaction():
            await store.write([batch(1, flow(T0, 1.0))])
            await store.file.execute("INSERT INTO no_such_table VALUES (1)")
    async with store.transaction():
        await store.write([batch(1, flow(T0, 1.0))])
    assert sum((await store.count()).values()) == 1


async def test_it_says_which_version_it_is(store: EmbeddedStore) -> None:
    assert duckdb.__version__ in store.about


@settings(max_examples=30)
@given(found=st.lists(samples(), min_size=1, max_size=30, unique_by=lambda s: s.name))
async def test_random_samples_come_back(tmp_path_factory: pytest.TempPathFactory, found: list[Sample]) -> None:
    store = EmbeddedStore(tmp_path_factory.mktemp("duck") / "x.duckdb")
    await store.open()
    async with store.transaction():
        assert await store.write([batch(1, *found)]) == []
    back = {v.sample.name: v.sample for v in await store.last_values()}
    await store.close()
    # A value that its sender calls BAD is not kept: a BAD row has none.
    assert back == {s.name: s._replace(value=None) if s.quality is Quality.BAD else s for s in found}


async def test_whoever_stops_waiting_leaves_the_file_usable(store: EmbeddedStore) -> None:
    """A cancelled write or read goes on in its thread: neither close nor the next call may meet it."""

    async def write(number: int) -> None:
        async with store.transaction():
            await store.write([batch(number, *(flow(T0 + number * 20_000 + i, 1.0) for i in range(20_000)))])

    for number in range(1, 20):
        waiting = asyncio.create_task(write(number))
        reading = asyncio.create_task(store.count())
        await asyncio.sleep(0.003 * (number % 7))
        waiting.cancel()
        reading.cancel()
        await asyncio.gather(waiting, reading, return_exceptions=True)
        assert sum((await store.count()).values()) % 20_000 == 0
    await write(99)
    assert await store.known(NODE, "pump-1", T0 + 99 * 20_000, T0 + 99 * 20_000) == {("flow", T0 + 99 * 20_000)}


async def test_a_query_that_nobody_waits_for_does_not_keep_the_file(store: EmbeddedStore) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
    asking = asyncio.create_task(store.file.read(endless))
    await asyncio.sleep(0.3)  # it has begun, or begins now
    asking.cancel()
    await asyncio.wait([asking])
    answering = asyncio.create_task(store.file.read(endless))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await store.close()
    assert not is_open(store.file.path)
    with pytest.raises(StoreDown):
        await answering


async def test_a_file_that_is_opened_for_nobody_any_more_is_closed_all_the_same(tmp_path: Path) -> None:
    for turns in range(4):
        store = EmbeddedStore(tmp_path / "samples.duckdb")
        opening = asyncio.create_task(store.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        await store.close()
        assert not is_open(store.file.path), turns


def is_open(path: Path) -> bool:
    """True while this process has the file open."""
    return any(entry.is_symlink() and entry.resolve() == path for entry in Path("/proc/self/fd").iterdir())
