"""What the roll-ups of every store promise: DuckDB in one file, and a real InfluxDB."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from cloud.duty import Duty
from cloud.rollups.hours import SETTLE_MS
from cloud.state.schema import rollup_hours
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch, DeviceId, Series, StoredTag
from cloud.store.whole_rows import DAY_MS, TagId
from cloud.store.windows import HIGHEST_TOKEN, HOUR_MS, LEVELS, MINUTE_MS, Windows, windows_of
from tests.contract.rolling import FLOW, NODE, T0, Clock, Rolling, brute, flow, new_place, same
from tests.servers import InfluxDB
from wire.block import Quality, Sample
from wire.errors import ConfigError, LeaseLost, StoreDown
from wire.ids import NodeId
from wire.tag import Datatype


@pytest.fixture(params=["duckdb", "influxdb"])
async def rolling(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rolling]:
    server = request.getfixturevalue("influxdb") if request.param == "influxdb" else None
    one = await Rolling(new_place(request.param, tmp_path, server), tmp_path / "state.db", Clock()).open()
    yield one
    await one.close()


async def test_every_level_is_what_its_rows_come_to(rolling: Rolling) -> None:
    found = [flow(T0 + i * 7_000, float(i % 97) - 40.5) for i in range(700)]
    found[3] = flow(found[3].ts_ms, None)
    found[9] = flow(found[9].ts_ms, 1e300, Quality.UNCERTAIN)
    rolling.clock.ms = T0 + 3 * HOUR_MS
    await rolling.keep(*found)
    await rolling.roller.work()
    for level, step_ms in LEVELS.items():
        same(await rolling.kept(level), brute(found, step_ms))


async def test_texts_are_counted_and_numbers_of_any_type_are_numbers(rolling: Rolling) -> None:
    tags = {
        "say": [Sample("say", Datatype.STRING, T0 + i, Quality.GOOD, f"text {i}") for i in range(3)],
        "on": [Sample("on", Datatype.BOOLEAN, T0 + i, Quality.GOOD, i > 1) for i in range(4)],
        "i64": [Sample("i64", Datatype.INT64, T0 + i, Quality.GOOD, -(2**62) - i) for i in range(4)],
        "u64": [Sample("u64", Datatype.UINT64, T0 + i, Quality.UNCERTAIN, 2**64 - 1) for i in range(2)],
        "huge": [flow(T0 + i, 1.7e308, name="huge") for i in range(3)],
        "dead": [flow(T0, None, name="dead")],
    }
    for samples in tags.values():
        await rolling.keep(*samples)
    rolling.clock.ms = T0 + HOUR_MS + MINUTE_MS
    await rolling.roller.work()
    for name, samples in tags.items():
        tag = FLOW._replace(tag=name)
        for level, step_ms in LEVELS.items():
            same(await rolling.kept(level, tag), brute(samples, step_ms))
    assert rolling.marks.due() == []
    assert FLOW.node == NODE


async def test_late_and_corrected_rows_make_their_windows_anew(rolling: Rolling) -> None:
    found = [flow(T0 + i * 10_000, float(i)) for i in range(720)]
    rolling.clock.ms = T0 + 3 * HOUR_MS
    await rolling.keep(*found[:100], *found[130:])
    await rolling.roller.work()
    written = rolling.stats.counters["rollup_rows"]
    late = [*found[100:130], flow(T0 + 5, -1e6), flow(T0 + 6, None)]
    await rolling.keep(*late)
    assert await both(rolling, T0, T0 + 2 * HOUR_MS, [*found, *late])  # before they are rolled up
    await rolling.roller.work()
    for level, step_ms in LEVELS.items():
        same(await rolling.kept(level), brute([*found, *late], step_ms))
    # 5 minutes of late rows, and the first one: 6 minutes (and what lies between them), two quarters, an hour.
    assert rolling.stats.counters["rollup_rows"] - written <= 22 + 2 + 1
    if not isinstance(rolling.where, Path):  # InfluxDB writes over a row with the same stamp
        corrected = [flow(T0 + 20_000, 1e6), flow(T0 + 30_000, -7.5)]
        await rolling.keep(*corrected)
        await rolling.roller.work()
        for level, step_ms in LEVELS.items():
            same(await rolling.kept(level), brute([*found, *late, *corrected], step_ms))


async def both(rolling: Rolling, from_ms: int, to_ms: int, samples: list[Sample]) -> bool:
    """Aggregates by every step are what the rows come to."""
    for step_ms in (1_500, MINUTE_MS, 7 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS):
        if (to_ms - from_ms) // step_ms > 50_000:
            continue
        found = await rolling.store.aggregates(*FLOW, from_ms, to_ms, step_ms)
        assert same(found, brute(samples, step_ms, from_ms, to_ms)), step_ms
    return True


async def test_a_window_that_is_not_over_is_due_once_it_is(rolling: Rolling) -> None:
    found = [flow(T0 + i * 1_000, float(i)) for i in range(90)]
    rolling.clock.ms = T0 + 60_000 + SETTLE_MS - 1
    await rolling.roller.work()
    await rolling.keep(*found)
    await rolling.roller.work()
    assert await rolling.kept("1m") == []
    rolling.clock.ms += 1
    await rolling.roller.work()
    same(await rolling.kept("1m"), brute(found[:60], MINUTE_MS))
    assert await rolling.kept("15m") == []
    assert await both(rolling, T0, T0 + HOUR_MS, found)
    rolling.clock.ms = T0 + HOUR_MS + SETTLE_MS
    await rolling.roller.work()
    for level, step_ms in LEVELS.items():
        same(await rolling.kept(level), brute(found, step_ms))
    assert await marked(rolling) == 0


async def marked(rolling: Rolling) -> int:
    """Hours in the state."""
    return len(await rolling.db.run(lambda con: con.execute(select(rollup_hours)).all()))


async def test_marks_survive_a_process_that_is_gone(rolling: Rolling) -> None:
    found = [flow(T0 + i * 30_000, float(i)) for i in range(200)]
    rolling.clock.ms = T0 + 2 * HOUR_MS + SETTLE_MS
    await rolling.keep(*found[:100])
    await rolling.roller.work()
    await rolling.keep(*found[100:])
    new = await rolling.again()  # nothing is rolled up at the end of a process
    try:
        assert await both(new, T0, T0 + 2 * HOUR_MS, found)  # before its marks are read
        await new.roller.work()
        for level, step_ms in LEVELS.items():
            same(await new.kept(level), brute(found, step_ms))
        assert await both(new, T0, T0 + 2 * HOUR_MS, found)
        assert await marked(new) == 0
    finally:
        await new.close()


async def test_what_fails_in_the_middle_stays_due_and_is_read_from_rows(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [flow(T0 + i * 30_000, float(i)) for i in range(120)]
    rolling.clock.ms = T0 + 2 * HOUR_MS
    await rolling.roller.work()
    await rolling.keep(*found)
    put = rolling.store.windows.put

    async def fails(level: str, w: Windows, token: int) -> None:
        if level == "15m":
            raise StoreDown("the disk is full")
        await put(level, w, token)

    monkeypatch.setattr(rolling.store.windows, "put", fails)
    with pytest.raises(StoreDown):
        await rolling.roller.work()
    assert await both(rolling, T0, T0 + HOUR_MS, found)
    assert rolling.marks.due() != []
    monkeypatch.undo()
    await rolling.roller.work()
    assert rolling.marks.due() == []
    same(await rolling.kept("15m"), brute(found, LEVELS["15m"]))


async def test_a_database_from_before_there_were_rollups_is_worked_off_newest_first(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [flow(T0 + d * DAY_MS + i * 1_000_000, float(i)) for d in range(3) for i in range(20)]
    await rolling.write(Batch(NODE, "pump-1", tuple(found)))  # nobody marked it
    rolling.clock.ms = T0 + 4 * DAY_MS
    put, order = rolling.store.windows.put, []

    async def seen(level: str, w: Windows, token: int) -> None:
        if level == "1h":
            order.append(int(w.start_ms.max()) // DAY_MS)
        await put(level, w, token)

    monkeypatch.setattr(rolling.store.windows, "put", seen)
    assert await both(rolling, T0, T0 + 3 * DAY_MS, found)
    await rolling.roller.work()
    assert order == sorted(order, reverse=True)
    for level, step_ms in LEVELS.items():
        same(await rolling.kept(level), brute(found, step_ms))
    rolling.stats.counters.clear()
    new = await rolling.again()
    try:
        await new.roller.work()
        assert new.stats.counters["rollup_rows"] == 0  # it was looked through once
        assert await new.roller.rebuild(T0, T0 + 1) == 1
        await new.roller.work()
        assert new.stats.counters["rollup_rows"] > 0
        same(await new.kept("1h"), brute(found, HOUR_MS))
    finally:
        await new.close()


async def test_stamps_from_clocks_that_run_wild_end_as_days(rolling: Rolling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.rollups.marks.MOST_HOURS", 5)
    rolling.clock.ms = T0
    await rolling.roller.work()
    wild = [flow(T0 - i * 29 * DAY_MS, float(i)) for i in range(12)][::-1]
    future = [flow(T0 + 4_000 * DAY_MS, 7.0)]
    for sample in [*wild, *future]:
        await rolling.keep(sample)
    assert await marked(rolling) == 6  # five, and the one of now
    assert len(rolling.marks.days()) == 7
    assert await both(rolling, T0 - 900 * DAY_MS, T0 + DAY_MS, wild)
    rolling.clock.ms += HOUR_MS + SETTLE_MS
    await rolling.roller.work()
    same(await rolling.kept("1h"), brute([*wild, *future], HOUR_MS))
    assert rolling.marks.days() == {}
    assert await marked(rolling) == 0


async def test_a_spike_of_one_sample_is_seen_in_a_long_series(rolling: Rolling) -> None:
    n, step = 6_000, 60_000  # four days of a sample a minute
    values = [math.sin(i / 50) for i in range(n)]
    values[2_345] = 500.0
    rolling.clock.ms = T0 + n * step
    for i in range(0, n, 3_000):
        await rolling.keep(*(flow(T0 + j * step, values[j]) for j in range(i, i + 3_000)))
    await rolling.roller.work()
    series = await rolling.store.series(*FLOW, T0, T0 + n * step, points=300)
    assert series.source == "15m"
    assert 100 < len(series.t) <= 310
    assert series.t == sorted(set(series.t))
    assert max(v for v in series.v if v is not None) == 500.0
    at = series.t[series.v.index(500.0)]
    assert abs(at - (T0 + 2_345 * step)) <= LEVELS["15m"]
    assert set(series.q) == {Quality.GOOD}
    assert T0 + n * step - series.t[-1] <= MINUTE_MS  # the newest part is finer
    # late rows are seen at once, before anything is rolled up
    await rolling.keep(flow(T0 + 2 * DAY_MS + 1, -900.0))
    again = await rolling.store.series(*FLOW, T0, T0 + n * step, points=300)
    assert (again.source, min(v for v in again.v if v is not None)) == ("15m", -900.0)


async def test_the_source_follows_from_time_and_points(rolling: Rolling) -> None:
    n = 3_000
    rolling.clock.ms = T0 + n * 60_000
    await rolling.keep(*(flow(T0 + i * 60_000, float(i), Quality.UNCERTAIN) for i in range(n)))
    await rolling.roller.work()
    end = T0 + n * 60_000
    asked = {(T0, end, 20): "1h", (T0, end, 200): "15m", (T0, end, 2_000): "1m", (T0, end, 20_000): "raw"}
    for (from_ms, to_ms, points), source in asked.items():
        series = await rolling.store.series(*FLOW, from_ms, to_ms, points)
        assert series.source == source
        assert len(series.t) <= points + 10
        assert set(series.q) == {Quality.UNCERTAIN}
    # of a long time that is mostly empty the part with rows counts; few rows are shown as they are
    assert (await rolling.store.series(*FLOW, 0, 4_000_000_000_000, 200)).source == "15m"
    few = await rolling.store.series(*FLOW, 0, T0 + 5 * 60_000, 200)
    assert (few.source, few.t) == ("raw", [T0 + i * 60_000 for i in range(5)])
    assert await rolling.store.series(*FLOW, 0, T0, 200) == Series()


async def test_gaps_bad_rows_and_texts_in_a_series_of_rollups(rolling: Rolling) -> None:
    bad = [flow(T0 + i * 60_000, None) for i in range(60, 120)]
    good = [flow(T0 + i * 60_000, 1.0) for i in [*range(60), *range(240, 300)]]
    texts = [Sample("say", Datatype.STRING, T0 + i * 60_000, Quality.GOOD, "x") for i in range(300)]
    rolling.clock.ms = T0 + 10 * HOUR_MS
    await rolling.keep(*sorted([*good, *bad], key=lambda s: s.ts_ms))
    await rolling.keep(*texts)
    await rolling.roller.work()
    series = await rolling.store.series(*FLOW, T0, T0 + 5 * HOUR_MS, points=10)
    assert series.source == "1h"
    assert list(zip(series.t, series.v, series.q, strict=True)) == [
        (T0, 1.0, 192), (T0 + HOUR_MS, None, 0), (T0 + 4 * HOUR_MS, 1.0, 192)
    ]  # fmt: skip
    said = await rolling.store.series(*FLOW._replace(tag="say"), T0, T0 + 5 * HOUR_MS, points=10)
    assert set(zip(said.v, said.q, strict=True)) == {(None, 192)}


@given(st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_rows_in_any_order_by_any_window(rolling: Rolling, data: st.DataObject) -> None:
    tag = TagId(NODE, "pump-1", f"t{uuid4().hex}")
    stamps = data.draw(st.lists(st.integers(0, 3 * HOUR_MS - 1), min_size=1, max_size=60, unique=True))
    values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    samples = [flow(T0 + ts, data.draw(values), name=tag.tag) for ts in stamps]
    for part in data.draw(cuts(samples)):
        rolling.clock.ms = T0 + data.draw(st.integers(0, 5 * HOUR_MS))
        await rolling.keep(*part)
        if data.draw(st.booleans()):
            await rolling.roller.work()
    from_ms = T0 + data.draw(st.integers(-HOUR_MS, 2 * HOUR_MS))
    to_ms = from_ms + data.draw(st.integers(1, 3 * HOUR_MS))
    step_ms = data.draw(st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, 2 * HOUR_MS, 77_000]))
    found = await rolling.store.aggregates(*tag, from_ms, to_ms, step_ms)
    same(found, brute(samples, step_ms, from_ms, to_ms))
    rolling.clock.ms = T0 + 6 * HOUR_MS
    await rolling.roller.work()
    for level, length_ms in LEVELS.items():
        same(await rolling.kept(level, tag), brute(samples, length_ms))


def cuts(samples: list[Sample]) -> st.SearchStrategy[list[list[Sample]]]:
    places = st.lists(st.integers(0, len(samples)), max_size=3).map(lambda found: sorted({0, *found, len(samples)}))
    return places.map(lambda found: [samples[a:b] for a, b in pairwise(found)])


async def test_windows_that_lack_rows_are_left_or_made_from_elsewhere(rolling: Rolling, tmp_path: Path) -> None:
    found = [flow(T0 + i * 10_000, float(i)) for i in range(720)]
    archive = await Rolling(tmp_path / "archive.duckdb", tmp_path / "archive.db").open()
    rolling.clock.ms = T0 + 3 * HOUR_MS
    await archive.keep(*found[:363])
    await rolling.keep(*found[:363])
    await rolling.roller.work()
    before = await rolling.kept("1m")
    # the rows are deleted up to the middle of a minute; of the same database only the roll-ups stay
    empty = Rolling(rolling.elsewhere(tmp_path), tmp_path / "new.db", rolling.clock)
    empty.since[FLOW] = T0 + HOUR_MS + 30_000
    await empty.open()
    try:
        await empty.roller.work()
        await empty.keep(*found[363:])
        for level in LEVELS:
            await empty.store.windows.put(level, await rolling.store.windows.rolled_of(FLOW, 0, 2**42, level), 0)
        assert await empty.kept("1m") == before
        late = flow(T0 + 5, -50.0)
        await empty.keep(late)
        await empty.roller.work()
        assert empty.stats.counters["rollup_windows_left"] == 2
        assert (await empty.kept("1m"))[:61] == before
        minutes = await empty.store.aggregates(*FLOW, T0, T0 + 2 * HOUR_MS, MINUTE_MS)
        assert same(minutes, [*before, *brute(found[366:], MINUTE_MS)])
        same((await empty.kept("1h"))[:1], brute(found, HOUR_MS)[:1])
        same(await empty.store.aggregates(*FLOW, T0, T0 + HOUR_MS, HOUR_MS), brute(found, HOUR_MS)[:1])
        chart = await empty.store.series(*FLOW, T0, T0 + 2 * HOUR_MS, 1_000)
        assert (chart.source, chart.v[0], len(chart.t)) == ("1m", 0.0, 240)
        empty.roller.more = archive.store
        await empty.keep(late)
        await empty.roller.work()
        for level, step_ms in LEVELS.items():
            wanted = brute([*found, late], step_ms)
            same((await empty.kept(level))[: 60 if level == "1m" else 1], wanted[: 60 if level == "1m" else 1])
        assert empty.stats.counters["rollup_windows_left"] == 2
    finally:
        await empty.close()
        await archive.close()


async def test_every_tag_is_in_the_catalogue_with_its_ends(rolling: Rolling) -> None:
    await rolling.keep(flow(T0 + 5, 1.0), flow(T0 + 9, None))
    await rolling.keep(Sample("flow", Datatype.INT64, T0 + 7, Quality.GOOD, 1))
    await rolling.keep(Sample("say", Datatype.STRING, T0, Quality.GOOD, "x"), device="")
    await rolling.keep(Sample("f32", Datatype.FLOAT, T0 + 1, Quality.GOOD, 1.0), node=NodeId("plant", "gw-0"))
    assert await rolling.store.tags() == [
        StoredTag(NodeId("plant", "gw-0"), "pump-1", "f32", Datatype.FLOAT, T0 + 1, T0 + 1),
        StoredTag(NODE, "", "say", Datatype.STRING, T0, T0),
        StoredTag(NODE, "pump-1", "flow", Datatype.DOUBLE, T0 + 5, T0 + 9),
    ]


async def test_too_many_windows_are_refused(rolling: Rolling) -> None:
    with pytest.raises(ConfigError, match="at least 316 s"):
        await rolling.store.aggregates(*FLOW, T0 - 365 * DAY_MS, T0, 1_000)
    with pytest.raises(ConfigError):
        await rolling.store.aggregates(*FLOW, T0, T0 + 1, 0)
    assert await rolling.store.aggregates(*FLOW, T0, T0, 1_000) == []


class Turn(Duty):
    """Of one host among several."""

    def __init__(self, token: int, lost: bool = False) -> None:
        super().__init__()
        self.token, self.lost = token, lost

    def still(self) -> None:
        if self.lost:
            raise LeaseLost("another host is active")

    async def check(self) -> None:
        self.still()


async def test_what_an_earlier_owner_writes_late_is_never_seen(influxdb: InfluxDB, tmp_path: Path) -> None:
    found = [flow(T0 + i * 10_000, float(i)) for i in range(360)]
    where, clock = new_place("influxdb", tmp_path, influxdb), Clock(T0 + 2 * HOUR_MS)
    old = await Rolling(where, tmp_path / "state.db", clock, Turn(7)).open()
    await old.keep(*found[:200])
    await old.roller.work()
    stale = await old.store.windows.rolled_of(FLOW, T0, T0 + HOUR_MS, "1m")
    new = await Rolling(where, tmp_path / "state.db", clock, Turn(8)).open()
    try:
        await new.keep(*found[200:])
        await new.roller.work()
        for level in LEVELS:
            await old.store.windows.put(level, stale.coarser(LEVELS[level]), 7)
        for level, step_ms in LEVELS.items():
            same(await new.kept(level), brute(found, step_ms))
            same(await old.kept(level), brute(found, step_ms))
            parts = [w async for w in new.store.windows.rolled([DeviceId(NODE, "pump-1")], T0, T0 + HOUR_MS, level)]
            assert sum(len(w) for w in parts) == HOUR_MS // step_ms
    finally:
        await new.close()
        await old.close()


async def test_a_host_that_is_not_active_any_more_writes_no_rollup(rolling: Rolling) -> None:
    turn = Turn(3)
    new = await rolling.again(turn)
    new.clock.ms = T0 + 2 * HOUR_MS
    try:
        await new.roller.work()
        await new.keep(flow(T0, 1.0))
        turn.lost = True
        with pytest.raises(LeaseLost):
            await new.roller.work()
        assert await new.kept("1m") == []
        assert len(new.marks.due()) == 1
    finally:
        await new.close()


async def test_a_token_that_does_not_fit_beneath_a_millisecond_is_refused(influxdb: InfluxDB, tmp_path: Path) -> None:
    where, clock = new_place("influxdb", tmp_path, influxdb), Clock(T0 + 2 * HOUR_MS)
    one = await Rolling(where, tmp_path / "state.db", clock, Turn(HIGHEST_TOKEN)).open()
    try:
        await one.keep(flow(T0, 1.0))
        await one.roller.work()
        assert len(await one.kept("1m")) == 1
        one.roller.duty = Turn(HIGHEST_TOKEN + 1)
        await one.keep(flow(T0 + 1, 2.0))
        with pytest.raises(ConfigError, match="new database"):
            await one.roller.work()
        found = await one.store.aggregates(*FLOW, T0, T0 + HOUR_MS, HOUR_MS)
        same(found, brute([flow(T0, 1.0), flow(T0 + 1, 2.0)], HOUR_MS))
    finally:
        await one.close()


async def test_the_roller_runs_by_itself_tells_faults_and_goes_on(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.rollups.roller.EVERY_S", 0.02)
    monkeypatch.setattr("cloud.rollups.roller.AGAIN_S", 0.02)
    monkeypatch.setattr("cloud.rollups.roller.FIRST_S", 0.0)
    rolling.clock.ms = T0 + 2 * HOUR_MS
    await rolling.keep(flow(T0, 1.0))
    await rolling.store.close()  # as before the collector has opened it
    running = asyncio.create_task(rolling.roller.run())
    try:
        while "rollups" not in rolling.stats.problems:
            await asyncio.sleep(0.01)
        await rolling.store.open()
        while rolling.roller.status()["hours_due"] or "rollups" in rolling.stats.problems:
            await asyncio.sleep(0.01)
        assert len(await rolling.kept("1h")) == 1
        assert rolling.roller.status() == {
            "hours_due": 0, "days_due": 0, "oldest_due_s": 0, "rows": 6, "windows_left": 0, "problem": ""
        }  # fmt: skip
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_late_samples_while_a_day_is_computed_are_not_lost(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples written between the question to the database and its answer's place in it mark their windows anew."""
    monkeypatch.setattr("cloud.rollups.roller.EVERY_S", 0.0)  # between the pieces of a day, hours are looked after
    first, late = flow(T0, 1.0), flow(T0 + 1, 9.0)
    await rolling.write(Batch(NODE, "pump-1", (first,)))
    rolling.clock.ms = T0 + 2 * HOUR_MS
    put, kept = rolling.store.windows.put, False

    async def meanwhile(level: str, w: Windows, token: int) -> None:
        nonlocal kept
        if not kept:
            kept = True
            await rolling.keep(late)
        await put(level, w, token)

    monkeypatch.setattr(rolling.store.windows, "put", meanwhile)
    await rolling.roller.work()
    await rolling.roller.work()
    for level, step_ms in LEVELS.items():
        same(await rolling.kept(level), brute([first, late], step_ms))
    assert rolling.marks.due() == []


