"""Faults by schedule, and the truth about them."""

from __future__ import annotations

import asyncio
import json
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.clock import SimClock
from firmware_sim.errors import ScenarioError
from firmware_sim.fault_plan import FaultPlan, Planned
from firmware_sim.faults import FaultSettings
from firmware_sim.truth import Truth
from tests.firmware_sim.running import running, truth


def fault(**keys: object) -> FaultSettings:
    return FaultSettings.model_validate({"device": "d", "kind": "silent", "at_s": 2, "for_s": 1, **keys})


@given(st.integers(0, 400), st.sampled_from([None, 1.5, 4.0]))
def test_a_fault_holds_exactly_within_its_windows(quarter: int, every_s: float | None) -> None:
    t_s, planned = quarter / 4, Planned(fault(every_s=every_s))
    within = [window for window in islice(planned.windows(), 80) if window.from_s <= t_s < window.to_s]
    assert planned.window(t_s) == (within[0] if within else None)
    ended = [window.to_s for window in islice(planned.windows(), 80) if window.to_s <= t_s]
    assert planned.ended_s(t_s) == (ended[-1] if ended else None)


@given(st.integers(0, 3000), st.integers(1, 3), st.sampled_from([20.0, 900.0]))
def test_random_windows_are_fixed_by_the_seed_and_never_overlap(second: int, seed: int, rate_per_h: float) -> None:
    random = fault(at_s=None, rate_per_h=rate_per_h, for_s=2)
    planned, again = Planned(random, seed), Planned(random, seed)
    windows = list(islice(planned.windows(), 1000))
    assert windows == list(islice(again.windows(), 1000)) != list(islice(Planned(random, seed + 1).windows(), 1000))
    assert all(a.to_s <= b.from_s for a, b in pairwise(windows))
    within = [window for window in windows if window.from_s <= second < window.to_s]
    assert planned.window(second) == (within[0] if within else None)
    ended = [window.to_s for window in windows if window.to_s <= second]
    assert planned.ended_s(second) == (ended[-1] if ended else None)


def test_random_windows_end_where_the_scenario_says_so() -> None:
    endless, planned = (Planned(fault(at_s=None, rate_per_h=600, for_s=2, until_s=u)) for u in (None, 60.0))
    windows = list(planned.windows())
    assert windows == list(islice(endless.windows(), len(windows)))
    assert len(windows) > 3 and windows[-1].from_s <= 60.0
    assert planned.window(windows[-1].from_s) == windows[-1]
    assert planned.window(1e6) is None and planned.window(2e6) is None
    assert planned.ended_s(1e6) == windows[-1].to_s


def test_random_windows_keep_their_rate() -> None:
    windows = list(islice(Planned(fault(at_s=None, rate_per_h=60, for_s=1)).windows(), 2000))
    assert windows[-1].to_s / 2000 == pytest.approx(61, rel=0.08)


def test_the_first_fault_of_the_scenario_wins() -> None:
    plan = FaultPlan([Planned(fault(kind="late")), Planned(fault(at_s=0, for_s=9))])
    found = [plan.hit(t_s) for t_s in (1, 2.5, 3, 20)]
    assert [each and each.fault.kind for each in found] == ["silent", "late", "silent", None]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"every_s": 1}, r"every_s \(1\) must be longer than for_s \(1\)"),
        ({"at_s": None}, "give either at_s .* or rate_per_h"),
        ({"rate_per_h": 3}, "give either at_s .* or rate_per_h"),
        ({"at_s": None, "rate_per_h": 3, "every_s": 5}, "every_s goes with at_s"),
        ({"until_s": 3}, "until_s goes with rate_per_h"),
        ({"kind": "late", "delay_s": 2, "delay_max_s": 1}, r"delay_max_s \(1\) must be at least delay_s \(2\)"),
        ({"kind": "drift"}, "drift needs size"),
        ({"kind": "write_clamped"}, "write_clamped needs low, high or both"),
    ],
)
def test_faults_that_make_no_sense(keys: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fault(**keys)


async def test_windows_are_written_when_they_begin_and_when_they_end(tmp_path: Path) -> None:
    faults = (
        "  - {device: meter, kind: silent, at_s: 0.1, for_s: 0.2, every_s: 0.4}\n"
        "  - {device: road, kind: late, at_s: 0.2, for_s: 50}\n"
    )
    async with running(tmp_path, faults):
        await asyncio.sleep(0.25)
        begun = truth(tmp_path, "fault")
        await asyncio.sleep(0.35)
    assert [(each["device"], each["name"], each["to_ms"]) for each in begun] == [
        ("meter", "silent", None),
        ("road", "late", None),
    ]
    ended = [each for each in truth(tmp_path, "fault") if each["to_ms"] is not None]
    spans = {(each["device"], each["from_ms"]): each["to_ms"] - each["from_ms"] for each in ended}
    first, again = sorted(start for device, start in spans if device == "meter")
    assert again - first == 400
    assert spans["meter", first] == 200  # its planned end
    assert spans["meter", again] < 200  # cut by the end of the run
    assert 200 <= next(span for (device, _), span in spans.items() if device == "road") < 2000


async def test_the_recorded_failure_is_told_in_wall_time(tmp_path: Path) -> None:
    # At 1 ms a row the labelled window lasts from 0.245 s to 0.812 s after start.
    async with running(tmp_path, changes=("devices.machine.row_s=0.001",)):
        await asyncio.sleep(1.0)
    start_ms = truth(tmp_path, "run")[0]["t_ms"]
    ended = [each for each in truth(tmp_path, "fault", "machine") if each["to_ms"] is not None]
    assert ended[0]["name"] == "recorded failure"
    assert ended[0]["from_ms"] - start_ms == pytest.approx(245, abs=10)
    assert ended[0]["to_ms"] - ended[0]["from_ms"] == 567


def test_every_line_is_in_the_file_before_the_next(tmp_path: Path) -> None:
    book = Truth(tmp_path / "t.jsonl")
    book.open()
    for number in range(3):
        book.served("d", number, {"x": number})
        assert len((tmp_path / "t.jsonl").read_text().splitlines()) == number + 1
    book.close()
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[2]) == {
        "kind": "served",
        "t_ms": 2,
        "device": "d",
        "values": {"x": 2},
    }


def test_a_truth_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--truth: cannot write"):
        Truth(tmp_path / "none" / "t.jsonl").open()


def test_without_a_file_the_truth_is_not_kept() -> None:
    book = Truth(None)
    book.open()
    book.served("d", 1, {"x": 1})
    book.close()


def test_a_step_of_the_wall_clock_moves_no_simulated_second() -> None:
    now = {"monotonic": 5.0, "wall": 1000.0}
    clock = SimClock(lambda: now["monotonic"], lambda: now["wall"])
    now.update(monotonic=7.5, wall=500.0)
    assert (clock.t_s(), clock.now_ms(), clock.wall_ms(2.5)) == (2.5, 500_000, 1_002_500)
