"""A false-alarm rate as a person writes it: `1 per week`, `2 per day`, `1 per 3 days`, `every 12 hours`."""

from __future__ import annotations

import re

_UNITS = {
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_629_800.0,
    "year": 31_557_600.0,
}
_NUMBER = r"(\d+(?:\.\d+)?)"
_PER = re.compile(rf"{_NUMBER}\s+per\s+(?:{_NUMBER}\s+)?([a-z]+?)s?")
_EVERY = re.compile(rf"every\s+(?:{_NUMBER}\s+)?([a-z]+?)s?")


def seconds_between(text: str) -> float:
    """Seconds from one false alarm to the next, on average. Raises ValueError."""
    said = text.strip().lower()
    if found := _PER.fullmatch(said):
        alarms, many, unit = found.groups()
    elif found := _EVERY.fullmatch(said):
        alarms, (many, unit) = "1", found.groups()
    else:
        unit = ""
    if unit not in _UNITS or not float(alarms) or not float(many or 1):
        raise ValueError(
            "must be a rate such as `1 per week`, `2 per day`, `1 per 3 days` or `every 12 hours` "
            "(minutes, hours, days, weeks, months, years)"
        )
    return float(many or 1) * _UNITS[unit] / float(alarms)
