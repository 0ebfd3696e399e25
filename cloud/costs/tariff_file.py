"""Reads a tariff from a YAML file; says everything that is wrong with it at once, with file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cloud.costs.tariff import MINUTES_PER_DAY, Band, DayPlan, Tariff
from wire.errors import ConfigError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KEYS = {
    "name", "source", "example", "time_zone", "currency", "valid_from", "valid_to",
    "bands", "day_types", "special_days", "seasons",
}  # fmt: skip
_REQUIRED = ("name", "source", "time_zone", "currency", "bands", "day_types", "seasons")
_HOURS = re.compile(r"^(\d{2}):(\d{2})-(\d{2}):(\d{2})$")


def load_tariff(path: Path) -> Tariff:
    """The tariff in a file. Raises ConfigError with every problem, each as `file:line: key: what is wrong`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    try:
        raw = YAML().load(text)
    except YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{path}:{line}: not YAML: {getattr(fault, 'problem', fault)}") from fault
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}:1: must be a mapping with the keys {', '.join(sorted(_KEYS))}")
    return _Reader(str(path), raw).tariff()


def _line(node: object, key: object) -> int:
    """The line of a key inside its mapping (ruamel counts from 0), or of the mapping itself."""
    place = getattr(node, "lc", None)
    if place is None:
        return 1
    found = (place.data or {}).get(key)
    return int(found[0] if found else place.line) + 1


