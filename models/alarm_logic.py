"""From scores to one alarm: minimum length, latch, hysteresis, release. Pure; training and gateway share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """When an alarm begins and when it ends; all counts are scored rows.

    raise_rows: that many rows in a row at or above the threshold raise the alarm (its minimum length).
    hold_rows: once raised it stays at least so many rows (the latch), so that nobody misses a short one.
    release_rows: then it ends after that many rows in a row below clear_ratio * threshold (the hysteresis).
    Raises ValueError when a figure makes no sense.
    """

    raise_rows: int = 5
    hold_rows: int = 10
    release_rows: int = 10
    clear_ratio: float = 0.9

    def __post_init__(self) -> None:
        if self.raise_rows < 1 or self.release_rows < 1 or self.hold_rows < 0:
            raise ValueError("raise_rows and release_rows must be 1 or more, hold_rows 0 or more")
        if not 0.0 < self.clear_ratio <= 1.0:
            raise ValueError(f"clear_ratio must be above 0 and at most 1 (got {self.clear_ratio})")


class AlarmState(NamedTuple):
    """What has to be remembered from row to row.

    streak: rows in a row that speak for a change (for raising while calm, for releasing while raised).
    held: rows since the alarm was raised, the raising row included; 0 while calm.
    """

    raised: bool = False
    streak: int = 0
    held: int = 0


CALM = AlarmState()


def step(rule: AlarmRule, state: AlarmState, score: float, threshold: float) -> AlarmState:
    """The state after one more scored row. A score that is not a number changes nothing."""
    if score != score:
        return state
    if not state.raised:
        streak = state.streak + 1 if score >= threshold else 0
        return AlarmState(True, 0, 1) if streak >= rule.raise_rows else AlarmState(False, streak, 0)
    streak = state.streak + 1 if score < rule.clear_ratio * threshold else 0
    if streak >= rule.release_rows and state.held >= rule.hold_rows:
        return CALM
    return AlarmState(True, streak, state.held + 1)
