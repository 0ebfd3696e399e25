"""Values into registers and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.register_map import RegisterMap
from firmware_sim.signals import Signal

POWER = Signal("power", "kW", "physics", "input", 0, "float32")
HOURS = Signal("hours", "h", "physics", "input", 2, "uint32", 0.1, "CDAB")
SPARE = Signal("spare", "1", "physics", "input", 6, "int16", 0.01)
ALARM = Signal("alarm", "1", "physics", "discrete", 3, "bool")
VALUES = {"power": 1.5, "hours": 12345.6, "spare": -3.21, "alarm": True}
MAP = RegisterMap([POWER, HOURS, SPARE, ALARM])


def test_word_orders() -> None:
    assert Signal("x", "1", "physics", "holding", 0, "uint32").words(0x12345678) == (0x1234, 0x5678)
    assert Signal("x", "1", "physics", "holding", 0, "uint32", order="CDAB").words(0x12345678) == (0x5678, 0x1234)
    assert POWER.words(1.5) == (0x3FC0, 0x0000)


@pytest.mark.parametrize(
    ("raw_type", "value", "held"),
    [("uint16", 70000, 65535), ("uint16", -1, 0), ("int16", 40000, 32767), ("int16", -40000, -32768)],
)
def test_a_register_holds_at_the_end_of_its_range(raw_type: str, value: int, held: int) -> None:
    signal = Signal("x", "1", "physics", "holding", 0, raw_type)  # type: ignore[arg-type]
    assert signal.as_served(value) == held


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["ABCD", "CDAB"]))
def test_integers_survive_in_both_orders(value: int, order: str) -> None:
    signal = Signal("x", "1", "physics", "holding", 0, "int32", order=order)  # type: ignore[arg-type]
    assert signal.as_served(value) == value


@given(st.floats(width=32, allow_nan=False))
def test_floats_survive_to_the_bit(value: float) -> None:
    assert struct.pack(">f", POWER.as_served(value)) == struct.pack(">f", value)


@given(st.floats(-320.0, 320.0))
def test_scaled_values_lose_at_most_half_a_digit_and_have_no_tail(value: float) -> None:
    served = SPARE.as_served(value)
    assert abs(served - value) <= 0.005 + 1e-9
    assert len(str(served).partition(".")[2]) <= 2


def said(table: str, address: int, count: int) -> dict[str, object]:
    found = MAP.read(table, address, count, VALUES)  # type: ignore[arg-type]
    assert found is not None
    return dict(found[1])


def test_an_answer_covers_only_signals_that_lie_wholly_within_it() -> None:
    assert said("input", 0, 4) == {"power": 1.5, "hours": 12345.6}
    assert said("input", 1, 3) == {"hours": 12345.6}
    assert said("input", 0, 3) == {"power": 1.5}
    assert said("discrete", 3, 1) == {"alarm": True}


def test_registers_that_do_not_exist_cannot_be_read() -> None:
    assert MAP.read("input", 0, 4, VALUES) is not None
    assert MAP.read("input", 3, 2, VALUES) is None
    assert MAP.read("input", 6, 1, VALUES) == ([0x10000 - 321], {"spare": -3.21})
    assert MAP.read("holding", 0, 1, VALUES) is None
