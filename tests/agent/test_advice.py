"""A plan that cannot be kept is refused, and each change that it names makes it fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent.advice import misfits, tight
from agent.load import line_load
from agent.spec import LineSpec
from tests.agent.points import device, point
from tests.agent.test_load import COLUMNS, TEXT, bus, framed, serial


def refusal(line: LineSpec) -> str:
    return " ".join(misfits(line, line_load(line)))


def slower(line: LineSpec, period_s: str) -> LineSpec:
    return replace(line, devices=tuple(replace(d, period_s=float(period_s)) for d in line.devices))


def without(line: LineSpec, names: str) -> LineSpec:
    return replace(line, devices=tuple(d for d in line.devices if d.id not in names.split(", ")))


CHANGES: list[tuple[str, Callable[[LineSpec, str], LineSpec], float]] = [
    (r"period_s to at least ([\d.]+)", slower, 0.85),
    (r"timeout_s to at most ([\d.]+)", lambda line, s: replace(line, timeout_s=float(s)), 1.1),
    (r"baud to at least (\d+)", lambda line, s: replace(line, baud=int(s)), 0.5),
    (r"move (.*?) to another line", without, 0),
]


@pytest.mark.parametrize(
    ("line", "said", "options"),
    [
        (bus(9), "cycle 0.81 s + reserve 0.27 s for one silent device = 1.08 s of 1.00 s", 4),
        (bus(13), "13 requests: cycle 1.17 s of 1.00 s, load 117 %", 3),
        (bus(8, registers=100, baud=9600, timeout_s=1.0), "load 210 %", 2),
        (LineSpec("plc", "modbus-tcp", host="h", devices=bus(2).devices, timeout_s=1.0), "reserve 1.00 s", 3),
    ],
)
def test_each_change_that_a_refusal_names_makes_the_plan_fit(line: LineSpec, said: str, options: int) -> None:
    text = refusal(line)
    assert f"line {line.name}: " in text and said in text
    found = 0
    for pattern, change, less in CHANGES:
        for value in re.findall(pattern, text):
            found += 1
            assert refusal(change(line, value)) == "", f"{pattern}: {value}"
            if less:  # and hardly more than is needed is asked for
                assert refusal(
                    change(line, str(type(line.baud)(value) // 2 if "baud" in pattern else float(value) * less))
                )
    assert found == options


def test_a_plan_with_room_is_neither_refused_nor_warned_of() -> None:
    for line in (bus(8), bus(9, timeout_s=0.11), bus(1, timeout_s=5.0), serial(framed(TEXT))):
        assert refusal(line) == "" and not list(tight(line, line_load(line)))


def test_a_plan_without_room_for_a_fault_can_be_accepted_but_not_one_without_room_for_itself() -> None:
    line = bus(9, fault_reserve=False)
    assert refusal(line) == ""
    (warning,) = tight(line, line_load(line))
    for words in ("accepted by fault_reserve: false", "3 times and then once in 10 s", "timeout_s to at most 0.11"):
        assert words in warning
    over = bus(13, fault_reserve=False)
    assert "load 117 %" in refusal(over) and not list(tight(over, line_load(over)))
    assert "most time, 0.09 s, goes to device d0" in refusal(over)


def test_a_longer_period_is_found_where_tags_have_periods_of_their_own() -> None:
    spec = device(*(point(f"r{i}", address=40 * i, raw="string", length=78, period_s=0.1 * (i + 1)) for i in range(9)))
    line: LineSpec = replace(bus(1), devices=(replace(spec, period_s=0.1),))
    (value,) = re.findall(r"period_s to at least ([\d.]+)", refusal(line))
    points = tuple(replace(p, period_s=max(p.period_s or 0.0, float(value))) for p in spec.points)
    assert refusal(replace(line, devices=(replace(spec, period_s=float(value), points=points),))) == ""


@pytest.mark.parametrize(("frame", "refused"), [(TEXT, False), (COLUMNS, True)])
def test_a_framed_line_is_only_refused_for_what_is_sure(frame: Any, refused: bool) -> None:
    """40 bytes at 300 baud would take 1.3 s; a line of 12 columns takes 0.4 s in any case."""
    line = serial(framed(frame, request=b"X"), baud=300)
    line = replace(line, devices=tuple(replace(d, period_s=0.3) for d in line.devices))
    assert bool(refusal(line)) is refused
