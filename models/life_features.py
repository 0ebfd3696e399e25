"""From rows of many noisy sensors to the few figures that tell how far a machine has worn.

Each sensor is put in standard deviations of its operating regime, and the sensors are fused into the few directions in
which slow change is largest against the noise from row to row (maximum autocorrelation factors: Switzer and Green,
Stanford technical report 6, 1984). Nothing here knows in which direction wear goes or how many faults there are: each
kind of wear that shows adds a direction. What is remembered of the past is recursive, so that a gateway keeps a few
dozen numbers and no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.signal import lfilter

from models.detectors.detector import rounded
from wire.block import FloatArray
from wire.errors import ModelError

IntArray = NDArray[np.int64]

# Spans of the exponential means, in rows: from the level now to the level a life ago; their differences are slopes.
SPANS = (3.0, 8.0, 20.0, 60.0)
# The first rows of a unit tell with which wear and which sensor offsets it began.
EARLY_ROWS = 20
# A direction counts as signal when it varies so many times as much as its noise. In FD001, two do so 32 and 61 times,
# all others below 1.2 times.
_SIGNAL = 1.5
MOST_DIRECTIONS = 6
# A setting's values fall into two regimes where they leave a gap of this part of their range,
_GAP = 0.05
# of which the sensors must show something: their variance must be explained to this part. In FD001, whose settings
# tremble in steps of 0.0001, less than 0.01 is.
_EXPLAINED = 0.2
# A regime must hold at least this part of the rows.
_REGIME_SHARE = 0.01
# A varied life: rows to either side that its course is smoothed over, and its pace as a range of logarithms. On FD001's
# training engines, left out by tenths, 0.3 lessens the RMSE by 2 %, and by 3 % where half of them wear another way.
_SMOOTH, _PACE = 15, 0.3
# Keeps the noise's covariance invertible; in units of a standardised sensor's variance.
_RIDGE = 1e-3
# A wild value counts for at most so many times the most that training showed.
_CEILING = 1.5


@dataclass(frozen=True)
class Fusion:
    """Fitted from whole lives. Constants have 6 significant digits.

    settings, sensors: columns of a row. regimes: shape (n_regimes, n_settings), the middle of each; reach: shape
    (n_settings,), in which distances from it are measured. centre, scale: shape (n_regimes, n_sensors).
    weights: shape (n_sensors, n_directions). ceiling: bound of a standardised value. ignored: column -> why.
    strengths: shape (n_directions,), falling: how many times as much as its noise a direction varies.
    """

    settings: IntArray
    sensors: IntArray
    regimes: FloatArray
    reach: FloatArray
    centre: FloatArray
    scale: FloatArray
    weights: FloatArray
    ceiling: float
    ignored: dict[int, str]
    strengths: FloatArray

    @property
    def clear_directions(self) -> int:
        """How many stand out of the noise; at least one."""
        return max(1, int((self.strengths > _SIGNAL).sum()))

    @property
    def directions(self) -> int:
        return int(self.weights.shape[1])

    def narrowed(self, directions: int) -> Fusion:
        """With the strongest directions only."""
        return replace(self, weights=self.weights[:, :directions])

    @classmethod
    def fit(cls, lives: Sequence[FloatArray], settings: int, most: int = MOST_DIRECTIONS) -> Fusion:
        """lives: rows of one unit each, shape (n_rows, n_columns), NaN where missing; the first `settings` columns are
        operating settings. most: directions, the strongest first. Raises ModelError where no sensor shows any change.
        """
        rows = np.concatenate(lives)
        ignored = _useless(rows)
        kept_settings = np.array([i for i in range(settings) if i not in ignored], dtype=np.int64)
        sensors = np.array([i for i in range(settings, rows.shape[1]) if i not in ignored], dtype=np.int64)
        regimes, reach = find_regimes(rows[:, kept_settings], rows[:, sensors])
        which = regime_of(rows[:, kept_settings], regimes, reach)
        centre = np.zeros((len(regimes), len(sensors)))
        scale = np.zeros_like(centre)
        for regime in range(len(regimes)):
            part = rows[which == regime][:, sensors]
            known = np.maximum((~np.isnan(part)).sum(axis=0), 1)
            centre[regime] = np.nansum(part, axis=0) / known
            scale[regime] = np.sqrt(np.nansum((part - centre[regime]) ** 2, axis=0) / known)
        # A sensor that stands still within every regime only repeats the settings.
        still = (scale <= 1e-9 * np.maximum(np.abs(centre), 1.0)).all(axis=0)
        ignored.update({int(i): "constant within each operating regime" for i in sensors[still]})
        sensors, centre, scale = sensors[~still], centre[:, ~still], scale[:, ~still]
        if not len(sensors):
            raise ModelError("no sensor changes in any unit: nothing can be learnt about its remaining life")
        scale = np.where(scale > 1e-9 * np.maximum(np.abs(centre), 1.0), scale, scale.max(axis=0))
        bare = cls(
            kept_settings,
            sensors,
            regimes,
            reach,
            rounded(centre),
            rounded(scale),
            np.eye(len(sensors)),
            np.inf,
            {},
            scale[0],
        )
        standardised = [bare.standardise(life) for life in lives]
        directions, strengths = _directions(standardised)
        ceiling = float(rounded(np.array(_CEILING * max(float(np.abs(z).max()) for z in standardised))))
        return cls(
            kept_settings,
            sensors,
            regimes,
            reach,
            bare.centre,
            bare.scale,
            rounded(directions[:, :most]),
            ceiling,
            ignored,
            strengths[:most],
        )

    def standardise(self, life: FloatArray) -> FloatArray:
        """Shape (n_rows, n_sensors): in standard deviations of the regime; what is missing keeps its last value (0
        before the first one)."""
        which = regime_of(life[:, self.settings], self.regimes, self.reach)
        z = (life[:, self.sensors] - self.centre[which]) / self.scale[which]
        z = np.clip(z, -self.ceiling, self.ceiling)
        if len(self.regimes) > 1:
            z[np.isnan(life[:, self.settings]).any(axis=1)] = np.nan
        if np.isnan(z).any():
            z[0] = np.nan_to_num(z[0])
            for i in range(1, len(z)):
                z[i] = np.where(np.isnan(z[i]), z[i - 1], z[i])
        return z

    def fuse(self, life: FloatArray) -> FloatArray:
        """Shape (n_rows, n_directions): each with noise of 1 from row to row."""
        fused: FloatArray = self.standardise(life) @ self.weights
        return fused

    def describe(self, life: FloatArray) -> FloatArray:
        """Shape (n_rows, n_features): what each row of one life and all rows before it tell."""
        return figures(self.fuse(life))


def figures(fused: FloatArray) -> FloatArray:
    """Exponential means, mean of the first rows, mean of all rows so far, and the age. fused: see Fusion.fuse."""
    n = np.arange(1.0, len(fused) + 1)[:, None]
    total = np.cumsum(fused, axis=0)
    early = total[np.minimum(np.arange(len(fused)), EARLY_ROWS - 1)] / np.minimum(n, EARLY_ROWS)
    return np.hstack([*(_mean_over(fused, span) for span in SPANS), early, total / n, n])


def varied(fused: FloatArray, dice: np.random.Generator) -> FloatArray:
    """A life that could have been: the same course with other noise, at another pace.

    Lives are few and rows many; without this the nets learn each life's own noise and pace by heart.
    """
    half = min(_SMOOTH, (len(fused) - 1) // 2)
    # Mirrored about its ends in both directions, so that the smoothed course keeps its slope there.
    before = 2 * fused[:5].mean(axis=0) - fused[half:0:-1]
    behind = 2 * fused[-5:].mean(axis=0) - fused[-2 : -half - 2 : -1]
    summed = np.cumsum(np.vstack([np.zeros((1, fused.shape[1])), before, fused, behind]), axis=0)
    course = (summed[2 * half + 1 :] - summed[: -2 * half - 1]) / (2 * half + 1)
    rows = round(len(fused) * float(np.exp(_PACE * dice.uniform(-1.0, 1.0))))
    where = np.linspace(0.0, len(fused) - 1.0, rows)
    stretched = np.column_stack([np.interp(where, np.arange(len(fused)), column) for column in course.T])
    return stretched + dice.normal(0.0, 1.0, stretched.shape)


def find_regimes(settings: FloatArray, sensors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Operating regimes: (the middle of each, what a distance is measured in).

    settings: shape (n_rows, n_settings). sensors: shape (n_rows, n_sensors). A setting is split where its sorted values
    leave wide gaps, and only if the sensors follow it: a setting may tremble in steps that mean nothing. A regime is a
    combination of such parts that occurs often enough. One regime where nothing is split.
    """
    whole = ~np.isnan(settings).any(axis=1)
    known = settings[whole]
    if not settings.shape[1] or not len(known):
        return np.zeros((1, settings.shape[1])), np.ones(settings.shape[1])
    least = max(1.0, _REGIME_SHARE * len(known))
    parts = np.column_stack([_split(column, least) for column in known.T])
    for i, part in enumerate(parts.T):
        if _explained(part, sensors[whole]) < _EXPLAINED:
            parts[:, i] = 0
    kinds, which, counts = np.unique(parts, axis=0, return_inverse=True, return_counts=True)
    middles = [known[which.ravel() == i].mean(axis=0) for i in range(len(kinds)) if counts[i] >= least]
    reach = np.ptp(known, axis=0)
    return rounded(np.array(middles or [known.mean(axis=0)])), rounded(np.where(reach > 0, reach, 1.0))


