"""UCUM codes as a person writes them, and how many decimals a value of a unit deserves."""

from __future__ import annotations

import re

from wire.block import Value
from wire.tag import Datatype

_WRITTEN = {
    "Cel": "°C",
    "[degF]": "°F",
    "K": "K",
    "kW.h": "kWh",
    "W.h": "Wh",
    "MW.h": "MWh",
    "kV.A": "kVA",
    "kvar": "kvar",
    "[mi_i]/h": "mph",
    "1/min": "rpm",
    "1/h": "/h",
    "1/s": "/s",
    "m3/h": "m³/h",
    "m3": "m³",
    "m2": "m²",
    "1": "",
    "Ohm": "Ω",
    "deg": "°",
    "[psi]": "psi",
    "ug/m3": "µg/m³",
}

_DECIMALS = {
    "Cel": 1,
    "[degF]": 1,
    "A": 2,
    "V": 1,
    "kW": 2,
    "kW.h": 2,
    "Hz": 2,
    "mm/s": 2,
    "1/min": 0,
    "1/h": 0,
    "h": 1,
    "%": 1,
    "[mi_i]/h": 1,
    "km/h": 1,
    "1": 3,
}

NARROW_SPACE = "\u202f"


def written(unit: str) -> str:
    """'[mi_i]/h' -> 'mph'; an unknown code loses its UCUM brackets and dots, and is left otherwise."""
    found = _WRITTEN.get(unit)
    if found is not None:
        return found
    return re.sub(r"[\[\]]", "", unit).replace(".", "·")


def decimals(unit: str, datatype: Datatype) -> int:
    """How many digits after the point."""
    if datatype not in (Datatype.FLOAT, Datatype.DOUBLE):
        return 0
    return _DECIMALS.get(unit, 2)


def number(value: float, places: int) -> str:
    """'12 345.6': thousands in narrow spaces, a true minus sign; the browser writes numbers alike."""
    text = f"{value:,.{places}f}".replace(",", NARROW_SPACE)
    if text.startswith("-"):
        text = text[1:] if float(text.replace(NARROW_SPACE, "")) == 0 else f"\u2212{text[1:]}"
    return text


def value_text(value: Value | None, unit: str, datatype: Datatype, yes: str, no: str, none: str) -> str:
    """The value alone, without its unit."""
    if value is None:
        return none
    if isinstance(value, bool):
        return yes if value else no
    if isinstance(value, str):
        return value
    return number(value, decimals(unit, datatype))
