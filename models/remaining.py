"""What is left of one asset's life, row by row, in figures and words: by a remaining-life model, or by a trend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.life import LifeModel
from models.trend import LEAST_VALUES, trend
from wire.block import FloatArray

# The newest values that a trend is told from: thirty days of hours.
_MOST_VALUES = 720
# An estimate so near to the longest that training tells apart means "at least so much".
_NEAR_CAP = 0.95


class Left(NamedTuple):
    """remaining, lower, upper: in the estimator's unit, NaN where there is none; upper may be infinite. state: one word
    or two for the status. words: (English, Chinese)."""

    remaining: float
    lower: float
    upper: float
    state: str
    words: tuple[str, str]


class Estimator(Protocol):
    """unit: of what is left: UCUM, with an annotation for what is counted. inputs: how many values a row has."""

    unit: str
    inputs: int

    def row(self, values: FloatArray, hours: float, ago: float = 0.0) -> Left:
        """After one more row. values: NaN for what is missing. hours: since the epoch, when they were taken, in the
        middle; ago: hours since then."""

    def reset(self) -> None:
        """The machine begins a new life: after an overhaul."""

    def saved(self) -> dict[str, Any]:
        """What must outlive a restart, as JSON's own types."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError for what does not fit."""


class ByModel:
    """Whole lives of other machines tell it, in rows of its model."""

    def __init__(self, model: LifeModel) -> None:
        said = self._manifest = model.manifest
        self.unit, self.inputs = f"{{{said.life_unit}}}", len(said.inputs)
        self._running = model.start()

    def row(self, values: FloatArray, hours: float, ago: float = 0.0) -> Left:
        del hours, ago
        found, said = self._running.step(values), self._manifest
        if found.warming:
            needed = f"{self._running.rows}/{said.warm_up_rows}"
            words = (f"Remaining life: too few rows yet ({needed}).", f"剩余寿命：数据行数尚不足（{needed}）。")
            return Left(math.nan, math.nan, math.nan, "warming up", words)
        near = found.rul >= _NEAR_CAP * said.cap
        return _told(found.rul, found.lower, found.upper, said.life_unit, said.level, "at least" if near else "about")

    def reset(self) -> None:
        self._running.reset()

    def saved(self) -> dict[str, Any]:
        return self._running.saved()

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._running.restore(saved)


class ByTrend:
    """The trend of one value towards its limit tells it, in hours."""

    def __init__(self, limit: float, falling: bool = False, level: float = 0.9) -> None:
        """falling: the limit lies below."""
        self.unit, self.inputs = "h", 1
        self._limit, self._high, self._level = limit, not falling, level
        self._points: list[tuple[float, float]] = []

    def row(self, values: FloatArray, hours: float, ago: float = 0.0) -> Left:
        value = float(values[0])
        if math.isfinite(value) and (not self._points or hours > self._points[-1][0]):
            self._points = [*self._points, (hours, value)][-_MOST_VALUES:]
        times, seen = np.array(self._points, np.float64).reshape(-1, 2).T
        found = trend(times, seen, self._limit, high=self._high, level=self._level)
        if found.verdict == "trend":
            left, lower, upper = (max(0.0, each - ago) for each in (found.left, found.lower, found.upper))
            return _told(left, lower, upper, "h", self._level, "about")
        if found.verdict == "beyond":
            return Left(0.0, 0.0, 0.0, "beyond", ("Beyond the limit already.", "已超过限值。"))
        words = {
            "too few": (f"Remaining life: too few values ({found.values}/{LEAST_VALUES}).",
                        f"剩余寿命：数值尚不足（{found.values}/{LEAST_VALUES}）。"),
            "no trend": ("No trend towards the limit stands out of the noise.", "未见明显趋向限值的趋势。"),
            "away": ("The trend leads away from the limit.", "趋势正在远离限值。"),
        }  # fmt: skip
        return Left(math.nan, math.nan, math.nan, found.verdict, words[found.verdict])

    def reset(self) -> None:
        self._points = []

    def saved(self) -> dict[str, Any]:
        return {"points": [[hours, float(f"{value:.7g}")] for hours, value in self._points]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        points = [_pair(each) for each in saved["points"]]
        if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
            raise ValueError("the points of a trend do not rise in time")
        self._points = points[-_MOST_VALUES:]


def _pair(point: Sequence[float]) -> tuple[float, float]:
    hours, value = (float(each) for each in point)
    if not (math.isfinite(hours) and math.isfinite(value)):
        raise ValueError("a point of a trend is no number")
    return hours, value


def _told(left: float, lower: float, upper: float, unit: str, level: float, how: str) -> Left:
    figure, least = f"{left:.3g} {unit}", f"{lower:.3g}"
    most_en, most_zh = (f"{upper:.3g}",) * 2 if math.isfinite(upper) else ("more than can be said", "无法确定上限")
    how_zh = "至少约" if how == "at least" else "约"
    english = f"Remaining life: {how} {figure} ({100 * level:.0f} % interval {least} to {most_en})."
    chinese = f"剩余寿命：{how_zh} {figure}（{100 * level:.0f} % 区间 {least} 至 {most_zh}）。"
    return Left(left, lower, upper, "estimated", (english, chinese))
