"""The schedule of a line: every device at its period, whoever is silent."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.turns import Turns


@dataclass
class Device:
    """Answers in took_s until it is silent, which is noticed after three polls."""

    took_s: float = 0.08
    fault_s: float = 0.35
    probe_s: float = 10.0
    silent_from_s: float = float("inf")
    silent_until_s: float = float("inf")
    failures: int = 0
    next_probe_s: float = 0.0

    @property
    def lost(self) -> bool:
        return self.failures >= 3

    def wire_s(self, period_s: float) -> float:
        return self.took_s


def run(devices: list[Device], period_s: float, until_s: float) -> list[list[float]]:
    """When each device was asked, on a line whose time is simulated as the owner of a line spends it."""
    now_s = 0.0
    turns = Turns(devices, [[period_s]] * len(devices), now_s)
    asked: list[list[float]] = [[] for _ in devices]
    while now_s < until_s:
        turn = turns.probe(now_s)
        if turn is None:
            turn = turns.next()
            now_s = max(now_s, turn.due_s)
        one, began_s, silent = devices[turn.unit], now_s, False
        if one.lost and not turn.probe:
            if now_s >= one.next_probe_s:
                turns.wants_probe(turn)
        else:
            asked[turn.unit].append(now_s)
            silent = one.silent_from_s <= now_s < one.silent_until_s
            now_s += one.fault_s if silent else one.took_s
            one.failures = one.failures + 1 if silent else 0
            one.next_probe_s = now_s + one.probe_s
        turns.done(turn, began_s, now_s, silent)
    return asked


def moved(times: list[float], period_s: float) -> list[float]:
    """How far each interval is from the period, as a share of it."""
    return [abs(b - a - period_s) / period_s for a, b in itertools.pairwise(times)]


def test_without_faults_every_device_keeps_its_period_to_the_millisecond() -> None:
    for times in run([Device() for _ in range(8)], 4.0, 100.0):
        assert len(times) >= 25 and max(moved(times, 4.0)) < 1e-9


def test_a_device_that_is_silent_from_the_start_moves_nobody() -> None:
    devices = [Device(silent_from_s=0.0 if i == 2 else float("inf")) for i in range(8)]
    asked = run(devices, 4.0, 200.0)
    assert all(max(moved(times, 4.0)) < 1e-9 for i, times in enumerate(asked) if i != 2)
    gaps = [b - a for a, b in itertools.pairwise(asked[2][3:])]
    assert len(gaps) >= 14 and max(gaps) <= 10.0 + 2 * 4.0, "it is asked at every third turn"


def test_a_device_that_falls_silent_moves_those_behind_it_once_and_nobody_when_it_comes_back() -> None:
    devices = [Device() for _ in range(8)]
    devices[2].silent_from_s, devices[2].silent_until_s = 50.0, 120.0
    asked = run(devices, 4.0, 200.0)
    for i, times in enumerate(asked):
        late = [m for m in moved(times, 4.0) if m > 1e-9]
        assert i == 2 or len(late) == (1 if i > 2 else 0)
    assert len([t for t in asked[2] if t > 125.0]) >= 18


def test_a_full_line_asks_a_lost_device_at_its_end_and_surely() -> None:
    """8 devices take 0.64 of 1 s, the reserve 0.35: nothing is left to shift into, and the probe just fits."""
    devices = [Device(silent_from_s=0.0 if i == 2 else float("inf")) for i in range(8)]
    asked = run(devices, 1.0, 120.0)
    assert all(max(moved(times[4:], 1.0)) < 1e-9 for i, times in enumerate(asked) if i != 2)
    probes = asked[2][3:]
    assert len(probes) >= 5 and max(b - a for a, b in itertools.pairwise(probes)) <= 2 * 10.0 + 2.0


@pytest.mark.parametrize(("took_s", "most_s"), [(0.12, 22.0), (0.14, 32.0)])
def test_a_line_without_any_reserve_still_asks_it_at_a_bounded_rate(took_s: float, most_s: float) -> None:
    devices = [Device(took_s=took_s, silent_from_s=0.0 if i == 2 else float("inf")) for i in range(8)]
    asked = run(devices, 1.0, 300.0)
    assert max(b - a for a, b in itertools.pairwise(asked[2])) <= most_s
    assert all(len(times) > 230 for i, times in enumerate(asked) if i != 2)


def test_alone_on_its_line_it_is_asked_at_once() -> None:
    (times,) = run([Device(silent_from_s=20.0)], 1.0, 100.0)
    assert max(b - a for a, b in itertools.pairwise(times)) <= 12.0


@given(st.lists(st.booleans(), min_size=2, max_size=10), st.floats(0.5, 6.0))
def test_whoever_is_silent_everybody_is_asked_again_and_again(silent: list[bool], period_s: float) -> None:
    devices = [Device(silent_from_s=5.0 if s else float("inf")) for s in silent]
    for times, device in zip(run(devices, period_s, 150.0), devices, strict=True):
        longest = max(b - a for a, b in itertools.pairwise(times))
        assert longest <= (3 * 10.0 + 6 * period_s if device.silent_from_s == 5.0 else 4 * period_s + 10 * 0.35 + 1.0)
