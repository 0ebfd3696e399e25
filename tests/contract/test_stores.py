"""What every store of samples and every ledger promises: DuckDB in one file, a real InfluxDB, a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ledger import LAST, Ledger, Numbers, Sums, entry_of
from cloud.state.db import StateDb
from cloud.state.ledger import SqlLedger
from cloud.store import whole_rows
from cloud.store.columns import sample_of
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch, BatchKey, DeviceId, TelemetryStore
from cloud.store.whole_rows import DAY_MS, ROWS, DayId, Of
from wire.block import Quality, Reason, Sample
from wire.columns import Columns, fields_of
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
T0 = 1_700_000_000_000


@dataclass
class Pair:
    store: TelemetryStore
    ledger: Ledger

    async def keep(self, *batches: Batch) -> None:
        async with self.store.transaction():
            refused = await self.store.write(batches)
            await self.ledger.add([entry_of(b) for b in batches])
        assert refused == []


@pytest.fixture(params=["duckdb", "influxdb", "influxdb and postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    if request.param == "duckdb":
        store = EmbeddedStore(tmp_path / "samples.duckdb")
        await store.open()
        ledger = EmbeddedLedger(store.file)
        await ledger.open()
        yield Pair(store, ledger)
        await store.close()
    else:
        server = request.getfixturevalue("influxdb")
        influx = InfluxStore(InfluxHttp(server.url, f"db {uuid4().hex}"))
        is_file = request.param == "influxdb"
        state = StateDb(tmp_path / "state.db" if is_file else request.getfixturevalue("postgres").new())
        await influx.open()
        await state.open()
        sql = SqlLedger(state)
        await sql.open()
        yield Pair(influx, sql)
        await influx.close()
        await state.close()


def batch(number: int, *found: Sample, device: str = "pump-1", epoch: str = "e1", **more: Any) -> Batch:
    first, last = (found[0].ts_ms, found[-1].ts_ms) if found else (T0, T0)
    return Batch(NODE, device, found, epoch, number, f"{number:032x}", first_ms=first, last_ms=last, **more)


def flow(ts_ms: int, value: float | None, name: str = "flow") -> Sample:
    quality = Quality.BAD if value is None else Quality.GOOD
    return Sample(name, Datatype.DOUBLE, ts_ms, quality, value)


EVERY_KIND = [
    Sample("f32", Datatype.FLOAT, T0, Quality.GOOD, 0.5),
    Sample("f64", Datatype.DOUBLE, T0, Quality.UNCERTAIN, -1e300, Reason.CLOCK_UNKNOWN),
    Sample("i8", Datatype.INT8, T0, Quality.GOOD, -128),
    Sample("u32", Datatype.UINT32, T0, Quality.GOOD, 2**32 - 1),
    Sample("i64", Datatype.INT64, T0, Quality.GOOD, -(2**63)),
    Sample("u64", Datatype.UINT64, T0, Quality.GOOD, 2**64 - 1),
    Sample("when", Datatype.DATETIME, T0, Quality.GOOD, T0),
    Sample("on", Datatype.BOOLEAN, T0, Quality.GOOD, True),
    Sample("off", Datatype.BOOLEAN, T0, Quality.GOOD, False),
    Sample("say", Datatype.STRING, T0, Quality.GOOD, 'a "b", c=\\d\nü 汉'),
    Sample("empty", Datatype.STRING, T0, Quality.GOOD, ""),
    Sample("dead", Datatype.FLOAT, T0, Quality.BAD, None, Reason.TIMEOUT),
]


async def test_every_datatype_comes_back_as_it_went(pair: Pair) -> None:
    await pair.keep(batch(1, *EVERY_KIND))
    back = {v.sample.name: v.sample for v in await pair.store.last_values()}
    assert back == {s.name: s for s in EVERY_KIND}
    assert await pair.store.count() == {DeviceId(NODE, "pump-1"): len(EVERY_KIND)}


async def test_last_values_are_the_newest_whatever_came_last(pair: Pair) -> None:
    await pair.keep(batch(2, flow(T0 + 10, 2.0)))
    await pair.keep(batch(1, flow(T0, 1.0)), batch(3, flow(T0 + 5, None)))
    (value,) = await pair.store.last_values()
    assert (value.node, value.device, value.sample) == (NODE, "pump-1", flow(T0 + 10, 2.0))


async def test_names_that_are_keywords_or_need_escapes(pair: Pair) -> None:
    odd = [flow(T0, 1.0, name) for name in ("tag", "value", "quality", "a b,c=d", "q\"uo'te", "back\\slash", "汉")]
    await pair.keep(batch(1, *odd, device="group"), batch(2, flow(T0, 3.0), device=""))
    assert {v.sample.name for v in await pair.store.last_values()} == {*(s.name for s in odd), "flow"}
    for s in odd:
        assert (await pair.store.series(NODE, "group", s.name, T0, T0 + 1)).v == [1.0], s.name
    assert (await pair.store.series(NODE, "", "flow", T0, T0 + 1)).v == [3.0]
    assert dict(await pair.store.count()) == {DeviceId(NODE, "group"): len(odd), DeviceId(NODE, ""): 1}


async def test_a_series_has_its_end_left_out_and_bad_samples_without_value(pair: Pair) -> None:
    await pair.keep(batch(1, flow(T0, 1.0), flow(T0 + 1, None), flow(T0 + 2, 3.0), flow(T0 + 3, 4.0)))
    found = await pair.store.series(NODE, "pump-1", "flow", T0, T0 + 3)
    assert (found.t, found.v, found.q, found.source) == ([T0, T0 + 1, T0 + 2], [1.0, None, 3.0], [192, 0, 192], "raw")
    assert (await pair.store.series(NODE, "pump-1", "no such", T0, T0 + 3)).t == []
    assert (await pair.store.series(NODE, "pump-1", "flow", T0 - 9, T0)).t == []


async def test_a_long_series_keeps_its_spike_and_its_hole(pair: Pair) -> None:
    values = [float(i % 7) for i in range(5000)]
    values[1234], values[4321] = 1e6, -1e6
    found = [flow(T0 + i, None if i == 3000 else v) for i, v in enumerate(values)]
    await pair.keep(batch(1, *found))
    series = await pair.store.series(NODE, "pump-1", "flow", T0, T0 + 5000, points=100)
    assert len(series.t) <= 110
    assert series.t == sorted(series.t)
    assert {1e6, -1e6, None} <= set(series.v)
    assert (series.t[0], series.t[-1]) == (T0, T0 + 4999)


async def test_known_names_stored_identities_of_one_device_and_time(pair: Pair) -> None:
    await pair.keep(batch(1, flow(T0, 1.0), flow(T0 + 5, 1.0, "level"), flow(T0 + 9, 1.0)))
    await pair.keep(batch(2, flow(T0, 1.0), device="pump-2"))
    assert await pair.store.known(NODE, "pump-1", T0, T0 + 5) == {("flow", T0), ("level", T0 + 5)}


async def test_the_ledger_knows_what_was_added_also_after_a_restart(pair: Pair) -> None:
    numbers = [1, 2, 3, 7, 9, 10]
    await pair.keep(*(batch(n, flow(T0 + n, 1.0), dead=1) for n in numbers))
    await pair.keep(batch(4, flow(T0 + 4, 1.0), epoch="e2", collided=2))
    for _ in range(2):
        keys = [BatchKey(NODE, "e1", n) for n in range(12)]
        assert await pair.ledger.known(keys) == {BatchKey(NODE, "e1", n): f"{n:032x}" for n in numbers}
        assert await pair.ledger.known([BatchKey(NodeId("plant", "gw-2"), "e1", 1)]) == {}
        assert await pair.ledger.sums(NODE, "e1", [(2, 3), (9, LAST)]) == {"pump-1": Sums(8, 4, 0)}
        assert await pair.ledger.sums(NODE, "e2", [(0, LAST)]) == {"pump-1": Sums(3, 0, 2)}
        assert await pair.ledger.sums(NODE, "e1", [(i, i) for i in range(5, 900, 2)]) == {"pump-1": Sums(4, 2, 0)}
        assert await pair.ledger.sums(NODE, "e2", []) == {}
        assert pair.ledger.epochs() == {(NODE, "e1"): 10, (NODE, "e2"): 4}
        assert await pair.ledger.collided() == {(NODE, "pump-1"): 2}
        await pair.ledger.open()


async def test_epochs_of_one_device_that_overlap_in_time_are_noticed(pair: Pair) -> None:
    await pair.keep(batch(1, flow(T0, 1.0), flow(T0 + 100, 1.0)))
    overlaps = pair.ledger.overlaps
    assert overlaps(NODE, "pump-1", "e2", T0 + 100, T0 + 200)
    assert not overlaps(NODE, "pump-1", "e2", T0 + 101, T0 + 200)
    assert not overlaps(NODE, "pump-1", "e1", T0 + 100, T0 + 200)
    assert not overlaps(NODE, "pump-2", "e2", T0, T0 + 200)


async def rows(pair: Pair, of: Of, from_ms: int, to_ms: int) -> list[tuple[str, str, Sample]]:
    """Through the whole way back: (node, device, sample) in the order of the batches."""
    found = []
    async for part in pair.store.samples(of, from_ms, to_ms):
        assert part.schema.equals(ROWS)
        for row in part.to_pylist():
            facts = [
                row[k] for k in ("tag", "datatype", "ts_ms", "quality", "reason", "value", "value_int", "value_text")
            ]
            assert row["group"] == of.group
            found.append((row["node"], row["device"], sample_of(*facts)))
    return found


async def test_whole_rows_come_back_exactly_and_sorted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    retyped = [
        Sample("f32", Datatype.INT32, T0 + 500, Quality.GOOD, 7),
        Sample("f32", Datatype.FLOAT, T0 + 600, Quality.GOOD, 1.5),
    ]
    await pair.keep(batch(1, *(replace_stamp(s, T0 + 100) for s in EVERY_KIND)), batch(3, *retyped))
    await pair.keep(
        batch(2, *EVERY_KIND), batch(4, flow(T0, 1.0), device=""), batch(5, flow(T0 - 1, 9.0), flow(T0 + 1000, 9.0))
    )
    kinds = [s._replace(ts_ms=ts) for s in EVERY_KIND for ts in (T0, T0 + 100)] + retyped
    wanted = [("gw-1", "", flow(T0, 1.0))] + [
        ("gw-1", "pump-1", s) for s in sorted(kinds, key=lambda s: (s.name, s.ts_ms))
    ]
    assert await rows(pair, Of("plant"), T0, T0 + 1000) == wanted
    for limit in ("MOST_ROWS", "MOST_ANSWERED"):  # one tag's rows are then halved by time
        monkeypatch.setattr(whole_rows, limit, 1)
    assert await rows(pair, Of("plant"), T0, T0 + 1000) == wanted
    one = Of("plant", "gw-1", "pump-1", "f32")
    assert [s.ts_ms - T0 for _, _, s in await rows(pair, one, T0, T0 + 600)] == [0, 100, 500]
    assert await rows(pair, Of("elsewhere"), 0, T0 * 2) == []
    assert await rows(pair, Of("plant"), 5, 6) == []


async def test_days_are_counted_per_group(pair: Pair) -> None:
    assert await pair.store.days() == {}
    night = (T0 // DAY_MS) * DAY_MS
    other = replace(batch(9, flow(night, 1.0)), node=NodeId("site b", "gw"))
    await pair.keep(batch(1, flow(night - 1, 1.0), flow(night, 1.0), flow(night + 5, None)), other)
    day = night // DAY_MS
    assert await pair.store.days() == {DayId("plant", day - 1): 1, DayId("plant", day): 2, DayId("site b", day): 1}
    assert DayId("plant", day).date == "2023-11-14"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=40))
def test_numbers_behave_like_a_set(added: list[tuple[int, int]]) -> None:
    numbers, model = Numbers(), set()
    for first, length in added:
        numbers.add(first, first + length)
        model |= set(range(first, first + length + 1))
    assert {n for n in range(70) if n in numbers} == model
    ranges = numbers.ranges()
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(ranges))


def test_an_entry_counts_every_sample_of_its_message() -> None:
    entry = entry_of(replace(batch(1, flow(T0, 1.0), flow(T0, 2.0)), dead=1, collided=3), refused=1)
    assert (entry.samples, entry.dead, entry.collided) == (6, 2, 3)


async def test_samples_by_columns_are_stored_like_single_ones(pair: Pair) -> None:
    def by_columns(number: int, found: list[Sample]) -> Batch:
        return replace(batch(number, *found), samples=Columns(fields_of(found), b"", plain=False, distinct=True))

    kinds = [replace_stamp(s, T0) for s in EVERY_KIND]
    for number in range(3):  # what was learned of the first serves the others
        await pair.keep(by_columns(number, [replace_stamp(s, T0 + number) for s in kinds]))
    numbers = [flow(T0 + 10, 1.5, "a"), Sample("b", Datatype.BOOLEAN, T0 + 11, Quality.GOOD, True)]
    await pair.keep(by_columns(3, numbers), by_columns(4, [flow(T0 + 12, None, "a"), numbers[1]]))
    retyped = [Sample(s.name, Datatype.INT32, T0 + 20, Quality.GOOD, 7) for s in numbers]
    await pair.keep(by_columns(5, retyped))
    assert await pair.store.rows(NODE, "pump-1", T0, T0 + 2) == 3 * len(kinds)
    found = {v.sample.name: v.sample for v in await pair.store.last_values()}
    assert [found[s.name] for s in kinds] == [replace_stamp(s, T0 + 2) for s in kinds]
    assert [found[s.name] for s in retyped] == retyped
    assert (await pair.store.series(NODE, "pump-1", "a", T0, T0 + 30)).v == [1.5, None, 7.0]


def replace_stamp(s: Sample, ts_ms: int) -> Sample:
    return s._replace(ts_ms=ts_ms)
