"""The managed baseline: what is normal for one asset, and how that may move. numpy only; a gateway runs it.

A model knows the normal of the rows that it was trained from. A machine ages, seasons pass, a sensor is exchanged: a
fixed normal alarms for ever after. So the centre of each tag may follow, under rules that keep a fault from being
learnt as normal:

- it follows only while no alarm is raised and the score is below the threshold, and stands still otherwise;
- its speed is bounded: a deviation counts for at most `reach` spreads, of which one part in follow_rows is taken a row,
  so that a fault which comes faster than that is seen before it is learnt;
- slow (thermal) tags follow faster than the others: hours of sun are no fault of the machine;
- just after an alarm it comes after the machine quickly, for the rule's settle_rows, to where the repair has left it;
- where a longer time shows that normal is wider than the calibration was, the spread grows, under the same rules, to
  spread_most times the model's at the most; it is never less than the model's;
- how far it has gone is known (`drift`), and beyond drift_notice spreads a person is told;
- another operating point is normal only when a person says so (`accept`); such a one is recognised when it returns;
- an asset of a class starts with the spreads of its class and learns its own centre, no further than own_reach spreads.

A fault that creeps in slower than the centre follows is learnt: `drift` and its notice are all that tells of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from models import alarm_logic
from models.alarm_logic import AlarmRule, AlarmState
from wire.block import FloatArray

# A deviation counts for so many spreads at most where the spread is learnt.
_WINSOR = 3.0
# More operating points than that are not points but a range: the model is the wrong one.
_POINTS = 8
# A known operating point is reached after so many rows in a row within so many spreads of it.
_POINT_ROWS, _POINT_SPREADS = 10, 2.5
# Of the rows from which an own centre is learnt so many are kept, evenly: enough for a median, and small on the disk.
_OWN_KEPT = 1000


@dataclass(frozen=True, slots=True)
class BaselineRule:
    """All counts are rows. slow: names of the inputs that follow in slow_follow_rows; the others do in follow_rows.

    settle_follow_rows: the time constant while the alarm settles. spread_rows: that of the spread; 0 keeps the model's.
    reach, drift_notice, own_reach: in spreads.
    own_rows: a new asset first learns its own centre from so many rows; 0 takes the model's.
    Raises ValueError when a figure makes no sense.
    """

    follow_rows: float
    slow: tuple[str, ...] = ()
    slow_follow_rows: float = 0.0
    settle_follow_rows: float = 0.0
    spread_rows: float = 0.0
    spread_most: float = 2.0
    reach: float = 3.0
    drift_notice: float = 10.0
    own_rows: int = 0
    own_reach: float = 20.0

    def __post_init__(self) -> None:
        speeds = [self.follow_rows, *([self.slow_follow_rows] if self.slow else [])]
        if min(speeds) < 1.0 or (self.settle_follow_rows and self.settle_follow_rows < 1.0):
            raise ValueError("follow_rows, slow_follow_rows and settle_follow_rows must be 1 or more")
        if (self.spread_rows and self.spread_rows < 1.0) or self.spread_most < 1.0:
            raise ValueError("spread_rows must be 0, or 1 or more; spread_most must be 1 or more")
        if min(self.reach, self.drift_notice, self.own_reach) <= 0.0 or self.own_rows < 0:
            raise ValueError("reach, drift_notice and own_reach must be above 0, own_rows must be 0 or more")

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> BaselineRule:
        """As a model file says it. Raises TypeError or ValueError."""
        return cls(**{**said, "slow": tuple(said.get("slow", ()))})


class Notice(NamedTuple):
    """What a person should know. kind: `drift` (amount: how far the centre has moved), `not of its class` (amount: how
    far the asset's own centre lies from that of its class). amount: in the tag's unit."""

    kind: str
    tag: str
    amount: float


class Centred(Protocol):
    """An input as a model describes it."""

    @property
    def name(self) -> str: ...
    @property
    def centre(self) -> float: ...
    @property
    def spread(self) -> float: ...


class Baseline:
    """One asset's normal. shift: shape (n,), how far its centre lies from the model's, in the inputs' units. widening:
    shape (n,), how many times its spread is the model's, 1 or more."""

    def __init__(self, rule: BaselineRule, names: Sequence[str], centres: FloatArray, spreads: FloatArray) -> None:
        unknown = sorted(set(rule.slow) - set(names))
        if unknown:
            raise ValueError(f"slow names no input: {', '.join(unknown)}")
        self._rule, self._names, self._centres, self._spreads = rule, tuple(names), centres, spreads
        slow = np.array([name in rule.slow for name in names])
        rows = np.where(slow, rule.slow_follow_rows or rule.follow_rows, rule.follow_rows)
        self._speed = spreads / rows  # units a row and spread
        self._settle_speed = spreads / rule.settle_follow_rows if rule.settle_follow_rows else self._speed
        n = len(names)
        self.shift = np.zeros(n)
        self.widening = np.ones(n)
        self._squares = np.ones(n)  # mean square of the deviations, in the model's spreads
        self._begun = np.zeros(n)
        self._own: list[FloatArray] = []
        self._own_seen = 0
        self.recalibrations = self.refused_rows = 0  # since the start of the process
        self._learning = rule.own_rows > 0
        self._strangers: tuple[Notice, ...] = ()
        self._points: list[FloatArray] = []
        self._at_point = 0
        self._deviations = np.zeros(n)

    @classmethod
    def of(cls, rule: BaselineRule, inputs: Sequence[Centred]) -> Baseline:
        """For one asset. Raises ValueError where the rule names an input that there is not."""
        centres, spreads = np.array([(each.centre, each.spread) for each in inputs], np.float64).T
        return cls(rule, [each.name for each in inputs], centres, spreads)

    @property
    def learning(self) -> bool:
        """True while the asset's own centre is not known."""
        return self._learning

    @property
    def learnt_rows(self) -> tuple[int, int]:
        """(rows that were learnt from so far, rows that are needed); equal where nothing is left to learn."""
        return (self._own_seen if self._learning else self._rule.own_rows), self._rule.own_rows

    def learn(self, row: FloatArray) -> None:
        """One row of the time in which a new asset shows its own centre: the median of those rows, within own_reach."""
        if self._own_seen % math.ceil(self._rule.own_rows / _OWN_KEPT) == 0:
            self._own.append(row.astype(np.float64))
        self._own_seen += 1
        if self._own_seen < self._rule.own_rows:
            return
        offset = np.median(np.array(self._own), axis=0) - self._centres
        limit = self._rule.own_reach * self._spreads
        self.shift = np.clip(offset, -limit, limit)
        self._strangers = tuple(
            Notice("not of its class", name, float(far))
            for name, far, most in zip(self._names, offset, limit, strict=True)
            if abs(far) > most
        )
        self._begun = self.shift.copy()
        self._own, self._learning = [], False
        self.recalibrations += 1

    def placed(self, row: FloatArray) -> FloatArray:
        """The row as the model would have seen it, had this asset the model's own centre and spread."""
        placed: FloatArray = (row - self.shift - self._centres) / self.widening + self._centres
        return placed

    def step(
        self, rule: AlarmRule, alarm: AlarmState, score: float, threshold: float, deviations: FloatArray,
        held: bool = False,
    ) -> AlarmState:  # fmt: skip
        """The alarm after one more scored row, and the baseline with it. held: as for alarm_logic.step."""
        self._deviations = deviations
        parts = alarm_logic.parts_of(score, deviations.tolist())
        alarm = alarm_logic.step(rule, alarm, score, threshold, parts, held)
        if (alarm.raised or score >= threshold) and self.recognised(deviations):
            alarm = alarm_logic.CALM
        self.follow(deviations, score, threshold, alarm)
        return alarm

    def follow(self, deviations: FloatArray, score: float, threshold: float, alarm: AlarmState) -> None:
        """Lets the centre follow one scored row, if the rules allow it. deviations: shape (n,), in widened spreads."""
        if alarm.raised or (score >= threshold and not alarm.settling):
            self.refused_rows += 1
            return
        whole = math.isfinite(np.add.reduce(deviations))
        there = np.isfinite(deviations)  # a missing tag teaches nothing
        if not whole:
            deviations = np.where(there, deviations, 0.0)
        if alarm.settling:
            self.shift += deviations * self._settle_speed * self.widening
            return
        reach, rows = self._rule.reach, self._rule.spread_rows
        self.shift += np.minimum(np.maximum(deviations, -reach), reach) * self._speed * self.widening
        if rows:
            squares = np.minimum((deviations * self.widening) ** 2, _WINSOR**2)
            steps = (squares - self._squares) / rows
            self._squares += steps if whole else np.where(there, steps, 0.0)
            self.widening = np.sqrt(np.minimum(np.maximum(self._squares, 1.0), self._rule.spread_most**2))

    def accept(self) -> None:
        """A person says that the level of the last row is normal. The old one stays known as another point."""
        self._points = [*self._points, self.shift.copy()][-_POINTS:]
        moved = np.where(np.isfinite(self._deviations), self._deviations, 0.0) * self.widening * self._spreads
        self.shift = self.shift + moved
        self._begun = self.shift.copy()
        self._strangers = ()
        self.recalibrations += 1

    def recognised(self, deviations: FloatArray) -> bool:
        """Whether the asset has come to an operating point that a person has accepted before; it is normal from now on.

        To be asked for each row at or above the threshold or in alarm.
        """
        if not self._points:
            return False
        spreads = self._spreads * self.widening
        level = self.shift + deviations * spreads
        far = [float(np.max(np.abs(level - point) / spreads)) for point in self._points]
        nearest = int(np.argmin(far))
        self._at_point = self._at_point + 1 if far[nearest] < _POINT_SPREADS else 0
        if self._at_point < _POINT_ROWS:
            return False
        self._at_point = 0
        here = self._points.pop(nearest)
        self._points.append(self.shift.copy())
        self.shift, self._begun = here.copy(), here.copy()
        self.recalibrations += 1
        return True

    def drift(self) -> FloatArray:
        """Shape (n,): how far the centre has followed since it was learnt or accepted, in the inputs' units."""
        drift: FloatArray = self.shift - self._begun
        return drift

    def notices(self) -> tuple[Notice, ...]:
        """What a person should know now."""
        far = self.drift()
        drifted = (
            Notice("drift", name, float(amount))
            for name, amount, spread in zip(self._names, far, self._spreads, strict=True)
            if abs(amount) > self._rule.drift_notice * spread
        )
        return (*self._strangers, *drifted)

    def saved(self) -> dict[str, Any]:
        """What must outlive a restart, as JSON's own types; restore() is the way back."""
        return {
            "shift": self.shift.tolist(),
            "begun": self._begun.tolist(),
            "squares": self._squares.tolist(),
            "points": [point.tolist() for point in self._points],
            "learning": self._learning,
            "strangers": [list(each) for each in self._strangers],
            "own": [[float(f"{value:.7g}") for value in row] for row in self._own],
            "own_seen": self._own_seen if self._learning else 0,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError where it was saved for another model."""
        shift, begun, squares = (np.array(saved[key], np.float64) for key in ("shift", "begun", "squares"))
        points = [np.array(point, np.float64) for point in saved["points"]]
        own = [np.array(row, np.float64) for row in saved.get("own", ())]
        whole = (shift, begun, squares, *points, *own)
        if any(each.shape != self.shift.shape or not np.isfinite(each).all() for each in whole):
            raise ValueError(f"a baseline of {shift.size} inputs does not fit a model of {self.shift.size}")
        self.shift, self._begun, self._squares = shift, begun, squares
        self.widening = np.sqrt(np.minimum(np.maximum(squares, 1.0), self._rule.spread_most**2))
        self._points = points[-_POINTS:]
        self._strangers = tuple(Notice(*each) for each in saved.get("strangers", ()))
        self._learning, self._own, self._own_seen = bool(saved["learning"]), own, int(saved.get("own_seen", 0))
