"""The threshold for a stated false-alarm rate, from scores of normal operation.

An alarm needs `raise_rows` scores in a row, so what counts is the sustained score: the least of the last raise_rows.
Exceedances of a high level come in clusters; only their peaks are near to independent. The peaks' excess is fitted with
a generalised Pareto distribution (Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, ch. 4-5) by
probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987); the threshold is the level that it exceeds
once in the stated number of rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from models import alarm_logic
from models.alarm_logic import AlarmRule
from wire.block import FloatArray
from wire.errors import ModelError

# The level that peaks must pass: the highest that leaves enough of them. Smoothed noise with normal and heavy tails,
# thresholds from 2,000 and 20,000 rows: 0.89 to 1.03 times the stated alarms came in 1.2 million held-out rows. Asking
# for 100 peaks and an unbounded tail, 0.06 to 0.94 times.
_LEVEL_QUANTILES = (0.995, 0.99, 0.98, 0.95, 0.9)
# With fewer peaks the shape of the tail cannot be told: it is taken as exponential.
_PEAKS_FOR_SHAPE = 30
# Not far into bounded tails (a machine can always surprise), and none without a variance.
_SHAPE_RANGE = (-0.2, 0.5)
# A seeded pump, one alarm per 5,000 rows stated, eight histories: from 20,000 rows 0.4 to 1.25 times that came, from
# 4,000 rows 0.15 to 1.8 times, from 1,000 rows 0 to 1.05 times.
_INTERVALS_FOR_TRUST = 4
MIN_SCORES = 200
# A curve: nobody wants more alarms than one in so many rows; and how far beyond the rows seen it reaches.
_SHORTEST, _FURTHEST = 100, 10


class Fit(NamedTuple):
    """threshold: in the score's unit. peaks: clusters that the tail was fitted to. method: in words, for the card."""

    threshold: float
    peaks: int
    method: str


class Tail(NamedTuple):
    """The upper tail of normal scores. level: from where it is fitted. shape, scale: of the generalised Pareto
    distribution. peaks: separate ones above the level, in `seen` rows of which the highest had the score `highest`.
    least: no threshold lies below it."""

    level: float
    shape: float
    scale: float
    peaks: int
    seen: int
    highest: float
    least: float = 0.0

    def at(self, rows_per_false_alarm: float) -> float:
        """The level that normal operation reaches once in so many rows."""
        expected = self.peaks * rows_per_false_alarm / self.seen
        if expected <= 1.0:
            found = self.level
        elif abs(self.shape) < 1e-6:
            found = self.level + self.scale * math.log(expected)
        else:
            found = self.level + self.scale / self.shape * (expected**self.shape - 1.0)
        if rows_per_false_alarm >= self.seen:
            # Less than one alarm was due in these rows: the threshold cannot lie inside of what they showed.
            found = max(found, self.highest)
        return float(f"{max(found, self.least):.6g}")

    def rates(self, stated: int) -> list[float]:
        """Rows per false alarm for a curve: 1, 2, 5, 10, ..., and the stated one; from where the tail begins to ten
        times what was seen, for further out nothing vouches."""
        if self.peaks == 0:
            return [float(stated)]
        first, last = max(_SHORTEST, math.ceil(self.seen / self.peaks)), max(_FURTHEST * self.seen, stated)
        steps = {float(part * 10**power) for power in range(2, 12) for part in (1, 2, 5)}
        return sorted(rows for rows in steps | {float(first), float(last), float(stated)} if first <= rows <= last)


def sustained(scores: FloatArray, rows: int) -> FloatArray:
    """The least of the last `rows` scores. Shape (n - rows + 1,)."""
    windows = np.lib.stride_tricks.sliding_window_view(scores, rows)
    least: FloatArray = windows.min(axis=1)
    return least


def peaks_over(level: float, values: FloatArray, gap: int) -> FloatArray:
    """The greatest value of each cluster above the level; clusters end after `gap` values at or below it."""
    above = np.flatnonzero(values > level)
    if above.size == 0:
        return np.empty(0)
    starts = np.flatnonzero(np.diff(above, prepend=above[0] - gap - 1) > gap)
    return np.array([values[part].max() for part in np.split(above, starts[1:])])


