"""Classes of tags: how long each stays in the store. Settings and matching; pure.

A pattern is written like a tag's place, GROUP/GATEWAY/DEVICE/TAG, from the right: `vibration_*` is a tag, `*/flow` a
tag of any device, `pump-*/flow` of some. `*`, `?` and `[abc]` match within one part; within the tag, which may have `/`
in its name, they match those too. A pattern in which the tag itself has a `/` is written with all four parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wire.errors import ConfigError
from wire.ids import check_id

if TYPE_CHECKING:
    from cloud.store.whole_rows import TagId

DAY_MS = 86_400_000
FOREVER = "forever"
DEFAULT = "default"
"""The class of every tag that belongs to no other."""
LONGEST_DAYS = 36_500
LEVELS = ("1m", "15m", "1h")
_PARTS = 4


@dataclass(frozen=True, slots=True)
class TagClass:
    """hot_days: how many days its samples stay in the store; None: for ever. tags and measures: both must fit."""

    name: str
    hot_days: int | None
    tags: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()

    def cutoff_ms(self, now_ms: int) -> int:
        """Samples before this time may go: the beginning of a UTC day; 0 where they stay for ever."""
        day_ms = 86_400_000
        return 0 if self.hot_days is None else max(0, now_ms // day_ms - self.hot_days) * day_ms

    @property
    def days(self) -> float:
        return float("inf") if self.hot_days is None else self.hot_days


@dataclass(frozen=True, slots=True)
class RetentionChoice:
    """archive_first: only what the archive has goes; None: where there is an archive.

    restored_days: how long a day that was restored from the archive stays. rollups: level -> days, None for ever.
    """

    hot_days: int | None = None
    classes: tuple[TagClass, ...] = ()
    archive_first: bool | None = None
    restored_days: int = 7
    rollups: Mapping[str, int | None] = field(default_factory=dict)

    def rollups_since_ms(self, level: str, now_ms: int) -> int:
        """Roll-ups of windows before it go. level: '1m', '15m', '1h'."""
        days = self.rollups.get(level)
        return 0 if days is None else (now_ms // DAY_MS - days) * DAY_MS

    @property
    def all_classes(self) -> tuple[TagClass, ...]:
        return (*self.classes, TagClass(DEFAULT, self.hot_days))

    def of(self, tag: TagId, measures: str | None) -> TagClass:
        """The first class that fits. measures: as the tag was born; None: nobody knows any more.

        A tag of which nobody knows what it measured stays as long as any class keeps that asks for it.
        """
        place = (tag.node.group, tag.node.node, tag.device, tag.tag)
        found = TagClass(DEFAULT, self.hot_days)
        maybe: list[TagClass] = []
        for one in self.classes:
            if one.tags and not any(fits(pattern, place) for pattern in one.tags):
                continue
            if one.measures and measures is None:
                maybe.append(one)
            elif not one.measures or measures in one.measures:
                found = one
                break
        return max([found, *maybe], key=lambda one: one.days)


def fits(pattern: str, place: tuple[str, ...]) -> bool:
    parts = pattern.split("/", _PARTS - 1)
    return all(fnmatchcase(name, part) for name, part in zip(place[-len(parts) :], parts, strict=True))


def parse_retention(value: Any) -> RetentionChoice:
    """Raises ConfigError with every problem, each with its line where it is known."""
    problems: list[str] = []
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r}: a mapping is wanted, as {{hot_days: 400, classes: [...]}}")
    known = ("hot_days", "classes", "archive_first", "restored_days", "rollups")
    _unknown(value, known, "", problems)
    hot = _days(value, "hot_days", "", problems, forever=True, default=None)
    first = value.get("archive_first")
    if first is not None and not isinstance(first, bool):
        problems.append(f"{_line(value, 'archive_first')}archive_first: {first!r}: true or false is wanted")
    restored = _days(value, "restored_days", "", problems, forever=False, default=7)
    rollups = value.get("rollups", {})
    if not isinstance(rollups, Mapping):
        problems.append(f"{_line(value, 'rollups')}rollups: {rollups!r}: a mapping is wanted, as {{1m: 400}}")
        rollups = {}
    _unknown(rollups, LEVELS, "rollups.", problems)
    levels = {k: _days(rollups, k, "rollups.", problems, forever=True, default=None) for k in LEVELS if k in rollups}
    kept = [(k, levels.get(k) or float("inf")) for k in LEVELS]
    problems += [
        f"{_line(rollups, coarse)}rollups.{coarse}: is kept for a shorter time than {fine}, and what is left of a time"
        f" when its samples are gone are the coarser ones: {coarse} needs at least as many days"
        for (fine, a), (coarse, b) in pairwise(kept)
        if a > b
    ]
    classes = tuple(_classes(value, problems))
    names = [one.name for one in classes]
    problems += [f"classes: {name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise ConfigError(problems)
    return RetentionChoice(hot, classes, first, restored or 7, levels)


def _classes(value: Mapping[str, Any], problems: list[str]) -> Iterator[TagClass]:
    given = value.get("classes", [])
    if not isinstance(given, list):
        problems.append(f"{_line(value, 'classes')}classes: {given!r}: a list is wanted")
        return
    for i, one in enumerate(given):
        at = f"classes.{i}."
        if not isinstance(one, Mapping):
            problems.append(
                f"{_line(given, i)}classes.{i}: {one!r}: a mapping with name, tags or measures, and hot_days"
            )
            continue
        _unknown(one, ("name", "tags", "measures", "hot_days"), at, problems)
        tags, measures = (_texts(one, key, at, problems) for key in ("tags", "measures"))
        if "tags" not in one and "measures" not in one:
            problems.append(f"{_line(given, i)}classes.{i}: give tags (patterns) or measures, or both")
        if "hot_days" not in one:
            problems.append(f"{_line(given, i)}{at}hot_days: is missing: a number of days, or {FOREVER}")
        hot = _days(one, "hot_days", at, problems, forever=True, default=None)
        try:
            name = check_id(str(one.get("name", "")), "class")
            if name == DEFAULT:
                raise ConfigError(f"{DEFAULT!r} is what every other tag belongs to: its days are retention.hot_days")
            yield TagClass(name, hot, tags, measures)
        except ConfigError as fault:
            problems.extend(f"{_line(one, 'name') or _line(given, i)}{at}name: {why}" for why in fault.problems)


def _texts(given: Mapping[str, Any], key: str, at: str, problems: list[str]) -> tuple[str, ...]:
    found = given.get(key, [])
    if not isinstance(found, list) or (key in given and not found) or not all(isinstance(t, str) and t for t in found):
        problems.append(f"{_line(given, key)}{at}{key}: {found!r}: a list of texts is wanted")
        return ()
    for text in found:
        if key == "tags" and not all(text.split("/", _PARTS - 1)):
            problems.append(
                f"{_line(given, key)}{at}tags: {text!r}: write it as TAG, DEVICE/TAG ... with * where all fit"
            )
    return tuple(found)


def _days(
    given: Mapping[str, Any], key: str, at: str, problems: list[str], forever: bool, default: int | None
) -> int | None:
    said = given.get(key, default)
    if said is None or (forever and said == FOREVER):
        return None
    if isinstance(said, bool) or not str(said).isdecimal() or not 1 <= int(said) <= LONGEST_DAYS:
        also = f", or {FOREVER}" if forever else ""
        problems.append(
            f"{_line(given, key)}{at}{key}: {said!r}: a number of days from 1 to {LONGEST_DAYS} is wanted{also}"
        )
        return None
    return int(said)


def _unknown(given: Mapping[str, Any], known: tuple[str, ...], at: str, problems: list[str]) -> None:
    for key in given:
        if key not in known:
            problems.append(f"{_line(given, key)}{at}{key}: unknown key; there are: {', '.join(known)}")


def _line(given: Any, key: Any) -> str:
    """'line 12: ', where the settings come out of a file."""
    try:
        return f"line {given.lc.data[key][0] + 1}: "
    except (AttributeError, KeyError, TypeError):
        return ""
