"""Tariffs: bands, clock changes, validity, and what a broken file is told."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloud.costs
from cloud.costs.tariff import Tariff
from cloud.costs.tariff_file import load_tariff
from wire.errors import ConfigError

EXAMPLE = Path(cloud.costs.__file__).parent / "tariffs" / "example.yaml"

BERLIN = """\
name: Berlin
source: made for this test
time_zone: Europe/Berlin
currency: EUR
valid_from: 2026-01-01
valid_to: 2026-12-31
bands: {day: 0.30, night: 0.20, rest: 0.10}
day_types: {working: [mon, tue, wed, thu, fri], free: [sat, sun]}
special_days: {2026-05-01: free}
seasons:
  - months: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    days:
      working: {"22:00-02:30": night, "02:30-22:00": day}
      free: {"00:00-24:00": rest}
"""


def ms(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.fixture(scope="module")
def berlin(tmp_path_factory: pytest.TempPathFactory) -> Tariff:
    path = tmp_path_factory.mktemp("tariff") / "berlin.yaml"
    path.write_text(BERLIN)
    return load_tariff(path)


def band(tariff: Tariff, text: str, zone: str) -> str | None:
    found = tariff.price_at(ms(text, zone))
    return None if found is None else found.name


def test_the_example_is_labelled_states_its_source_and_follows_the_season() -> None:
    example = load_tariff(EXAMPLE)
    assert example.example and "Guangdong" in example.source and example.currency == "CNY"
    assert band(example, "2026-01-05T11:30", "Asia/Shanghai") == "peak"
    assert band(example, "2026-07-05T11:30", "Asia/Shanghai") == "critical"
    assert band(example, "2026-07-05T07:59", "Asia/Shanghai") == "valley"
    assert band(example, "2026-07-05T08:00", "Asia/Shanghai") == "flat"


def test_half_hour_edges_fall_on_the_half_hour(berlin: Tariff) -> None:
    assert band(berlin, "2026-06-03T02:29:59", "Europe/Berlin") == "night"
    assert band(berlin, "2026-06-03T02:30:00", "Europe/Berlin") == "day"


def test_a_holiday_is_priced_as_its_own_day_type(berlin: Tariff) -> None:
    assert band(berlin, "2026-05-01T12:00", "Europe/Berlin") == "rest"  # a Friday
    assert band(berlin, "2026-05-08T12:00", "Europe/Berlin") == "day"


def test_outside_its_validity_a_tariff_names_no_price(berlin: Tariff) -> None:
    assert berlin.price_at(ms("2025-12-31T23:59:59", "Europe/Berlin")) is None
    assert berlin.price_at(ms("2026-01-01T00:00:00", "Europe/Berlin")) is not None
    assert berlin.price_at(ms("2027-01-01T00:00:00", "Europe/Berlin")) is None


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-03", 24)])
def test_a_day_has_the_hours_that_the_sites_clock_gives_it(berlin: Tariff, day: str, hours: int) -> None:
    noon = ms(f"{day}T12:00", "Europe/Berlin")
    assert berlin.day_to_ms(noon) - berlin.day_from_ms(noon) == hours * 3_600_000


def test_the_repeated_hour_is_priced_by_the_clock_both_times(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN.replace('"00:00-24:00": rest', '"00:00-02:30": rest, "02:30-24:00": day'))
    tariff = load_tariff(path)
    noon = ms("2026-10-25T12:00", "Europe/Berlin")
    spans = list(tariff.spans(tariff.day_from_ms(noon), tariff.day_to_ms(noon)))
    starts = [datetime.fromtimestamp(s.from_ms / 1000, UTC).strftime("%H:%M") for s in spans]
    # 00:00 is 22:00 UTC; 02:30 in summer time 00:30 UTC; at 01:00 UTC the clock falls to 02:00; 02:30 again 01:30.
    assert starts == ["22:00", "00:30", "01:00", "01:30"]
    assert [s.band.name for s in spans if s.band] == ["rest", "day", "rest", "day"]


instants = st.integers(ms("2025-12-30T00:00"), ms("2027-01-02T00:00"))


@given(a=instants, length_ms=st.integers(1, 3 * 86_400_000), at=st.floats(0, 0.999))
def test_spans_cover_every_moment_once_with_its_price(berlin: Tariff, a: int, length_ms: int, at: float) -> None:
    spans = list(berlin.spans(a, a + length_ms))
    assert spans[0].from_ms == a and spans[-1].to_ms == a + length_ms
    assert all(x.to_ms == y.from_ms and x.band != y.band for x, y in itertools.pairwise(spans))
    moment = a + int(length_ms * at)
    (covering,) = [s for s in spans if s.from_ms <= moment < s.to_ms]
    assert covering.band == berlin.price_at(moment)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("currency: EUR", "curency: EUR", "t.yaml:4: curency: unknown key"),
        ("currency: EUR\n", "", "currency: is missing"),
        ("Europe/Berlin", "Europe/Berlun", "t.yaml:3: time_zone: no such time zone: 'Europe/Berlun'"),
        ("night: 0.20", "night: cheap", "bands.night: must be a price per kWh (got 'cheap')"),
        ("free: [sat, sun]", "free: [sat]", "day_types: no type for sun"),
        ("free: [sat, sun]", "free: [sat, sun, mon]", "day_types.free: mon is already of type 'working'"),
        ("[sat, sun]", "[sat, sunday]", "day_types.free: must list mon"),
        ("2026-05-01: free", "2026-05-01: feast", "special_days.2026-05-01: no such day type: 'feast'"),
        ("2026-05-01: free", "May: free", "special_days.May: must be a day"),
        ("valid_to: 2026-12-31", "valid_to: 2025-12-31", "t.yaml:6: valid_to: 2025-12-31 is before valid_from"),
        ("valid_to: 2026-12-31", "valid_to: soon", "valid_to: must be a day like 2026-01-31"),
        ('"02:30-22:00": day', '"02:30-21:00": day', "t.yaml:13: seasons.0.days.working: 21:00 is not covered"),
        ('"02:30-22:00": day', '"02:00-22:00": day', "02:00 is covered twice"),
        ('"02:30-22:00": day', '"2:30-22:00": day', "must be hours like 08:00-11:30"),
        ('"02:30-22:00": day', '"02:30-22:00": dy', "no such band: 'dy'"),
        ("10, 11, 12]", "10, 11]", "seasons: no season for month 12"),
        ("10, 11, 12]", "10, 11, 13]", "must list months 1 to 12 (got 13)"),
        ("10, 11, 12]", "10, 11, 12, 1]", "month 1 stands in an earlier season"),
        ("      free: {", "      fre: {", "day type 'free' has no hours"),
        ("      free: {", "      fre: {", "seasons.0.days.fre: no such day type: 'fre'"),
        ("    days:", "    hours:", "seasons.0: must have exactly the keys months and days"),
        ("name: Berlin", "example: perhaps\nname: Berlin", "example: must be true or false"),
        ("bands: {day: 0.30, night: 0.20, rest: 0.10}", "bands: 3", "bands: must be a mapping"),
        ("name: Berlin", "name: [", "not YAML"),
    ],
)
def test_a_fault_is_named_with_its_file_line_and_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in BERLIN
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN.replace(old, new))
    with pytest.raises(ConfigError) as fault:
        load_tariff(path)
    assert told in str(fault.value)
    assert all(problem.startswith(f"{path}:") for problem in fault.value.problems)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BERLIN.replace("EUR", "EUR\ncolour: red").replace("Europe/Berlin", "Nowhere").replace("0.20", "x"))
    with pytest.raises(ConfigError) as fault:
        load_tariff(path)
    assert len(fault.value.problems) >= 3


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_tariff(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tariff(tmp_path / "none.yaml")
