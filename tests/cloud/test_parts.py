"""The host's pure parts: screening, rebirths, figures, live values, the balance."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cloud.audit import Facts, balance_of
from cloud.balance import Counts
from cloud.counters import EpochSaid, parse_counters, parse_record
from cloud.dead_letters import DeadLetters, Letter
from cloud.host import intervals
from cloud.ledger import Index, LedgerEntry, Sums
from cloud.live import LiveValues
from cloud.pending import Pending, weight
from cloud.rebirths import LONGEST_MS, SHORTEST_MS, Rebirths
from cloud.screen import digest_fits, screened, unfit, whole_batch
from cloud.state.db import StateDb
from cloud.state.host import EpochCounters, HostState
from cloud.stats import Reservoir, Stats
from cloud.store.port import BatchKey, DeviceId, Series
from tests.cloud.small_gateway import T0, row
from wire.block import Quality, Reason, Sample
from wire.delivery import BatchTag, batch_digest
from wire.errors import PayloadError, StoreDown
from wire.host_events import Data
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
KEY = BatchKey(NODE, "e1", 4)


def keyed(*samples: Sample) -> Data:
    tag = BatchTag("e1", 4, len(samples), batch_digest(NODE, "pump", "e1", 4, samples))
    return Data(NODE, "pump", samples, tag, False, True)


def test_the_digest_covers_names_and_values() -> None:
    data = keyed(row(T0, 1.0))
    assert digest_fits(data)
    assert not digest_fits(data._replace(samples=(row(T0, 1.0, "level"),)))
    assert not digest_fits(data._replace(samples=()))
    assert not digest_fits(data._replace(batch=None))


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (row(T0, float("inf")), "finite"),
        (row(0, 1.0), "timestamp"),
        (row(T0, 1.0, "a\nb"), "name"),
        (row(T0, 1.0, "a\\"), "name"),
        (row(T0, 1.0, ""), "name"),
        (Sample("t", Datatype.STRING, T0, Quality.GOOD, "x" * 60_001), "longer"),
        (Sample("t", Datatype.STRING, T0, Quality.GOOD, "x" * 60_000), ""),
        (row(T0, 1.0), ""),
    ],
)
def test_what_no_database_can_hold(sample: Sample, why: str) -> None:
    assert why in unfit(sample)
    assert bool(unfit(sample)) == bool(why)


def test_a_message_is_screened_sample_by_sample() -> None:
    one = screened(keyed(row(T0, 1.0), row(T0, float("nan"), "level"), row(T0, 2.0), row(T0 + 5, 3.0)), T0)
    assert one.batch.samples == (row(T0, 1.0), row(T0 + 5, 3.0))
    assert (one.batch.dead, one.batch.collided, one.batch.first_ms, one.batch.last_ms) == (1, 1, T0, T0 + 5)
    assert [(x.position, x.tag, x.key) for x in one.letters] == [(1, "level", KEY)]
    with pytest.raises(ValueError, match="without key"):
        whole_batch(keyed()._replace(batch=None), "x")


def test_rebirths_are_spread_and_rarer_for_those_who_do_not_answer() -> None:
    rebirths = Rebirths(lambda: 0.5)
    rebirths.want(NODE, 1000)
    rebirths.want(NODE, 1100)
    assert rebirths.due(1249) == []
    assert rebirths.due(1250) == [NODE]
    asked = [1250]
    for now_ms in range(1300, 2_000_000, 250):
        rebirths.want(NODE, now_ms)
        asked += [now_ms for _ in rebirths.due(now_ms)]
    pauses = [b - a for a, b in pairwise(asked)]
    assert pauses[0] >= SHORTEST_MS
    assert pauses == sorted(pauses)
    assert LONGEST_MS <= pauses[-1] < LONGEST_MS + 1000
    rebirths.born(NODE, 3_000_000)
    rebirths.want(NODE, 3_000_100)
    assert rebirths.due(3_000_000 + SHORTEST_MS - 1) == []
    assert rebirths.due(3_000_000 + SHORTEST_MS + 250) == [NODE]


def test_rebirths_do_not_remember_nodes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.rebirths.MOST_NODES", 3)
    rebirths = Rebirths(lambda: 0.0)
    for i in range(10):
        rebirths.want(NodeId("g", str(i)), 0)
    assert [n.node for n in rebirths.due(0)] == ["7", "8", "9"]


def test_the_reservoir_is_a_fair_choice_and_bounded() -> None:
    reservoir = Reservoir(500)
    assert reservoir.percentile(50) is None
    for start in range(0, 100_000, 777):
        reservoir.add([float(x) for x in range(start, min(100_000, start + 777))])
    assert reservoir.n == 100_000
    assert reservoir.percentile(50) == pytest.approx(50_000, rel=0.15)
    assert reservoir.percentile(99) == pytest.approx(99_000, rel=0.03)
    few = Reservoir()
    few.add([1.0, 2.0, 3.0])
    assert few.percentile(50) == 2.0


def test_the_rate_looks_back_ten_seconds() -> None:
    stats = Stats(started_s=0.0)
    for second in range(100):
        stats.stored(50, float(second))
    assert stats.stored_per_s(99.0) == pytest.approx(55)
    assert stats.stored_per_s(200.0) == 0
    assert stats.counters["samples_stored"] == 5_000
    assert stats.latency() == {"p50": None, "p99": None, "n": 0}


async def test_what_waits_keeps_its_order_and_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.pending.MOST_PENDING", 10)
    monkeypatch.setattr("cloud.pending.MOST_IN_ROUND", 4)
    pending = Pending()
    messages = [keyed(row(T0 + i, 1.0), row(T0 + i, 2.0)) for i in range(6)]
    assert [pending.put(m) for m in messages] == [True] * 5 + [False]
    first = pending.take()
    assert first == messages[:2]
    pending.put_back(first)
    assert [pending.take(), pending.take(), pending.take()] == [messages[:2], messages[2:4], messages[4:5]]
    assert (pending.room_taken, pending.filled.is_set()) == (0, False)
    text = keyed(Sample("t", Datatype.STRING, T0, Quality.GOOD, "x" * 6_400))
    assert weight(text) == 101
    assert pending.put(text)  # alone it fits, however large
    assert not pending.put(messages[0])


async def test_a_round_collects_for_its_time_and_backlog_only_until_it_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.pending.ENOUGH", 6)
    pending = Pending()
    slept: list[float] = []
    comes: list[Data] = []

    async def sleep(wait_s: float) -> None:
        slept.append(wait_s)
        if comes:
            pending.put(comes.pop())

    monkeypatch.setattr("cloud.pending.asyncio.sleep", sleep)
    live = keyed(row(T0, 1.0), row(T0, 2.0))
    pending.put(live)
    await pending.collect(0.1, 0.04)
    assert slept == pytest.approx([0.04, 0.04, 0.02])
    slept.clear()
    late = live._replace(historical=True)
    comes = [late]
    await pending.collect(0.1, 0.04)
    assert (slept, pending.room_taken) == ([0.04, 0.04], 4)
    pending.put_back([late])
    slept.clear()
    await pending.collect(0.1, 0.04)
    assert slept == []  # there is enough
    assert len(pending.take()) == 3
    pending.put(live)
    await pending.collect(0.1, 0.04)
    assert len(slept) == 3  # what waits now is live


def test_a_batch_without_stored_samples_reaches_nowhere() -> None:
    index = Index()
    index.add([LedgerEntry(KEY, "pump", "", 3, 3, 0, 0, 0)])
    assert index.holds(KEY)
    assert not index.overlaps(NODE, "pump", "e2", 0, T0)


def test_anomalies_are_runs_of_true() -> None:
    series = Series([1, 2, 3, 4, 5, 6, 7], [0.0, 1.0, None, 1.0, 0.0, 0.0, 1.0], [192] * 7)
    assert list(intervals(series)) == [(2, 4), (7, 7)]
    assert list(intervals(Series())) == []


class TestLive:
    TAGS = (
        ("flow", Datatype.DOUBLE, {"engUnit": "bar", "asset": "p", "assetName": "Pump", "assetKind": "machine"}),
        ("score", Datatype.DOUBLE, {"measures": "score", "asset": "p"}),
        ("share/flow", Datatype.DOUBLE, {"measures": "share", "asset": "p"}),
    )

    def live(self) -> LiveValues:
        live = LiveValues()
        live.born(NODE, "dev", self.TAGS)
        live.born(NODE, "bare", [("x", Datatype.DOUBLE, {})])
        return live

    def test_assets_gather_their_tags(self) -> None:
        bare, pump = self.live().assets()
        assert (bare.id, bare.kind, bare.name) == ("bare", "other", "bare")
        assert (pump.id, pump.kind, pump.name) == ("p", "machine", "Pump")
        assert pump.score is not None
        assert (pump.score.name, pump.threshold, pump.anomaly) == ("score", None, None)
        assert list(pump.shares) == ["flow"]

    def test_a_score_device_without_names_belongs_to_the_asset_that_it_is_named_after(self) -> None:
        live = self.live()
        live.born(NODE, "p", [("threshold", Datatype.DOUBLE, {"measures": "threshold"})])
        pump = next(a for a in live.assets() if a.id == "p")
        assert pump.threshold is not None

    def test_older_values_do_not_replace_newer_ones_unless_those_lie_in_the_future(self) -> None:
        live = self.live()
        live.update(NODE, "dev", [row(T0, 1.0), row(T0 - 1, 2.0), row(T0, 9.0, "unknown")])
        assert [t.value for t in live.changed(0)] == [1.0]
        live.update(NODE, "dev", [row(T0 + 99, 3.0)], T0)
        live.update(NODE, "dev", [row(T0 + 1, 4.0)], T0 + 1)
        assert [t.value for t in live.changed(0)] == [4.0]
        live.update(NODE, "nobody", [row(T0, 1.0)])

    def test_a_value_that_is_no_number_is_bad(self) -> None:
        live = self.live()
        live.update(NODE, "dev", [row(T0, float("nan"))])
        (tag,) = live.changed(0)
        assert (tag.value, tag.quality, tag.reason) == (None, Quality.BAD, Reason.NOT_A_NUMBER)
        json.dumps(tag.value, allow_nan=False)

    def test_a_retyped_or_removed_tag_starts_anew(self) -> None:
        live = self.live()
        live.update(NODE, "dev", [row(T0, 1.0)])
        live.born(NODE, "dev", [("flow", Datatype.INT32, {})])
        assert [(t.name, t.value) for t in live.tags() if t.device == "dev"] == [("flow", None)]

    def test_restored_values_never_replace_heard_ones(self) -> None:
        live = self.live()
        live.restore(NODE, "dev", row(T0 - 5, 7.0))
        live.restore(NODE, "dev", row(T0 - 5, 7.0, "gone"))
        (tag,) = live.changed(0)
        assert (tag.value, tag.reason) == (7.0, Reason.STALE)
        live.update(NODE, "dev", [row(T0, 1.0)])
        live.restore(NODE, "dev", row(T0 + 5, 8.0))
        assert (tag.value, tag.reason) == (1.0, Reason.NONE)
        live.stale(NODE, "dev")
        assert (tag.value, tag.reason) == (1.0, Reason.STALE)


def said(number: int = 10, unconfirmed: tuple[tuple[int, int], ...] = (), **counts: int) -> EpochSaid:
    return EpochSaid.model_validate(
        {"epoch": "e1", "number": number, "devices": {"d": counts}, "unconfirmed": list(unconfirmed)}
    )


class TestBalance:
    """The arithmetic of the audit, one rule at a time."""

    FACTS = Facts(gateways={NODE}, rows={DeviceId(NODE, "d"): 100})

    def of(self, facts: Facts) -> Counts:
        return balance_of(facts).devices[NODE, "d"]

    def test_nothing_is_a_remainder(self) -> None:
        facts = replace(self.FACTS, said={(NODE, "e1"): said(produced=120, in_flight=5)})
        assert self.of(facts) == Counts(produced=120, stored=100, in_flight=5)
        assert self.of(facts).lost == 15
        assert not balance_of(facts).ok

    def test_rows_newer_than_the_counters_are_taken_out(self) -> None:
        facts = replace(self.FACTS, said={(NODE, "e1"): said(produced=90)}, above={(NODE, "e1"): {"d": Sums(12, 2, 0)}})
        assert self.of(facts) == Counts(produced=90, stored=90)

    def test_an_epoch_without_counters_is_newer_than_all(self) -> None:
        facts = replace(self.FACTS, above={(NODE, "e9"): {"d": Sums(100, 0, 0), "": Sums(3, 0, 0)}})
        assert self.of(facts) == Counts()

    def test_what_the_ledger_holds_is_not_in_flight(self) -> None:
        counters = said(produced=105, in_flight=15, unconfirmed=((3, 4),))
        facts = replace(self.FACTS, said={(NODE, "e1"): counters}, settled={(NODE, "e1"): {"d": Sums(10, 0, 0)}})
        assert self.of(facts) == Counts(produced=105, stored=100, in_flight=5)

    def test_dropped_batches_that_the_ledger_holds_are_stored(self) -> None:
        facts = replace(
            self.FACTS, said={(NODE, "e1"): said(produced=103, dropped=8)}, evicted=[(NODE, "d", Sums(5, 0, 0))]
        )
        assert self.of(facts) == Counts(produced=103, stored=100, dropped=3)

    def test_collided_samples_count_where_they_were_found(self) -> None:
        facts = replace(self.FACTS, said={(NODE, "e1"): said(produced=104)}, collided={(NODE, "d"): 4})
        assert self.of(facts) == Counts(produced=104, stored=100, collided=4)

    def test_a_conflict_is_a_dead_letter_and_not_in_flight(self) -> None:
        counters = said(produced=103, in_flight=3, unconfirmed=((4, 4),))
        facts = replace(self.FACTS, said={(NODE, "e1"): counters}, batch_letters={(KEY, "d"): 3})
        assert self.of(facts) == Counts(produced=103, stored=100, dead_letters=3)
        parked = said(produced=103, parked=3)
        assert self.of(replace(facts, said={(NODE, "e1"): parked})).dead_letters == 3
        assert self.of(replace(facts, said={(NODE, "e1"): said(3, produced=100)})).dead_letters == 0

    def test_sample_letters_newer_than_the_counters_do_not_count_yet(self) -> None:
        facts = replace(self.FACTS, said={(NODE, "e1"): said(3, produced=100)}, sample_letters={(KEY, "d"): 2})
        assert self.of(facts).dead_letters == 0

    def test_rows_of_others_are_told_apart(self) -> None:
        other = NodeId("else", "x")
        balance = balance_of(Facts(rows={DeviceId(other, "d"): 3, DeviceId(other, ""): 2}))
        assert (balance.strangers, balance.devices, balance.ok) == (5, {}, True)

    def test_the_json_names_every_figure(self) -> None:
        figures = {(NODE, "duplicates"): 4, (NODE, "duplicates/d"): 3}  # the fourth was a record of the gateway
        facts = replace(self.FACTS, said={(NODE, "e1"): said(produced=100, suppressed=1)}, figures=figures)
        found = balance_of(facts).as_json()
        wanted = "ok produced suppressed refused stored dead_letters dropped in_flight collided duplicates gaps lost"
        assert set(wanted.split()) <= set(found)
        assert json.loads(json.dumps(found))["devices"]["plant/gw-1/d"]["stored"] == 100
        assert (found["ok"], found["duplicates"]) == (True, 4)
        assert (found["devices"]["plant/gw-1/d"]["duplicates"], found["gateways"]["plant/gw-1"]["duplicates"]) == (3, 4)


HUGE = 10**22  # beyond the 64 bits of a database


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"epochs": 1}', '{"epochs": [{"epoch": ""}]}', '{"epochs": [{}]}',
     f'{{"epochs": [{{"epoch": "e", "unconfirmed": [[1, {HUGE}]]}}]}}',
     '{"epochs": [{"epoch": "e", "unconfirmed": [[-1, 1]]}]}'],
)  # fmt: skip
def test_counters_that_cannot_be_read(text: str) -> None:
    with pytest.raises(PayloadError, match="counters"):
        parse_counters(text)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '"x"', "[" * 5_000, '{"kind": "drop"}', '{"kind": "epoch_closed"}', '{"kind": "\\ud800"}',
     '{"kind": "gap", "x": NaN}', '{"kind": "gap", "x": 1e999}', '{"kind": "gap", "x": "\\ud800"}',
     '{"kind": "gap", "x": ' + "[" * 30 + "]" * 30 + "}", '{"kind": "gap", "x": ' + "[" * 900 + "]" * 900 + "}",
     '{"kind": "thin", "epoch": "e", "device": "d", "batches": [["5.0", 2, 1, null]]}',
     '{"kind": 1}', f'{{"kind": "drop", "epoch": "e", "numbers": [[1, {HUGE}]], "device": "d", "samples": 1}}'],
)  # fmt: skip
def test_records_that_cannot_be_read(text: str) -> None:
    with pytest.raises(PayloadError, match="record"):
        parse_record(text)


def test_a_record_of_a_kind_that_is_newer_than_we_is_kept() -> None:
    assert parse_record('{"kind": "moon", "x": 1}') == ("moon", {"kind": "moon", "x": 1})


class TestState:
    async def test_it_is_there_after_a_restart(self, tmp_path: Path) -> None:
        for again in (False, True):
            db = StateDb(tmp_path / "state.db")
            await db.open()
            state, letters = HostState(db), DeadLetters(db)
            if not again:
                await state.keep_births({(NODE, "d"): [("flow", Datatype.FLOAT, {"engUnit": "bar"})]}, 1)
                await state.keep_counters([EpochCounters(NODE, "e1", {"a": 1}, True)], 1)
                await state.keep_counters([EpochCounters(NODE, "e1", {"a": 2}, False)], 1)  # too late
                await letters.keep([Letter("sample", KEY, "d", 0, "why", b"x")] * 2, 1)
                for _ in range(2):
                    await state.add_figures({(NODE, "duplicates"): 2})
            assert await state.births() == {(NODE, "d"): [("flow", Datatype.FLOAT, {"engUnit": "bar"})]}
            assert await state.counters() == [EpochCounters(NODE, "e1", {"a": 1}, True)]
            assert await state.figures() == {(NODE, "duplicates"): 4}
            assert list((await letters.counts()).values()) == [1]
            # A decision is made once: at the second attempt the batch meets its own samples.
            met = await state.decided(KEY, "d", {("t", 99)} if again else {("t", 1)})
            assert met == ({("t", 1)}, 0)
            await db.close()
        with pytest.raises(StoreDown, match="not open"):
            await letters.counts()

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").write_bytes(b"x" * 10_000)
        with pytest.raises(StoreDown, match=r"state\.db"):
            await StateDb(tmp_path / "state.db").open()
