"""The breaker of one unit."""

from __future__ import annotations

from agent.breaker import Breaker


def test_it_opens_after_so_many_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker(silent_polls=3, probe_s=10.0)
    assert [breaker.failed(1.0), breaker.failed(2.0)] == [False, False]
    assert breaker.answered() is False
    assert [breaker.failed(t) for t in (3.0, 4.0, 5.0, 6.0)] == [False, False, True, False]
    assert breaker.open


def test_an_open_one_is_asked_once_a_probe_time_until_it_answers() -> None:
    breaker = Breaker(silent_polls=1, probe_s=10.0)
    assert breaker.may_ask(0.0)
    breaker.failed(0.0)
    assert [breaker.may_ask(9.9), breaker.may_ask(10.0)] == [False, True]
    breaker.failed(10.0)
    assert [breaker.may_ask(19.9), breaker.may_ask(20.0)] == [False, True]
    assert breaker.answered() is True
    assert breaker.may_ask(20.0) and not breaker.open


def test_a_line_that_was_opened_anew_is_probed_at_once() -> None:
    breaker = Breaker(silent_polls=1, probe_s=10.0)
    breaker.failed(0.0)
    breaker.probe_now()
    assert breaker.may_ask(0.1)