def _explained(part: IntArray, sensors: FloatArray) -> float:
    """The largest part of a sensor's variance that the parts of a setting explain."""
    most = 0.0
    for column in sensors.T:
        known = ~np.isnan(column)
        values, of = column[known], part[known]
        total = float(values.var()) if values.size else 0.0
        if total > 0:
            counts = np.bincount(of)
            means = np.bincount(of, values) / np.maximum(counts, 1)
            most = max(most, float((counts * (means - values.mean()) ** 2).sum()) / (len(values) * total))
    return most


def regime_of(settings: FloatArray, regimes: FloatArray, reach: FloatArray) -> IntArray:
    """The nearest regime of each row; the first where settings are missing."""
    apart = (settings[:, None, :] - regimes[None]) / reach
    nearest: IntArray = np.nan_to_num((apart**2).sum(axis=2)).argmin(axis=1)
    return nearest


def _split(column: FloatArray, least: float) -> IntArray:
    """The part of each value: parts lie apart by a wide gap, and each holds enough values on its own."""
    order = np.argsort(column, kind="stable")
    ranked = column[order]
    wide = np.flatnonzero(np.diff(ranked) > _GAP * max(float(ranked[-1] - ranked[0]), 1e-12)) + 1
    cuts: list[int] = []
    for cut in wide:
        if cut - (cuts[-1] if cuts else 0) >= least and len(ranked) - cut >= least:
            cuts.append(int(cut))
    part = np.empty(len(column), dtype=np.int64)
    part[order] = np.searchsorted(np.array(cuts, dtype=np.int64), np.arange(len(column)), side="right")
    return part


