"""Detectors whose own `fit` has another signature, as the training calls them: settings with usual values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from models import detectors, threshold
from models.alarm_logic import AlarmRule
from models.detectors.combined import Combined
from models.detectors.detector import Detector, rounded
from models.detectors.forecast import Forecast
from models.detectors.level import ALONE, Level, LevelSettings
from models.detectors.neighbours import Neighbours
from models.detectors.novelty import Novelty
from models.detectors.pca import Pca
from models.detectors.robust_distance import RobustDistance
from models.detectors.seasonal import Seasonal
from models.detectors.seasonal_novelty import SeasonalNovelty
from wire.block import FloatArray
from wire.errors import ModelError

Rows = Annotated[int, Field(ge=1, le=1000)]
Quiet = Annotated[int, Field(ge=1)] | None
Member = Literal["robust_distance", "level", "pca", "neighbours"]

# What a change must be at least is a matter of the kind of sensor, which the unit tells: temperatures wander with room
# and load by kelvins; vibration changes by some per cent with nothing wrong (ISO 20816 calls 25 % significant).
_THERMAL_SPREADS = {"Cel": 2.0, "K": 2.0, "[degF]": 3.6}
_VIBRATION_UNITS, _VIBRATION_PART = frozenset({"[g]", "m/s2", "mm/s"}), 0.01
# A wild value is bounded by the score that so many per cent of the normal rows stay below: less than any threshold.
_USUALLY_BELOW = 99.5
# See models/evaluate/nab.py: there a quarter of at most 750 fitted rows.
_QUIET_PART, _QUIET_MOST = 0.25, 188
_LEAST_SERIES_ROWS = 100


def level(
    pieces: list[FloatArray], inputs: Sequence[tuple[str, str]],
    smoothing_rows: Annotated[int, Field(ge=2, le=1000)] = 20, lag_rows: Rows = 50,
    centre_rows: Annotated[int, Field(ge=2)] | None = None,
    least_spreads: dict[str, Annotated[float, Field(ge=0)]] | None = None,
) -> Level:  # fmt: skip
    """centre_rows: the newest rows, whose median is normal (None: all). least_spreads: input -> what is no change at
    all, in its unit; where it is not named, its unit says."""
    chosen = least_spreads or {}
    unknown = sorted(set(chosen) - {name for name, _unit in inputs})
    if unknown:
        raise ModelError(f"detector_settings.least_spreads names no input: {', '.join(unknown)}")
    floors = np.array([chosen.get(name, _THERMAL_SPREADS.get(unit, 0.0)) for name, unit in inputs])
    parts = np.array(
        [_VIBRATION_PART if unit in _VIBRATION_UNITS and name not in chosen else 0.0 for name, unit in inputs]
    )
    long_enough = sum(len(piece) for piece in pieces if len(piece) > smoothing_rows + lag_rows)
    newest = max(2, long_enough - smoothing_rows) if centre_rows is None else max(centre_rows, lag_rows + 1)
    settings = LevelSettings(smoothing_rows, lag_rows, newest, threshold=math.inf)
    try:
        unbounded = Level.of_pieces(pieces, settings, floors, parts)
    except ValueError as fault:
        raise ModelError(
            f"the detector level {fault} in stretches of more than {smoothing_rows + lag_rows} rows without a gap: "
            "give more data, or smaller smoothing_rows, lag_rows and centre_rows (detector_settings)"
        ) from fault
    scores = np.concatenate([unbounded.score(piece).scores for piece in pieces])
    smoothing = unbounded.smoothing
    ceiling = ALONE * float(np.percentile(scores, _USUALLY_BELOW)) / smoothing.gain
    return Level(replace(smoothing, ceiling=float(rounded(np.array(ceiling)))))


def combined(
    pieces: list[FloatArray], inputs: Sequence[tuple[str, str]], rule: AlarmRule, every_rows: int, warm_up_rows: int,
    members: Annotated[list[Member], Field(min_length=2)] | None = None, smoothing_rows: Rows = 5,
) -> Combined:  # fmt: skip
    """members: None for robust_distance, level and neighbours. smoothing_rows: of all but level, which has its own."""
    fitted: list[Detector] = []
    limits: list[float] = []
    for name in members or ("robust_distance", "level", "neighbours"):
        _check_member(name, len(inputs))
        member: Detector
        if name == "level":
            member = level(pieces, inputs)
        else:
            kind: type[RobustDistance | Pca | Neighbours] = _SMOOTHED[name]
            member = kind.fit(pieces, smoothing_rows)
        scores = [member.score(piece).scores[warm_up_rows:] for piece in pieces]
        fitted.append(member)
        limits.append(threshold.tail(scores, rule).at(every_rows))
    return Combined(fitted, limits)


def novelty(pieces: list[FloatArray], quiet_rows: Quiet = None) -> Novelty:
    """quiet_rows: after which a second, equal surprise is told again (None: a quarter of the rows, at most 188)."""
    values = _series(pieces)
    return Novelty.fit(values, _quiet(quiet_rows, values))


def seasonal(pieces: list[FloatArray], clocks: Sequence[FloatArray], quiet_rows: Quiet = None) -> Seasonal:
    """quiet_rows: as for novelty."""
    values = _series(pieces)
    return Seasonal.fit(values, np.concatenate(clocks), _quiet(quiet_rows, values))


def forecast(pieces: list[FloatArray], quiet_rows: Quiet = None) -> Forecast:
    """quiet_rows: as for novelty."""
    values = _series(pieces)
    return Forecast.fit(values, _quiet(quiet_rows, values))


def seasonal_novelty(
    pieces: list[FloatArray], clocks: Sequence[FloatArray], quiet_rows: Quiet = None
) -> SeasonalNovelty:  # fmt: skip
    """quiet_rows: as for novelty."""
    values = _series(pieces)
    return SeasonalNovelty.fit(values, np.concatenate(clocks), _quiet(quiet_rows, values))


_SMOOTHED: dict[str, type[RobustDistance | Pca | Neighbours]] = {
    "robust_distance": RobustDistance,
    "pca": Pca,
    "neighbours": Neighbours,
}


def _check_member(name: str, count: int) -> None:
    try:
        detectors.check_inputs(name, count)
    except ValueError as fault:
        raise ModelError(f"detector_settings.members: {fault}") from fault


def _series(pieces: list[FloatArray]) -> FloatArray:
    """The one column of all pieces, one after the other."""
    rows = np.concatenate(pieces)
    if rows.shape[1] != 1:
        raise ModelError(f"this detector judges one series (got {rows.shape[1]} inputs)")
    if len(rows) < _LEAST_SERIES_ROWS:
        raise ModelError(f"a single series needs {_LEAST_SERIES_ROWS} rows to learn from (got {len(rows)})")
    values: FloatArray = rows[:, 0]
    return values


def _quiet(chosen: int | None, values: FloatArray) -> float:
    return float(chosen or min(_QUIET_PART * len(values), _QUIET_MOST))
