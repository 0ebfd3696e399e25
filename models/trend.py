"""Time until a condition value reaches its limit, for machines of which no failures are on record.

A straight line through the recent values, with Theil and Sen's slope (Sen, "Estimates of the regression coefficient
based on Kendall's tau", JASA 63, 1968), so that single wild values and steps of a gauge do no harm; the interval is
Fieller's, for the quotient of the distance to the limit and the slope. Where the slope could as well be chance (Mann
and Kendall's test), it says "no trend" and no time. numpy only, so that a gateway can use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from wire.block import FloatArray

Verdict = Literal["trend", "no trend", "away", "beyond", "too few"]

LEAST_VALUES = 12
# More values are put together by medians of neighbours: the slope takes the square of their number.
_MOST_POINTS = 240
# Against which chance of a slope out of nothing.
_SIGNIFICANCE = 0.05
# Newer values alone are taken where their slope differs by so many standard errors: wear that speeds up.
_BENT = 3.0
_LEAST_POINTS_OF_A_PART = 24
# Standard errors against least squares with normal noise: efficiency 0.91 of Theil and Sen's slope, 0.64 of a median.
_SLOPE_COST, _MEDIAN_COST = 1.05, 1.2533
_MAD = 1.482602


@dataclass(frozen=True, slots=True)
class Trend:
    """verdict: `trend` towards the limit; `no trend` that stands out of the noise; `away` from the limit; `beyond` the
    limit already; `too few` values.

    now: the line at the newest time, NaN with too few values. slope: per unit of time. left, lower, upper: time from
    the newest value until the limit, with the interval; NaN unless `trend` (0 when `beyond`); upper may be infinite.
    values: how many took part.
    """

    verdict: Verdict
    now: float
    slope: float
    left: float
    lower: float
    upper: float
    values: int

    def sentence(self, time_unit: str) -> str:
        """For people."""
        if self.verdict == "too few":
            return f"too few values for a trend ({self.values}, at least {LEAST_VALUES} are needed)"
        if self.verdict == "beyond":
            return "beyond the limit already"
        if self.verdict == "no trend":
            return "no trend: the slope does not stand out of the noise"
        if self.verdict == "away":
            return "the trend leads away from the limit"
        most = f"{self.upper:.3g}" if math.isfinite(self.upper) else "more than can be said"
        return f"about {self.left:.3g} {time_unit} to the limit ({self.lower:.3g} to {most})"


@dataclass(frozen=True, slots=True)
class _Line:
    """middle: of the times; at: the line there; errors: standard errors of `at` and `slope`, independent."""

    middle: float
    at: float
    slope: float
    at_error: float
    slope_error: float
    points: int
    tau: float


def trend(times: FloatArray, values: FloatArray, limit: float, *, high: bool = True, level: float = 0.9) -> Trend:
    """times, values: shape (n,), rising times in any unit; NaN values are left out. high: the limit lies above.

    Raises ValueError for times that do not rise, a limit that is no number, or a level outside of (0, 1).
    """
    if times.shape != values.shape or times.ndim != 1:
        raise ValueError(f"times and values must be two rows of one length (got {times.shape} and {values.shape})")
    if not math.isfinite(limit) or not 0 < level < 1:
        raise ValueError(f"limit must be a number and level between 0 and 1 (got {limit} and {level})")
    known = np.isfinite(values)
    t, y = times[known].astype(np.float64), values[known].astype(np.float64)
    if not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise ValueError("times must be numbers that rise")
    if len(t) < LEAST_VALUES:
        return Trend("too few", math.nan, math.nan, math.nan, math.nan, math.nan, len(t))
    newest, used = float(t[-1]), len(t)
    sign = 1.0 if high else -1.0
    t, y = _thinned(t, sign * y)
    line = _line(t, y)
    newer = _newer(t, y)
    while newer:
        used = used * newer // len(t)
        t, y = t[-newer:], y[-newer:]
        line, newer = _line(t, y), _newer(t, y)
    now = line.at + line.slope * (newest - line.middle)
    slope = sign * line.slope
    if now >= sign * limit:
        return Trend("beyond", sign * now, slope, 0.0, 0.0, 0.0, used)
    if not _stands_out(line):
        return Trend("no trend", sign * now, slope, math.nan, math.nan, math.nan, used)
    if line.slope < 0:
        return Trend("away", sign * now, slope, math.nan, math.nan, math.nan, used)
    left = (sign * limit - now) / line.slope
    lower, upper = _fieller(line, sign * limit, level)
    from_middle = newest - line.middle
    return Trend("trend", sign * now, slope, left, max(0.0, lower - from_middle), max(0.0, upper - from_middle), used)


def _thinned(t: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most _MOST_POINTS points: medians of equally many neighbours."""
    each = math.ceil(len(t) / _MOST_POINTS)
    whole = len(t) // each * each  # the oldest few are left out
    if each == 1:
        return t, y
    return (
        t[-whole:].reshape(-1, each).mean(axis=1),
        np.median(y[-whole:].reshape(-1, each), axis=1),
    )