def _useless(rows: FloatArray) -> dict[int, str]:
    """Column -> why nothing can be learnt from it."""
    ignored = {}
    for i, column in enumerate(rows.T):
        known = column[~np.isnan(column)]
        if not known.size:
            ignored[i] = "no value at all"
        elif np.ptp(known) <= 1e-9 * max(float(np.abs(known).max()), 1.0):
            ignored[i] = f"always {known[0]:.6g}"
        elif known.size < len(column) / 2:
            ignored[i] = f"missing in {100 - 100 * known.size // len(column)} % of the rows"
    return ignored


def _directions(standardised: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """(directions, strengths): the slowest change first, each with noise of 1 from row to row.

    Shapes (n_sensors, n) and (n,).
    """
    z = np.concatenate(standardised)
    steps = np.concatenate([np.diff(each, axis=0) for each in standardised]) / np.sqrt(2.0)
    n = z.shape[1]
    noise = np.atleast_2d(np.cov(steps, rowvar=False)) + _RIDGE * np.eye(n)
    values, vectors = eigh(np.atleast_2d(np.cov(z, rowvar=False)), noise)
    best = vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary: its largest weight is positive, for one file from one set of data.
    signs = np.sign(best[np.abs(best).argmax(axis=0), np.arange(n)])
    return best * signs, values[::-1]


def _mean_over(values: FloatArray, span: float) -> FloatArray:
    """Exponential mean that begins with the first row itself. values: shape (n_rows, n)."""
    memory = 1.0 - 1.0 / span
    total = lfilter([1.0 - memory], [1.0, -memory], values, axis=0)
    mean: FloatArray = total / (1.0 - memory ** np.arange(1.0, len(values) + 1))[:, None]
    return mean
