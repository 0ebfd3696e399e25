"""Energy of the day from a register: what it proves is booked, what it does not is not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.costs.energy import book, energy_today
from cloud.costs.tariff import Band, Span
from cloud.costs.tariff_file import load_tariff
from tests.cloud.costs.test_tariff import BERLIN, ms
from wire.errors import ConfigError
from wire.ids import NodeId

NODE = NodeId("plant", "gw")
CHEAP, DEAR = Band("cheap", 0.1), Band("dear", 0.5)
SPANS = [Span(0, 1000, CHEAP), Span(1000, 2000, DEAR)]


def test_a_difference_over_a_band_edge_is_split_at_the_edge() -> None:
    assert book([500, 1500], [10.0, 20.0], SPANS).kwh == (5.0, 5.0)
    assert book([900, 1300], [10.0, 14.0], SPANS).kwh == (1.0, 3.0)


def test_a_missing_reading_is_not_a_zero() -> None:
    booked = book([100, 200, 300, 400], [100.0, None, None, 103.0], SPANS)
    assert booked.kwh == (3.0, 0.0) and booked.resets == 0


def test_nothing_is_extrapolated() -> None:
    booked = book([400, 600], [10.0, 12.0], SPANS)
    assert booked.kwh == (2.0, 0.0) and (booked.since_ms, booked.until_ms) == (400, 600)


def test_energy_before_the_first_span_is_not_booked() -> None:
    booked = book([-500, 500], [10.0, 20.0], SPANS)
    assert booked.kwh == (5.0, 0.0) and booked.since_ms == 0


def test_a_reset_is_neither_negative_nor_a_spike_and_is_told() -> None:
    booked = book([100, 200, 300, 400], [9000.0, 9001.0, 0.0, 2.0], SPANS)
    assert booked.kwh == (3.0, 0.0) and booked.resets == 1


def test_a_replaced_meter_with_another_count_books_only_its_own_differences() -> None:
    booked = book([100, 200, 300, 400], [9000.0, 9001.0, 4321.0, 4322.0], SPANS)
    assert booked.kwh == (2.0, 0.0) and booked.resets == 1


@pytest.mark.parametrize(
    "register",
    [
        [100.0, 101.0, 0.0, 102.0, 103.0],  # read as 0 once
        [100.0, 101.0, 1e9, 102.0, 103.0],  # read far too high once
        [100.0, 101.0, 5.0, 3.0, 103.0],  # two misreadings, falling
        [100.0, 0.0, 0.0, 0.0, 103.0],
    ],
)
def test_a_misread_register_is_no_energy(register: list[float]) -> None:
    booked = book([100, 200, 300, 400, 500], register, SPANS)
    assert sum(booked.kwh) == pytest.approx(3.0) and booked.resets == 0


def test_no_readings_prove_nothing() -> None:
    assert book([], [], SPANS) == book([10, 20], [None, None], SPANS)
    assert book([], [], SPANS).since_ms is None


steps = st.lists(st.tuples(st.integers(1, 400), st.one_of(st.none(), st.floats(0, 50))), min_size=1, max_size=40)
edges = st.lists(st.integers(1, 9_999), max_size=12, unique=True)


def series(found: list[tuple[int, float | None]]) -> tuple[list[int], list[float | None]]:
    times: list[int] = []
    values: list[float | None] = []
    now, register = 0, 1000.0
    for step_ms, used in found:
        now += step_ms
        register += used or 0.0
        times.append(now)
        values.append(None if used is None else register)
    return times, values


def cut(from_ms: int, to_ms: int, inner: list[int]) -> list[Span]:
    marks = [from_ms, *sorted(e for e in inner if from_ms < e < to_ms), to_ms]
    return [Span(a, b, CHEAP if i % 2 else DEAR) for i, (a, b) in enumerate(itertools.pairwise(marks))]


@given(steps, edges)
def test_the_bands_together_are_the_whole_difference(found: list[tuple[int, float | None]], inner: list[int]) -> None:
    times, values = series(found)
    known = [v for v in values if v is not None]
    booked = book(times, values, cut(0, 20_000, inner))
    assert sum(booked.kwh) == pytest.approx(known[-1] - known[0] if known else 0.0, abs=1e-6)
    assert all(kwh >= 0 for kwh in booked.kwh)


@given(steps, edges, st.integers(1, 9_999))
def test_booking_in_two_parts_is_booking_once(
    found: list[tuple[int, float | None]], inner: list[int], middle: int
) -> None:
    times, values = series(found)
    whole = book(times, values, cut(0, 10_000, []))
    parts = [book(times, values, cut(0, middle, inner)), book(times, values, cut(middle, 10_000, inner))]
    assert sum(sum(p.kwh) for p in parts) == pytest.approx(sum(whole.kwh), abs=1e-6)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_whatever_a_register_shows_energy_is_never_negative(register: list[float]) -> None:
    booked = book(list(range(0, 10 * len(register), 10)), list(register), SPANS)
    assert all(kwh >= 0 for kwh in booked.kwh)
    assert sum(booked.kwh) <= max(register) * max(1, booked.resets + 1) * (1 + 1e-9)


@dataclass(frozen=True)
class Points:
    t: list[int]
    v: list[float | None]


@dataclass(frozen=True)
class OneSeries:
    """The part of a store that the bill asks, over a list; the real stores' contract suite proves theirs."""

    points: Points

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int) -> Points:
        assert points >= 864_000, "the bill needs raw points"
        inside = [(t, v) for t, v in zip(self.points.t, self.points.v, strict=True) if from_ms <= t < to_ms]
        return Points([t for t, _ in inside], [v for _, v in inside])


