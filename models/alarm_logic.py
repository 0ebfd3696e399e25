"""From scores to one alarm: minimum length, latch, hysteresis, release, end of a fault. Pure; training and gateway
share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """When an alarm begins and when it ends; all counts are scored rows.

    raise_rows: that many rows in a row at or above the threshold raise the alarm (its minimum length).
    hold_rows: once raised it stays at least so many rows (the latch), so that nobody misses a short one.
    release_rows: then it ends after that many rows in a row below clear_ratio * threshold (the hysteresis).

    The end of a fault is the hard part: the machine comes back, but seldom to where it was. So:
    peak_ratio: a tag has also come back when it is below peak_ratio times the most that it showed in this alarm, in the
    same direction. 0 asks for the hysteresis alone.
    settle_rows, settle_ratio: for so many rows after an alarm only scores above settle_ratio times its peak raise the
    next one; the baseline comes after the machine meanwhile (models/baseline.py).
    Raises ValueError when a figure makes no sense.
    """

    raise_rows: int = 5
    hold_rows: int = 10
    release_rows: int = 10
    clear_ratio: float = 0.9
    peak_ratio: float = 0.0
    settle_rows: int = 0
    settle_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.raise_rows < 1 or self.release_rows < 1 or self.hold_rows < 0 or self.settle_rows < 0:
            raise ValueError(
                "raise_rows and release_rows must be 1 or more, hold_rows and settle_rows must be 0 or more"
            )
        if not 0.0 < self.clear_ratio <= 1.0:
            raise ValueError(f"clear_ratio must be above 0 and at most 1 (got {self.clear_ratio})")
        if not (0.0 <= self.peak_ratio < 1.0 and 0.0 <= self.settle_ratio <= 1.0):
            raise ValueError(
                "peak_ratio must be 0 or more and below 1, settle_ratio must be 0 to 1 "
                f"(got {self.peak_ratio} and {self.settle_ratio})"
            )


class AlarmState(NamedTuple):
    """What has to be remembered from row to row.

    streak: rows in a row that speak for a change (for raising while calm, for releasing while raised).
    held: rows since the alarm was raised, the raising row included; 0 while calm.
    tops: while raised, the furthest that each tag was from normal, with its direction; 0 for a tag that stayed below
    the threshold. settling: rows left until the threshold is what it was; peak: the highest score of the last alarm.
    """

    raised: bool = False
    streak: int = 0
    held: int = 0
    tops: tuple[float, ...] = ()
    settling: int = 0
    peak: float = 0.0


CALM = AlarmState()


def parts_of(score: float, deviations: Sequence[float]) -> list[float]:
    """Each tag's signed part of the score, as step() takes it: the strangest tag carries the whole score, the others
    in proportion. deviations: in any unit; NaN for a tag that was missing."""
    furthest = max((abs(each) for each in deviations if each == each), default=0.0)
    scale = score / furthest if furthest > 0.0 else 0.0
    return [each * scale if each == each else 0.0 for each in deviations]


def step(
    rule: AlarmRule, state: AlarmState, score: float, threshold: float, parts: Sequence[float] = (), held: bool = False
) -> AlarmState:
    """The state after one more scored row. A score that is not a number changes nothing.

    parts: each tag's signed part of the score, in its unit, so that the greatest of them is the score; without them
    the score itself is all that is known. held: an alarm does not end with this row, for the tag to blame is not there.
    """
    if score != score:
        return state
    parts = parts or (score,)
    if not state.raised:
        bar = max(threshold, rule.settle_ratio * state.peak) if state.settling else threshold
        streak = state.streak + 1 if score >= bar else 0
        if streak >= rule.raise_rows:
            return AlarmState(True, 0, 1, _tops((), parts, threshold))
        return AlarmState(False, streak, 0, (), max(0, state.settling - 1), state.peak)
    tops = _tops(state.tops, parts, threshold)
    streak = state.streak + 1 if not held and _come_back(rule, tops, parts, threshold) else 0
    if streak >= rule.release_rows and state.held >= rule.hold_rows:
        if rule.settle_rows == 0:
            return CALM
        return AlarmState(settling=rule.settle_rows, peak=max(abs(top) for top in tops))
    return AlarmState(True, streak, state.held + 1, tops)


def _tops(tops: tuple[float, ...], parts: Sequence[float], threshold: float) -> tuple[float, ...]:
    """tops: () at the row that raises the alarm, of which the strangest tag is always one."""
    if not tops:
        furthest = max(abs(part) for part in parts)
        return tuple(part if abs(part) >= min(threshold, furthest) else 0.0 for part in parts)
    return tuple(
        part if abs(part) >= threshold and abs(part) > abs(top) and part * top >= 0.0 else top
        for top, part in zip(tops, parts, strict=True)
    )


def _come_back(rule: AlarmRule, tops: tuple[float, ...], parts: Sequence[float], threshold: float) -> bool:
    """Whether every tag is back. One that has gone through normal to the other side is back, unless it is as far off
    there as it was here: what comes after a fault often goes a little too far."""
    for top, part in zip(tops, parts, strict=True):
        if top == 0.0:
            continue
        along = part if top > 0.0 else -part
        if along >= max(rule.clear_ratio * threshold, rule.peak_ratio * abs(top)):
            return False
        if -along >= max(threshold, abs(top)):
            return False
    return True
