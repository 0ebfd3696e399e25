"""The witness of clocks: which stamp each answer had to get, from what was done to the gateway's clock.

Every answer bears a value of its own, so that each row tells when it was truly taken. Its stamp is right when it is
what the wall clock said then; or, where that would not rise, a millisecond above the one before it and UNCERTAIN; or,
of a boot that never knew the time, UNCERTAIN and no further off than the record of that boot says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.campaign.judge import Verdict
from benchmarks.campaign.witness import Finding, Key, Kill, Served, Stop, find
from firmware_sim.demo.host_api import Row
from firmware_sim.demo.witness import EARLY_MS, LATE_MS

FOLLOWED_MS = 2500
"""A step of the wall clock is in the stamps by then: the gateway looks once a second, and at a poll."""
HOST_MS = 1500  # how far a stamp may be off whose time is the host's: its bound of 1 s, and a moment
EARLIEST_MS = 1_735_689_600_000  # docs/delivery.md: a wall clock before 2025 is not followed
SQUEEZED_MS = 5  # both devices' tags may share a stamp's way up
GOOD, UNCERTAIN = 192, 64


@dataclass(slots=True)
class Wall:
    """The offset of the gateway's wall clock from the true time, as it was set."""

    changes: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    def set(self, at_ms: int, offset_ms: int) -> None:
        self.changes.append((at_ms, offset_ms))

    def offsets(self, at_ms: int) -> list[int]:
        """What it may have been for an answer of this time; the newest first."""
        found = [offset for since, offset in self.changes if since <= at_ms and at_ms + offset >= EARLIEST_MS][-1:]
        recent = [since for since, _ in self.changes if at_ms - FOLLOWED_MS <= since <= at_ms]
        if recent:
            found += [o for since, o in self.changes if since < recent[0] and at_ms + o >= EARLIEST_MS][-1:]
            found += [o for since, o in self.changes if since in recent and at_ms + o >= EARLIEST_MS]
        return found


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot that did not know the time at first, in true time. samples: that waited when it was last asked."""

    from_ms: int
    to_ms: int
    samples: int

    def until(self, to_ms: int) -> Boot:
        return replace(self, to_ms=to_ms)


def stored(path: Path) -> dict[Key, list[Row]]:
    """Every row of a database that no host has open, in the order of stamps."""
    rows: dict[Key, list[Row]] = defaultdict(list)
    with duckdb.connect(str(path), read_only=True) as db:
        for device, tag, ts_ms, value, quality in db.execute(
            "SELECT device, tag, ts_ms, value, quality FROM samples JOIN series ON series.id = samples.series"
            " ORDER BY ts_ms"
        ).fetchall():
            rows[device, tag].append(Row(int(ts_ms), None if value is None else float(value), int(quality)))
    return rows


def judged(
    served: Served,
    rows: Mapping[Key, Sequence[Row]],
    span: tuple[int, int],
    kills: Sequence[Kill],
    stops: Sequence[Stop],
    wall: Wall,
    boots: Sequence[Boot],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[Verdict, Finding]:
    """Lost and doubled as everywhere, in true time; and every stamp. records: of kinds 'clock' and 'clock_step'."""
    placed = [record["off_by_ms"] for record in records["clock"] if record["placed"] == "between"]
    anew = sum("stamps" in record for record in records["clock_step"])
    in_true_time: dict[Key, list[Row]] = {}
    wrong: list[str] = []
    stamps_twice = 0
    for key, answers in served.items():
        when = {value: t_ms for t_ms, value in answers}
        of_key = rows.get(key, ())
        stamps_twice += len(of_key) - len({row.ts_ms for row in of_key})
        in_true_time[key] = _true(of_key, answers)
        known = sorted((when[row.value], row) for row in of_key if row.value is not None and row.value in when)
        wrong += [f"{key} {text}" for text in _stamps(known, wall, boots, placed, anew)]
    found = find(served, in_true_time, *span, kills, stops)
    found.doubled = max(found.doubled, stamps_twice)
    verdict = Verdict(found.samples, found.lost, found.doubled, found.gap_ms, len(found.gone))
    if found.lost:
        verdict.problems.append(f"{found.lost} samples are lost, the first {found.missing[:3]}")
    if found.doubled:
        verdict.problems.append(f"{found.doubled} samples are stored twice")
    if found.wrong:
        verdict.problems.append(f"{found.wrong} stored values were never served")
    if wrong:
        verdict.problems.append(f"{len(wrong)} stamps are wrong, the first: {'; '.join(wrong[:3])}")
    if len(placed) != len(boots) - 1 or not anew:
        verdict.problems.append(f"{len(boots) - 1} boots had no time, on record are {len(placed)}; anew: {anew}")
    worst = max((kill.allowed_ms for kill in kills), default=0)
    if found.gap_ms > worst:
        verdict.problems.append(f"{found.gap_ms} ms of answers are gone before a kill, allowed are {worst}")
    return verdict, found


def _true(rows: Sequence[Row], answers: Sequence[tuple[int, float]]) -> list[Row]:
    """The rows with the true time instead of their stamp.

    A BAD row has no value: it stands for one answer that came too late, the first missing one behind its neighbour.
    """
    place = {value: i for i, (_, value) in enumerate(answers)}
    there = {row.value for row in rows}
    found: list[Row] = []
    at, excused = -1, set[int]()
    for row in rows:
        if row.value is None:
            late = next((i for i in range(at + 1, len(answers)) if answers[i][1] not in there and i not in excused), at)
            excused.add(late)
            found.append(row._replace(ts_ms=answers[late][0]))
        else:
            at = place.get(row.value, at)
            found.append(row._replace(ts_ms=answers[at][0] if row.value in place else row.ts_ms))
    return found


def _stamps(
    known: Sequence[tuple[int, Row]], wall: Wall, boots: Sequence[Boot], placed: Sequence[int | None], anew: int
) -> list[str]:
    """known: (when it was truly taken, row) in that order. What is wrong, in words."""
    wrong = []
    before_ms = 0
    for t_ms, row in known:
        said = f"taken at {t_ms}, stamped {row.ts_ms} ({row.ts_ms - t_ms:+d} ms), quality {row.quality}"
        if row.ts_ms <= before_ms:
            if before_ms - row.ts_ms > 1000 and anew:
                anew -= 1  # of this tag; each is on record once
            else:
                wrong.append(f"does not rise: {said}, after {before_ms}")
        if not _right(t_ms, row, before_ms, wall, boots, placed):
            wrong.append(said)
        before_ms = row.ts_ms
    return wrong


def _right(
    t_ms: int, row: Row, before_ms: int, wall: Wall, boots: Sequence[Boot], placed: Sequence[int | None]
) -> bool:
    number = next((i for i, boot in enumerate(boots) if boot.from_ms <= t_ms <= boot.to_ms), None)
    off_ms = row.ts_ms - t_ms
    if number is not None:
        bound = placed[number] if number < len(placed) else 0
        last = number == len(boots) - 1
        return (last or row.quality != GOOD) and bound is not None and abs(off_ms) <= bound + HOST_MS
    if any(offset - EARLY_MS <= off_ms <= offset + LATE_MS for offset in wall.offsets(t_ms)):
        return True
    # An answer on its way while the clock steps is stamped when it is there.
    if any(t_ms < since <= row.ts_ms - offset <= t_ms + LATE_MS for since, offset in wall.changes):
        return True
    return row.quality == UNCERTAIN and 1 <= row.ts_ms - before_ms <= SQUEEZED_MS