@dataclass(frozen=True)
class Register:
    node: NodeId = NODE
    device: str = "meter"
    name: str = "energy_import"
    unit: str = "kW.h"


async def test_today_is_booked_from_the_sites_midnight_by_band(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN)
    tariff = load_tariff(path)
    midnight = ms("2026-06-03T00:00", "Europe/Berlin")
    hour = 3_600_000
    store = OneSeries(Points([midnight - hour, midnight + hour, midnight + 4 * hour], [100.0, 120.0, 150.0]))
    today = await energy_today(store, Register(), tariff, midnight + 5 * hour)
    # 10 kWh until 01:00; then 10 kWh an hour until 04:00: 15 at night, 15 by day.
    assert [(b.band, b.kwh) for b in today.by_band] == [("night", pytest.approx(25)), ("day", pytest.approx(15))]
    assert today.kwh == pytest.approx(40) and today.cost == pytest.approx(25 * 0.2 + 15 * 0.3)
    assert (today.band_now, today.price_now, today.currency, today.resets) == ("day", 0.3, "EUR", 0)
    assert today.since_ms == midnight == today.day_from_ms and today.until_ms == midnight + 4 * hour
    assert (today.next_band, today.next_price) == ("night", 0.2) and today.next_from_ms == midnight + 22 * hour
    assert today.time_zone == "Europe/Berlin"
    in_wh = await energy_today(store, Register(unit="W.h"), tariff, midnight + 5 * hour)
    assert in_wh.kwh == pytest.approx(0.04)


async def test_energy_outside_the_tariff_has_no_cost(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN)
    noon = ms("2027-06-03T12:00", "Europe/Berlin")
    today = await energy_today(OneSeries(Points([noon - 2000, noon], [1.0, 2.0])), Register(), load_tariff(path), noon)
    assert today.kwh == pytest.approx(1.0) and today.cost is None and today.band_now is None


async def test_a_register_that_is_no_energy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN)
    with pytest.raises(ConfigError, match="cannot be billed"):
        await energy_today(OneSeries(Points([], [])), Register(unit="m3"), load_tariff(path), 0)