def _newer(t: FloatArray, y: FloatArray) -> int:
    """How many of the newest points have a slope of their own; 0 where one line fits all."""
    for points in (len(t) // 2, len(t) // 4):
        if points >= _LEAST_POINTS_OF_A_PART:
            newer, older = _line(t[-points:], y[-points:]), _line(t[:-points], y[:-points])
            if abs(newer.slope - older.slope) > _BENT * math.hypot(newer.slope_error, older.slope_error):
                return points
    return 0


def _line(t: FloatArray, y: FloatArray) -> _Line:
    n, middle = len(t), float(t.mean())
    first, second = np.triu_indices(n, 1)
    rises = y[second] - y[first]
    slope = float(np.median(rises / (t[second] - t[first])))
    rest = y - slope * (t - middle)
    at = float(np.median(rest))
    off = rest - at
    spread = _MAD * float(np.median(np.abs(off)))
    if spread == 0.0:
        spread = float(off.std())
    # Neighbours that err together count for less; a negative correlation is not believed.
    power = float((off**2).sum())
    together = float((off[1:] * off[:-1]).sum()) / power if power > 0 else 0.0
    together = min(max(together, 0.0), 0.95)
    error = spread * math.sqrt((1 + together) / (1 - together)) * math.sqrt(n / (n - 2))
    across = math.sqrt(float(((t - middle) ** 2).sum()))
    tau = float(np.sign(rises).sum()) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * (1 + together) / (1 - together))
    return _Line(middle, at, slope, _MEDIAN_COST * error / math.sqrt(n), _SLOPE_COST * error / across, n, tau)


def _stands_out(line: _Line) -> bool:
    """Mann and Kendall's test, and a slope beyond its own standard error; both, for values that hardly vary."""
    beyond = NormalDist().inv_cdf(1 - _SIGNIFICANCE / 2)
    return abs(line.tau) > beyond and abs(line.slope) > _student(1 - _SIGNIFICANCE / 2, line.points) * line.slope_error


def _student(part: float, points: int) -> float:
    """Quantile of Student's distribution with points - 2 degrees of freedom (first term of Fisher's expansion)."""
    z = NormalDist().inv_cdf(part)
    return z + (z**3 + z) / (4 * (points - 2))


def _fieller(line: _Line, limit: float, level: float) -> tuple[float, float]:
    """Interval of the time from the line's middle until the limit; the upper end may be infinite."""
    q = _student((1 + level) / 2, line.points)
    away, slope = limit - line.at, line.slope
    g = (q * line.slope_error / slope) ** 2
    if g >= 1:
        return away / (slope + q * line.slope_error), math.inf
    centre = away / slope
    root = q / slope * math.sqrt((1 - g) * line.at_error**2 + (centre * line.slope_error) ** 2)
    return (centre - root) / (1 - g), (centre + root) / (1 - g)