def fit(pieces: list[FloatArray], rule: AlarmRule, rows_per_false_alarm: int) -> Fit:
    """The threshold that normal operation reaches once in rows_per_false_alarm rows.

    pieces: scores of contiguous stretches of normal operation, warm-up left out. Raises ModelError when too short.
    """
    return told(tail(pieces, rule), rows_per_false_alarm)


def tail(pieces: list[FloatArray], rule: AlarmRule, least: float = 0.0) -> Tail:
    """The tail of normal scores; pieces as for fit. Raises ModelError when too short.

    least: what a detector whose normal score is 0 nearly always must reach at least; with it, no peak at all will do.
    """
    lasting = [sustained(piece, rule.raise_rows) for piece in pieces if len(piece) >= rule.raise_rows]
    seen = sum(len(piece) for piece in lasting)
    if seen < MIN_SCORES:
        raise ModelError(f"the threshold needs at least {MIN_SCORES} scored rows of normal data (got {seen})")
    everything = np.concatenate(lasting)
    # An alarm that is not released yet cannot be raised again: what falls into its hold is one cluster.
    gap = max(rule.hold_rows, rule.release_rows)
    for quantile in _LEVEL_QUANTILES:
        level = float(np.quantile(everything, quantile))
        peaks = np.concatenate([peaks_over(level, piece, gap) for piece in lasting])
        if peaks.size >= _PEAKS_FOR_SHAPE:
            break
    if peaks.size == 0 and least > 0.0:
        return Tail(least, 0.0, 0.0, 0, seen, float(everything.max()), least)
    if peaks.size == 0:
        raise ModelError("the scores of the normal data do not vary: no threshold can be set from them")
    shape, scale = _pareto(np.sort(peaks - level))
    return Tail(level, shape, scale, int(peaks.size), seen, float(everything.max()), least)


def told(found: Tail, rows_per_false_alarm: int) -> Fit:
    """The threshold for a rate, and how sure it is."""
    if found.peaks == 0:
        method = f"none of {found.seen} normal rows surprised it: the least threshold, whose true rate cannot be told"
        return Fit(found.at(rows_per_false_alarm), 0, method)
    many = found.peaks >= _PEAKS_FOR_SHAPE
    kind = f"generalised Pareto tail (shape {found.shape:.2f})" if many else "exponential tail"
    method = f"{kind} fitted to {found.peaks} separate peaks in {found.seen} normal rows"
    if rows_per_false_alarm >= found.seen:
        method += f"; reaches {rows_per_false_alarm / found.seen:.1f} times beyond what was seen"
    if not many or found.seen < _INTERVALS_FOR_TRUST * rows_per_false_alarm:
        method += "; from so little, the true rate may be several times higher or lower"
    reached = found.at(rows_per_false_alarm)
    if reached == found.least:
        method += "; the threshold is the least one, so that fewer false alarms are due"
    return Fit(reached, found.peaks, method)


def _pareto(excess: FloatArray) -> tuple[float, float]:
    """(shape, scale) of the excesses, sorted upwards, by probability-weighted moments; few of them: exponential."""
    n = excess.size
    mean = float(excess.mean())
    if n < _PEAKS_FOR_SHAPE:
        return 0.0, mean
    weighted = float((excess * (n - 1 - np.arange(n)) / (n - 1)).mean())
    shape = 2.0 - mean / (mean - 2.0 * weighted)
    shape = min(max(shape, _SHAPE_RANGE[0]), _SHAPE_RANGE[1])
    return shape, mean * (1.0 - shape)


def count_alarms(scores: FloatArray, rule: AlarmRule, threshold: float) -> int:
    """How often these scores raise an alarm, with the run-time's own logic.

    While calm only rows with raise_rows scores in a row at or above the threshold matter: the others are leapt over.
    What the tags come back to (peak_ratio) is judged by the score, for more is not known here.
    """
    scores = scores[~np.isnan(scores)]  # they change nothing
    if len(scores) < rule.raise_rows:
        return 0
    starts = np.flatnonzero(sustained(scores, rule.raise_rows) >= threshold)
    at = alarms = 0
    while True:
        ahead = starts[np.searchsorted(starts, at) :]
        if not ahead.size:
            return alarms
        at, state = int(ahead[0]), alarm_logic.CALM
        while at < len(scores):
            before, state = state, alarm_logic.step(rule, state, float(scores[at]), threshold)
            at += 1
            alarms += state.raised and not before.raised
            if not (state.raised or state.streak or state.settling):
                break