class _Reader:
    """Collects problems while it builds; nothing is built when there are any."""

    def __init__(self, file: str, raw: Mapping[str, Any]) -> None:
        self._file, self._raw = file, raw
        self._problems: list[str] = []

    def _wrong(self, node: object, key: object, name: str, what: str) -> None:
        self._problems.append(f"{self._file}:{_line(node, key)}: {name}: {what}")

    def tariff(self) -> Tariff:
        raw = self._raw
        for key in raw:
            if key not in _KEYS:
                self._wrong(raw, key, str(key), f"unknown key; known are {', '.join(sorted(_KEYS))}")
        for key in _REQUIRED:
            if key not in raw:
                self._wrong(raw, key, key, "is missing")
        bands = self._bands()
        weekdays, types = self._day_types()
        zone, plans = self._time_zone(), self._seasons(bands, types)
        special, valid_from, valid_to = self._special_days(types), self._day("valid_from"), self._day("valid_to")
        if valid_from and valid_to and valid_to < valid_from:
            self._wrong(raw, "valid_to", "valid_to", f"{valid_to} is before valid_from {valid_from}")
        if not isinstance(raw.get("example", False), bool):
            self._wrong(raw, "example", "example", "must be true or false")
        if self._problems or zone is None:
            raise ConfigError(self._problems)
        return Tariff(
            name=str(raw["name"]),
            source=str(raw["source"]),
            time_zone=zone,
            currency=str(raw["currency"]),
            bands=bands,
            plans=plans,
            weekdays=weekdays,
            special_days=special,
            valid_from=valid_from,
            valid_to=valid_to,
            example=raw.get("example", False),
        )

    def _mapping(self, node: Mapping[str, Any], key: str, name: str) -> Mapping[Any, Any]:
        found = node.get(key)
        if isinstance(found, Mapping) and found:
            return found
        if found is not None or key in node:
            self._wrong(node, key, name, "must be a mapping with at least one entry")
        return {}

    def _time_zone(self) -> ZoneInfo | None:
        name = self._raw.get("time_zone")
        if name is None:
            return None
        try:
            return ZoneInfo(str(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._wrong(self._raw, "time_zone", "time_zone", f"no such time zone: {name!r} (example: Asia/Shanghai)")
            return None

    def _day(self, key: str) -> date | None:
        found = self._raw.get(key)
        if found is None or type(found) is date:
            return found
        self._wrong(self._raw, key, key, f"must be a day like 2026-01-31 (got {found!r})")
        return None

    def _bands(self) -> dict[str, Band]:
        raw = self._mapping(self._raw, "bands", "bands")
        bands: dict[str, Band] = {}
        for name, price in raw.items():
            if isinstance(price, bool) or not isinstance(price, int | float) or not abs(price) < 1e6:
                self._wrong(raw, name, f"bands.{name}", f"must be a price per kWh (got {price!r})")
            else:
                bands[str(name)] = Band(str(name), float(price))
        return bands

    def _day_types(self) -> tuple[tuple[str, ...], set[str]]:
        raw = self._mapping(self._raw, "day_types", "day_types")
        of_weekday: dict[str, str] = {}
        for name, days in raw.items():
            for day in days if isinstance(days, list) else [days]:
                if day not in WEEKDAYS:
                    self._wrong(raw, name, f"day_types.{name}", f"must list {', '.join(WEEKDAYS)} (got {day!r})")
                elif day in of_weekday:
                    self._wrong(raw, name, f"day_types.{name}", f"{day} is already of type {of_weekday[day]!r}")
                else:
                    of_weekday[day] = str(name)
        missing = [d for d in WEEKDAYS if d not in of_weekday]
        if raw and missing:
            self._wrong(self._raw, "day_types", "day_types", f"no type for {', '.join(missing)}")
        return tuple(of_weekday.get(d, "") for d in WEEKDAYS), {str(n) for n in raw}

    def _special_days(self, types: set[str]) -> dict[date, str]:
        if "special_days" not in self._raw:
            return {}
        raw = self._mapping(self._raw, "special_days", "special_days")
        found: dict[date, str] = {}
        for day, day_type in raw.items():
            if type(day) is not date:
                self._wrong(raw, day, f"special_days.{day}", "must be a day like 2026-10-01")
            elif day_type not in types:
                self._wrong(raw, day, f"special_days.{day}", f"no such day type: {day_type!r}")
            else:
                found[day] = str(day_type)
        return found

    def _seasons(self, bands: Mapping[str, Band], types: set[str]) -> dict[tuple[int, str], DayPlan]:
        seasons = self._raw.get("seasons")
        if not isinstance(seasons, list):
            if "seasons" in self._raw:
                self._wrong(self._raw, "seasons", "seasons", "must be a list of {months, days}")
            return {}
        plans: dict[tuple[int, str], DayPlan] = {}
        months_seen: set[int] = set()
        for i, season in enumerate(seasons):
            name = f"seasons.{i}"
            if not isinstance(season, Mapping) or set(season) != {"months", "days"}:
                self._wrong(seasons, i, name, "must have exactly the keys months and days")
                continue
            days = self._mapping(season, "days", f"{name}.days")
            planned = {str(t): self._plan(days, t, f"{name}.days.{t}", bands, types) for t in days}
            for missing in sorted(types - set(planned)):
                self._wrong(season, "days", f"{name}.days", f"day type {missing!r} has no hours")
            for month in season["months"] if isinstance(season["months"], list) else [season["months"]]:
                if isinstance(month, bool) or not isinstance(month, int) or not 1 <= month <= 12:
                    self._wrong(season, "months", f"{name}.months", f"must list months 1 to 12 (got {month!r})")
                elif month in months_seen:
                    self._wrong(season, "months", f"{name}.months", f"month {month} stands in an earlier season")
                else:
                    months_seen.add(month)
                    plans |= {(month, t): plan for t, plan in planned.items()}
        if missing_months := sorted(set(range(1, 13)) - months_seen):
            listed = ", ".join(map(str, missing_months))
            self._wrong(self._raw, "seasons", "seasons", f"no season for month {listed}")
        return plans

    def _plan(
        self, days: Mapping[Any, Any], day_type: Any, name: str, bands: Mapping[str, Band], types: set[str]
    ) -> DayPlan:
        """One day: a mapping 'HH:MM-HH:MM' -> band, every minute exactly once; '22:00-06:00' runs over midnight."""
        if str(day_type) not in types:
            self._wrong(days, day_type, name, f"no such day type: {day_type!r}")
        minutes: list[Band | None] = [None] * MINUTES_PER_DAY
        hours = self._mapping(days, day_type, name)
        before = len(self._problems)
        for text, band_name in hours.items():
            window = _window(str(text))
            band = bands.get(str(band_name))
            if window is None:
                self._wrong(hours, text, f"{name}.{text}", "must be hours like 08:00-11:30, at most 24:00")
            elif band is None:
                self._wrong(hours, text, f"{name}.{text}", f"no such band: {band_name!r}")
            else:
                taken = [m for m in window if minutes[m] is not None]
                if taken:
                    self._wrong(hours, text, f"{name}.{text}", f"{_clock(taken[0])} is covered twice")
                for m in window:
                    minutes[m] = band
        plan = tuple(band for band in minutes if band is not None)
        if hours and len(plan) != MINUTES_PER_DAY and len(self._problems) == before:
            self._wrong(days, day_type, name, f"{_clock(minutes.index(None))} is not covered by any band")
        return plan


def _window(text: str) -> list[int] | None:
    """The minutes of 'HH:MM-HH:MM'; None when it is not one."""
    match = _HOURS.match(text)
    if match is None:
        return None
    h0, m0, h1, m1 = map(int, match.groups())
    start, end = h0 * 60 + m0, h1 * 60 + m1
    if m0 > 59 or m1 > 59 or start >= MINUTES_PER_DAY or end > MINUTES_PER_DAY or start == end:
        return None
    return list(range(start, end)) if start < end else [*range(start, MINUTES_PER_DAY), *range(end)]


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