async def test_of_very_many_rows_the_database_makes_windows(rolling: Rolling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.store.chart.MOST_RAW", 100)
    found = [flow(T0 + i * 100, float(i % 50)) for i in range(2_000)]
    found[777] = flow(found[777].ts_ms, -1e9)
    await rolling.keep(*found)
    series = await rolling.store.series(*FLOW, T0, T0 + 200_000, 100)
    assert series.source == "raw"
    assert len(series.t) <= 110
    assert min(v for v in series.v if v is not None) == -1e9


async def test_rollups_that_the_database_refuses_are_told(influxdb: InfluxDB, tmp_path: Path) -> None:
    where, clock = new_place("influxdb", tmp_path, influxdb), Clock(T0 + 2 * HOUR_MS)
    one = await Rolling(where, tmp_path / "state.db", clock).open()
    try:
        http = InfluxHttp(influxdb.url, where[1] if isinstance(where, tuple) else "")
        await http.open()
        await http.write(f'rollup_1m,tag=x count="a text" {T0}')
        await http.close()
        await one.keep(flow(T0, 1.0))
        with pytest.raises(StoreDown, match="does another program write rollup_1m"):
            await one.roller.work()
        assert len(one.marks.due()) == 1
    finally:
        await one.close()


async def test_windows_that_the_database_would_delete_at_once_are_not_sent(influxdb: InfluxDB) -> None:
    http = InfluxHttp(influxdb.url, f"db {uuid4().hex}", retention_days=30)
    store = InfluxStore(http)
    await store.open()
    now_ms = time.time_ns() // 1_000_000
    stamps = np.array([now_ms - 40 * DAY_MS, now_ms - DAY_MS]) // HOUR_MS * HOUR_MS
    one, rank = np.ones(2), np.zeros(2, np.int64)
    w = windows_of([FLOW], rank, stamps, rank + Quality.GOOD, one, HOUR_MS)
    await store.windows.put("1h", w, 0)
    assert (await store.windows.rolled_of(FLOW, 0, now_ms, "1h")).start_ms.tolist() == [stamps[1]]
    await store.close()
