"""Wire time and load: what a line takes, what it has left for a fault, and what to change where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.load import line_load, misfits, tight
from agent.spec import Illegal, LineSpec
from tests.agent.points import device, point

CHAR_S = 11 / 19200


def bus(units: int, registers: int = 60, **rest: Any) -> LineSpec:
    devices = tuple(
        device(*(point(f"r{a}", address=a, device=f"d{i}") for a in range(registers)), id=f"d{i}", unit_id=i + 1)
        for i in range(units)
    )
    settings = {"baud": 19200, "parity": "E", "timeout_s": 0.2, "turnaround_s": 0.01} | rest
    return LineSpec("bus", "modbus-rtu", port="/dev/ttyUSB0", devices=devices, **settings)  # type: ignore[arg-type]


def test_a_request_takes_its_characters_two_pauses_and_the_turnaround() -> None:
    load = line_load(bus(8), {})
    each = (8 + 5 + 120) * CHAR_S + 2 * 3.5 * CHAR_S + 0.01
    assert [r.wire_s for r in load.requests] == pytest.approx([each] * 8)
    assert load.cycle_s == pytest.approx(8 * each) and load.load == pytest.approx(8 * each)
    fence = (8 + 5 + 2) * CHAR_S + 2 * 3.5 * CHAR_S + 0.01
    assert load.reserve_s == pytest.approx(0.2 + 0.05 + fence)
    assert line_load(bus(1), {}).reserve_s == 0.0, "it has no neighbours"
    longer = line_load(bus(8, gap_s=0.05), {})
    assert longer.requests[0].wire_s - each == pytest.approx(0.05 - 3.5 * CHAR_S), "the gap holds the pause before"
    assert line_load(bus(1, baud=115200), {}).requests[0].wire_s == pytest.approx(133 * 11 / 115200 + 0.0035 + 0.01)


def test_rare_requests_count_by_their_share() -> None:
    spec = device(point("a"), point("b", address=1, period_s=10.0), period_s=0.5)
    load = line_load(replace(bus(1), devices=(spec,)), {})
    fast, slow = load.requests
    assert load.period_s == 0.5 and load.cycle_s == pytest.approx(fast.wire_s + slow.wire_s / 20)
    assert load.longest_cycle_s == pytest.approx(fast.wire_s + slow.wire_s)


def test_what_was_learned_is_planned_with() -> None:
    load = line_load(bus(2, registers=4), {"d0": [Illegal("holding", 2, 2)]})
    assert [r.planned.span.count for r in load.requests] == [2, 2, 4]
    gone = line_load(bus(1, registers=4), {"d0": [Illegal("holding", 1, 2)]})
    assert [(r.planned.span.address, r.planned.span.count) for r in gone.requests] == [(0, 1), (2, 2)]
    assert len(line_load(bus(1, registers=4), {"d0": [Illegal("holding", 0, 4)]}).requests) == 1


def test_a_plan_that_cannot_fit_says_what_to_change() -> None:
    line = bus(12)
    load = line_load(line, {})
    (problem,) = misfits(line, load)
    for words in ("line bus: 12 requests need 1.08 s of every 1 s (load 108 %)", "period_s", "baud above 19200", "d0"):
        assert words in problem
    assert not list(tight(line, load)), "one problem at a time"
    changed = replace(line, devices=tuple(replace(d, period_s=1.2) for d in line.devices))
    assert not list(misfits(changed, line_load(changed, {})))


def test_a_plan_without_room_for_a_fault_says_how_to_make_some() -> None:
    line = bus(9)
    (warning,) = tight(line, line_load(line, {}))
    assert "set timeout_s to 0.11 at most, or period_s to 1.2 at least" in warning
    for changed in (replace(line, timeout_s=0.11), bus(8)):
        assert not list(tight(changed, line_load(changed, {})))
    tcp = LineSpec("plc", "modbus-tcp", host="h", devices=bus(2).devices, timeout_s=2.0)
    (warning,) = tight(tcp, line_load(tcp, {}))
    assert "line plc" in warning and "timeout_s to 0.99 at most" in warning
