"""Roll-ups that outlive their rows, and are forgotten level by level: DuckDB in one file, and a real InfluxDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.duty import Duty
from cloud.retention.port import UNKNOWN_MS
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DAY_MS, TagId
from cloud.store.window_port import Rows
from cloud.store.windows import HOUR_MS, LEVELS, MINUTE_MS, QUARTER_MS, Windows
from tests.contract.rolling import FLOW, T0, Clock, Rolling, brute, flow, new_place, same
from tests.servers import InfluxDB
from wire.block import Sample
from wire.errors import LeaseLost, StoreDown

pytestmark = pytest.mark.no_cover  # the same windows over and over, as in test_rollups

D0 = T0 // DAY_MS * DAY_MS
D1, D2 = D0 + DAY_MS, D0 + 2 * DAY_MS
EVERY_MS = 100_000
PUMP = DeviceId(FLOW.node, FLOW.device)
FOUND = [flow(D0 + i * EVERY_MS, float(i % 89)) for i in range(2 * DAY_MS // EVERY_MS)]
"""Two days, and no minute holds two of them."""


@pytest.fixture(params=["duckdb", "influxdb"])
async def rolling(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rolling]:
    """With two days rolled up."""
    server = request.getfixturevalue("influxdb") if request.param == "influxdb" else None
    one = await Rolling(new_place(request.param, tmp_path, server), tmp_path / "state.db", Clock(D2 + HOUR_MS)).open()
    await one.keep(*FOUND)
    await one.roller.work()
    yield one
    await one.close()


async def removed(rolling: Rolling, tmp_path: Path) -> Rolling:
    """The same roll-ups in a store that has the rows of the first day no more."""
    empty = await Rolling(rolling.elsewhere(tmp_path), tmp_path / "new.db", rolling.clock).open()
    empty.since[FLOW] = D1
    await empty.keep(*(s for s in FOUND if s.ts_ms >= D1))
    await empty.roller.work()
    for level in LEVELS:
        await empty.store.windows.put(level, await rolling.store.windows.rolled_of(FLOW, 0, D1, level), 0)
    return empty


async def source(rolling: Rolling, from_ms: int, to_ms: int, points: int) -> tuple[str, int]:
    found = await rolling.store.series(*FLOW, from_ms, to_ms, points)
    return found.source, len(found.t)


async def test_roll_ups_before_a_time_are_forgotten_and_no_others(rolling: Rolling) -> None:
    await rolling.keep(flow(D0 + 1, 7.0))
    assert not await rolling.roller.forget("1m", D1), "one of them is still to be made"
    assert rolling.marks.kept_since_ms("1m") == 0
    await rolling.roller.work()
    before = {level: await rolling.kept(level) for level in LEVELS}
    assert await rolling.roller.forget("1m", D1)
    assert await rolling.kept("1m") == [w for w in before["1m"] if w.start_ms >= D1]
    for level in ("15m", "1h"):
        assert await rolling.kept(level) == before[level]
    again = await rolling.again()
    try:
        await again.marks.open()
        assert [again.marks.kept_since_ms(level) for level in LEVELS] == [D1, 0, 0]
        assert again.marks.days() == {}
        assert await again.roller.forget("1m", D0), "an earlier time changes nothing"
        assert again.marks.kept_since_ms("1m") == D1
    finally:
        await again.close()


async def test_nothing_is_forgotten_before_it_is_known_what_is_due(rolling: Rolling, tmp_path: Path) -> None:
    other = await Rolling(tmp_path / "other.duckdb", tmp_path / "other.db", rolling.clock).open()
    try:
        assert not await other.roller.forget("1m", D1)
        await other.marks.open()
        assert other.roller.lacking(PUMP, D0, D1)
        await other.roller.work()
        assert not other.roller.lacking(PUMP, D0, D1)
        await other.keep(flow(D0 + 5, 1.0))
        assert other.roller.lacking(PUMP, D0, D1)
        assert not other.roller.lacking(PUMP, D1, D2)
        assert not other.roller.lacking(PUMP._replace(device="other"), D0, D1)
    finally:
        await other.close()


async def test_rows_are_needed_until_the_last_of_their_windows_is_written(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, needed = rolling.store.windows, []
    put = windows.put

    async def watched(level: str, found: Windows, token: int) -> None:
        needed.append(rolling.roller.lacking(PUMP, D0, D1))
        assert not await rolling.roller.forget("1m", D1)
        await put(level, found, token)

    monkeypatch.setattr(windows, "put", watched)
    await rolling.keep(flow(D0 + 1, 7.0))
    await rolling.roller.work()
    assert needed == [True] * 3, "of an hour that was written to"
    await rolling.roller.rebuild(D0, D1)
    await rolling.roller.work()
    assert needed == [True] * len(needed), "of a whole day"
    assert len(needed) >= 6
    assert not rolling.roller.lacking(PUMP, D0, D1)


async def test_a_host_that_is_not_active_any_more_forgets_nothing(rolling: Rolling) -> None:
    class Lost(Duty):
        async def check(self) -> None:
            raise LeaseLost("another host is active")

    before = await rolling.kept("1m")
    rolling.roller.duty = Lost()
    with pytest.raises(LeaseLost):
        await rolling.roller.forget("1m", D1)
    assert await rolling.kept("1m") == before


async def test_where_rows_are_gone_a_chart_takes_a_coarser_level_than_the_forgotten_one(
    rolling: Rolling, tmp_path: Path
) -> None:
    old = await removed(rolling, tmp_path)
    try:
        assert await source(old, D0, D1, 1_000) == ("1m", 864)
        assert await old.roller.forget("1m", D1)
        assert (await source(old, D0, D1, 1_000))[0] == "15m"
        assert await source(old, D1, D2, 20_000) == ("raw", 864)
        for step_ms in (QUARTER_MS, HOUR_MS, 6 * HOUR_MS):
            assert same(await old.store.aggregates(*FLOW, D0, D2, step_ms), brute(FOUND, step_ms))
        assert await old.roller.forget("15m", D1)
        found = await old.store.series(*FLOW, D0, D1, 1_000)
        assert (found.source, found.t[0], len(found.t)) == ("1h", D0, 48)
        assert same(await old.store.aggregates(*FLOW, D0, D2, HOUR_MS), brute(FOUND, HOUR_MS))
        assert (await source(old, D0, D2, 1_000))[0] == "1h"
        assert (await source(old, D1, D2, 800))[0] == "1m"
    finally:
        await old.close()


async def test_where_rows_are_there_they_stand_for_what_is_forgotten(rolling: Rolling) -> None:
    for level in LEVELS:
        assert await rolling.roller.forget(level, D1)
        for step_ms in (MINUTE_MS, QUARTER_MS, HOUR_MS, 90_000):
            assert same(await rolling.store.aggregates(*FLOW, D0, D2, step_ms), brute(FOUND, step_ms))
    assert (await source(rolling, D0, D1, 800))[0] == "1m"
    assert (await source(rolling, D0 - 30 * DAY_MS, D1, 40))[0] == "1h"


async def test_within_a_window_of_removed_rows_the_whole_window_is_shown(rolling: Rolling, tmp_path: Path) -> None:
    old = await removed(rolling, tmp_path)
    try:
        first = brute(FOUND, MINUTE_MS)[0]
        for from_ms, to_ms in ((D0 + 10_000, D0 + 20_000), (D0 - 30_000, D0 + 30_000), (D0, D0 + 30_000)):
            found = await old.store.series(*FLOW, from_ms, to_ms, 100)
            assert (found.source, found.v) == ("1m", [first.last]), (from_ms, to_ms)
            assert same(await old.store.aggregates(*FLOW, from_ms, to_ms, MINUTE_MS), [first])
        hours = await old.store.aggregates(*FLOW, D0 + 10_000, D1 - 10_000, HOUR_MS)
        assert same(hours, brute(FOUND, HOUR_MS)[:24])
        # Beside them there are rows: they are exact again.
        hours = await old.store.aggregates(*FLOW, D1 - 10_000, D1 + 10_000, HOUR_MS)
        day = [s for s in FOUND if s.ts_ms >= D1 - HOUR_MS]
        assert same(hours, brute(day, HOUR_MS, to_ms=D1 + 10_000))
    finally:
        await old.close()


async def test_late_rows_of_a_day_whose_fine_roll_ups_are_forgotten_do_not_spoil_the_coarse_ones(
    rolling: Rolling,
) -> None:
    found: list[Sample] = [*FOUND]
    for level, late in (("1m", flow(D0 + 7 * HOUR_MS + 5, -50.0)), ("15m", flow(D0 + 9 * HOUR_MS + 5, 950.0))):
        assert await rolling.roller.forget(level, D1)
        found.append(late)
        await rolling.keep(late)
        await rolling.roller.work()
        same(await rolling.kept("1h"), brute(found, HOUR_MS))
        kept = {name: await rolling.kept(name) for name in LEVELS}
        assert min(w.start_ms for w in kept[level]) == D1, "what is forgotten is not made again"
        if level == "1m":
            same(kept["15m"], brute(found, QUARTER_MS))


async def test_late_rows_of_a_removed_day_whose_fine_roll_ups_are_forgotten_take_its_rows_from_elsewhere(
    rolling: Rolling, tmp_path: Path
) -> None:
    archive = await Rolling(tmp_path / "archive.duckdb", tmp_path / "archive.db").open()
    await archive.keep(*(s for s in FOUND if s.ts_ms < D1))
    old = await removed(rolling, tmp_path)
    try:
        assert await old.roller.forget("1m", D1)
        late = flow(D0 + 7 * HOUR_MS + 5, -50.0)
        await old.keep(late)
        await old.roller.work()  # nobody has the rows: the roll-ups stay as they are
        assert old.stats.counters["rollup_windows_left"] == 1
        same(await old.kept("1h"), brute(FOUND, HOUR_MS))
        old.roller.more = archive.store
        later = flow(late.ts_ms + 1, 951.0)
        await old.keep(later)
        await old.roller.work()
        wanted = [*FOUND, late, later]
        same(await old.kept("15m"), brute(wanted, QUARTER_MS))
        same(await old.kept("1h"), brute(wanted, HOUR_MS))
        assert old.stats.counters["rollup_windows_left"] == 1
    finally:
        await old.close()
        await archive.close()


async def test_a_chart_that_is_read_while_rows_are_removed_is_read_again(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, told = rolling.store.windows, []
    rows_of, computed_of = windows.rows_of, windows.computed_of

    async def none_left(tag: TagId, from_ms: int, to_ms: int, most: int) -> Rows:
        told.append(tag)
        rolling.since[FLOW] = D1
        return await rows_of(tag, 0, 1, most)

    monkeypatch.setattr(windows, "rows_of", none_left)
    found = await rolling.store.series(*FLOW, D0, D0 + HOUR_MS, 1_000)
    assert (found.source, len(found.t), len(told)) == ("1m", 36, 1)
    rolling.since.clear()

    async def nothing(tag: TagId, from_ms: int, to_ms: int, step_ms: int) -> object:
        told.append(tag)
        rolling.since[FLOW] = D1
        return await computed_of(tag, 0, 1, step_ms)

    monkeypatch.setattr(windows, "computed_of", nothing)
    hours = await rolling.store.aggregates(*FLOW, D0 + 1_000, D0 + HOUR_MS, HOUR_MS)
    assert same(hours, brute(FOUND, HOUR_MS)[:1])
    assert len(told) == 2


async def test_before_it_is_known_what_is_removed_charts_are_of_roll_ups(rolling: Rolling) -> None:
    rolling.since[FLOW] = UNKNOWN_MS
    found = await rolling.store.series(*FLOW, D0, D2 + 10_000, 96)
    assert (found.source, len(found.t)) == ("1h", 96)
    assert same(await rolling.store.aggregates(*FLOW, D0, D2 + 10_000, HOUR_MS), brute(FOUND, HOUR_MS))
    assert (await source(rolling, D0, D0 + HOUR_MS, 1_000))[0] == "1m"


async def test_what_could_not_be_forgotten_is_asked_for_again_and_nobody_relies_on_it_meanwhile(
    rolling: Rolling, influxdb: InfluxDB
) -> None:
    server, store = rolling.store, InfluxStore(InfluxHttp(influxdb.url, "no such database"), rolled=rolling.marks)
    rolling.roller.store = store
    with pytest.raises(StoreDown, match="does not delete"):
        await rolling.roller.forget("15m", D1)
    assert rolling.marks.kept_since_ms("15m") == D1
    await store.close()
    rolling.roller.store = server
    assert len(await rolling.kept("15m")) == 2 * 96
    assert same(await rolling.store.aggregates(*FLOW, D0, D2, QUARTER_MS), brute(FOUND, QUARTER_MS))
    assert await rolling.roller.forget("15m", D1)
    assert len(await rolling.kept("15m")) == 96
