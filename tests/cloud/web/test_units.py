"""How units and numbers are written."""

from __future__ import annotations

import pytest

from cloud.web.units import decimals, number, value_text, written
from wire.tag import Datatype

THIN = "\u202f"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("[degF]", "°F"),
        ("Cel", "°C"),
        ("kW.h", "kWh"),
        ("[mi_i]/h", "mph"),
        ("1/min", "rpm"),
        ("1/h", "/h"),
        ("1", ""),
        ("", ""),
        ("bar", "bar"),
        ("[gal_us]/min", "gal_us/min"),
        ("N.m", "N·m"),
    ],
)
def test_a_unit_is_written_as_people_write_it(code: str, text: str) -> None:
    assert written(code) == text


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (1234567.891, 2, f"1{THIN}234{THIN}567.89"),
        (999, 0, "999"),
        (-3.25, 1, "\u22123.2"),
        (-0.001, 2, "0.00"),
        (-1234.5, 0, f"\u22121{THIN}234"),
    ],
)
def test_a_number_has_thin_spaces_and_a_true_minus(value: float, places: int, text: str) -> None:
    assert number(value, places) == text


def test_values_are_told_by_their_kind() -> None:
    def told(value: bool | int | float | str | None, kind: Datatype, unit: str = "") -> str:
        return value_text(value, unit, kind, "yes", "no", "no value")

    assert told(None, Datatype.FLOAT) == "no value"
    assert told(True, Datatype.BOOLEAN) == "yes" and told(False, Datatype.BOOLEAN) == "no"
    assert told("open", Datatype.STRING) == "open"
    assert told(20.0, Datatype.FLOAT, "Cel") == "20.0" and told(7, Datatype.UINT16, "Cel") == "7"
    assert decimals("kW", Datatype.DOUBLE) == 2 and decimals("unknown", Datatype.FLOAT) == 2
