"""Ranges against a plain set, and the resend window's timer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resend import Ranges, ResendWindow, delay_s

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), max_size=30)


@given(SPANS, st.integers(0, 70), st.integers(0, 5), st.integers(0, 70))
def test_ranges_are_a_set_of_numbers(spans: list[tuple[int, int]], probe: int, width: int, cut: int) -> None:
    ranges, plain = Ranges(), set[int]()
    for first, extra in spans:
        ranges.add(first, first + extra)
        plain |= set(range(first, first + extra + 1))
    assert ranges.covers(probe, probe + width) == (set(range(probe, probe + width + 1)) <= plain)
    assert len(ranges) == sum(1 for n in plain if n - 1 not in plain)
    ranges.remove_upto(cut)
    plain = {n for n in plain if n > cut}
    assert bool(ranges) == bool(plain)
    if plain:
        assert ranges.first()[0] == min(plain)


def test_an_empty_span_adds_nothing() -> None:
    ranges = Ranges()
    ranges.add(5, 4)
    assert not ranges


def test_the_window_closes_on_batches_and_on_bytes() -> None:
    window = ResendWindow(batches=2, size=100)
    window.sent(1, 10, 0.0)
    assert window.open
    window.sent(2, 10, 0.0)
    assert not window.open
    window.confirmed(1, 1.0)
    window.sent(3, 95, 1.0)
    assert (window.open, window.bytes, len(window)) == (False, 105, 2)
    window.forget(3)
    window.forget(99)
    assert (window.open, window.bytes) == (True, 10)
    window.clear()
    assert (window.bytes, len(window), window.next_due_s()) == (0, 0, None)


def test_the_timer_doubles_each_time_up_to_its_longest() -> None:
    window = ResendWindow(first_s=5, max_s=15)
    window.sent(7, 1, 0.0)
    assert (window.due(4.9), window.due(5.0)) == ([], [7])
    window.sent(7, 1, 5.0)
    assert window.next_due_s() == 15.0
    window.sent(7, 1, 15.0)
    assert window.next_due_s() == 30.0
    assert window.bytes == 1


def test_the_timer_follows_the_measured_round_trip() -> None:
    window = ResendWindow(min_s=0.1)
    window.sent(1, 1, 0.0)
    window.confirmed(1, 1.0)
    assert window.timer_s == pytest.approx(3.0)
    for i in range(2, 100):
        window.sent(i, 1, 0.0)
        window.confirmed(i, 0.2)
    assert window.round_trip_s == pytest.approx(0.2, abs=0.01)
    assert 0.2 < window.timer_s < 0.4


def test_a_batch_that_was_sent_twice_measures_nothing() -> None:
    window = ResendWindow()
    window.sent(1, 1, 0.0)
    window.sent(1, 1, 5.0)
    window.confirmed(1, 5.1)
    assert window.round_trip_s is None
    window.confirmed(1, 5.2)
    assert len(window) == 0


def test_a_slow_host_does_not_cause_a_storm_of_resends() -> None:
    window = ResendWindow(batches=100)
    sends = 0
    for i in range(100):
        window.sent(i, 1, 0.0)
        sends += 1
    for second in range(600):  # ten minutes without one confirmation
        for i in window.due(float(second), limit=1000):
            window.sent(i, 1, float(second))
            sends += 1
    assert sends <= 100 * 15


def test_back_off_doubles_with_full_jitter_up_to_its_cap() -> None:
    assert [delay_s(a, 1.0) for a in (0, 1, 3, 5, 6, 99)] == [1, 2, 8, 32, 60, 60]
    assert delay_s(4, 0.5) == 8


def drained(trip_s: Callable[[int], float], batches: int = 3000, size: int = 4_000) -> int:
    """The most bytes under way, once it has settled, when a host takes trip_s(bytes under way) for each."""
    window, most = ResendWindow(), 0
    now_s = 0.0
    under_way: list[tuple[float, int]] = []
    for i in range(batches):
        while not window.open_for_backlog:
            now_s, done = under_way.pop(0)
            window.confirmed(done, now_s)
        window.sent(i, size, now_s, backlog=True)
        under_way.append((now_s + trip_s(window.bytes), i))
        most = max(most, window.bytes) if i > batches // 2 else 0
    return most


def test_a_fast_host_gets_the_whole_window_of_backlog() -> None:
    assert drained(lambda under_way: 0.3) > 1_900_000  # 500 batches of 4,000 bytes


def test_a_slow_host_gets_as_much_backlog_as_it_takes_in_under_a_second() -> None:
    assert drained(lambda under_way: 0.2 + under_way / 500_000) < 500_000


def test_a_host_that_only_crawls_still_gets_some() -> None:
    assert 20_000 < drained(lambda under_way: 5.0) <= 60_000


def test_live_values_under_way_leave_the_backlog_its_place() -> None:
    window = ResendWindow()
    for i in range(100):
        window.sent(i, 4_000, 0.0)
    assert window.open_for_backlog
