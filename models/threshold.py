"""The threshold for a stated false-alarm rate, from scores of normal operation.

An alarm needs `raise_rows` scores in a row, so what counts is the sustained score: the least of the last raise_rows.
Exceedances of a high level come in clusters; only their peaks are near to independent. The peaks' excess is fitted with
a generalised Pareto distribution (Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, ch. 4-5) by
probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987); the threshold is the level that it exceeds
once in the stated number of rows.
"""

from __future__ import annotations

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


class Fit(NamedTuple):
    """threshold: in the score's unit. peaks: clusters that the tail was fitted to. method: in words, for the card."""

    threshold: float
    peaks: int
    method: str


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
    if peaks.size == 0:
        raise ModelError("the scores of the normal data do not vary: no threshold can be set from them")
    excess = np.sort(peaks - level)
    shape, scale = _pareto(excess)
    expected = peaks.size * rows_per_false_alarm / seen
    if expected <= 1.0:
        threshold = level
    elif abs(shape) < 1e-6:
        threshold = level + scale * float(np.log(expected))
    else:
        threshold = level + scale / shape * (expected**shape - 1.0)
    tail = f"generalised Pareto tail (shape {shape:.2f})" if peaks.size >= _PEAKS_FOR_SHAPE else "exponential tail"
    method = f"{tail} fitted to {peaks.size} separate peaks in {seen} normal rows"
    if rows_per_false_alarm >= seen:
        # Less than one alarm was due in these rows: the threshold cannot lie inside of what they showed.
        threshold = max(threshold, float(everything.max()))
        method += f"; reaches {rows_per_false_alarm / seen:.1f} times beyond what was seen"
    if peaks.size < _PEAKS_FOR_SHAPE or seen < _INTERVALS_FOR_TRUST * rows_per_false_alarm:
        method += "; from so little, the true rate may be several times higher or lower"
    return Fit(float(f"{threshold:.6g}"), int(peaks.size), method)


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
    """How often these scores raise an alarm, with the run-time's own logic."""
    state, alarms = alarm_logic.CALM, 0
    for score in scores:
        was_raised = state.raised
        state = alarm_logic.step(rule, state, float(score), threshold)
        alarms += state.raised and not was_raised
    return alarms
