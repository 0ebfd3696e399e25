"""Whose turn it is on a line, and when: every device at its period, lost devices in the idle part of a cycle. Pure.

Times are seconds of one monotonic clock, given by the caller.

A device that is lost is asked only where nobody waits for so long as its silence may take. Where the line has no such
pause it is asked in the first pause of any length, after one probe period more, and after two in its turn: rarely,
but surely.

A device that is silent for the first time makes those behind it late, and nothing can prevent that. They then keep the
time at which they came, instead of jumping back: so they stay at their period, and a gap is left behind the silent
device, in which it is asked from then on. This only happens as long as the pause at the end of the cycle still holds
a fault.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# What a probe may take beyond the plan: the machine has other work too.
_SPARE = 1.1


class Asked(Protocol):
    """What Turns knows of a device. fault_s: how long its silence holds up the line. wire_s: of one poll, about."""

    fault_s: float

    @property
    def lost(self) -> bool: ...

    @property
    def probe_s(self) -> float: ...

    def wire_s(self, period_s: float) -> float: ...


class Turn(NamedTuple):
    """A poll of device number `unit` that is due. probe: the device is lost."""

    due_s: float
    unit: int
    period_s: float
    probe: bool = False


@dataclass(slots=True)
class _Probe:
    since_s: float
    period_s: float


class Turns:
    """The schedule of one line."""

    def __init__(self, units: Sequence[Asked], periods_s: Sequence[Sequence[float]], start_s: float) -> None:
        """Everything is due at start_s, in the order of the units."""
        self._units = units
        self._turns = [(start_s, i, period_s) for i, periods in enumerate(periods_s) for period_s in periods]
        heapq.heapify(self._turns)
        self._probes: dict[int, _Probe] = {}
        self._late: set[tuple[int, float]] = set()  # turns that a fault made late and that may keep their new time

    def probe(self, now_s: float) -> Turn | None:
        """The lost device that can be asked now, if one can."""
        if not self._probes:
            return None
        pause_s = self._next_live_s() - now_s
        for i, wanted in self._probes.items():
            unit, waited_s = self._units[i], now_s - wanted.since_s
            fits = pause_s >= unit.fault_s * _SPARE
            if fits or (pause_s > 0 and waited_s >= unit.probe_s) or waited_s >= 2 * unit.probe_s:
                del self._probes[i]
                return Turn(now_s, i, wanted.period_s, probe=True)
        return None

    def next(self) -> Turn:
        """The turn that is due next; its time may have passed."""
        return Turn(*self._turns[0])

    def wants_probe(self, turn: Turn) -> None:
        """It is the turn of a lost device, and time for a probe."""
        self._probes.setdefault(turn.unit, _Probe(turn.due_s, turn.period_s))

    def done(self, turn: Turn, began_s: float, now_s: float, silent: bool) -> int:
        """The turn is over. silent: the device kept the line waiting. Returns how many of its polls were skipped."""
        if turn.probe:
            return 0
        _, i, period_s = self._turns[0]
        due_s = turn.due_s
        if (i, period_s) in self._late:
            self._late.discard((i, period_s))
            due_s = max(due_s, began_s)
        behind = max(0, int((now_s - due_s) / period_s) - 1)
        heapq.heapreplace(self._turns, (due_s + (1 + behind) * period_s, i, period_s))
        if silent:
            self._make_room(now_s)
        return behind

    def _make_room(self, now_s: float) -> None:
        """Those that wait now may keep the time at which they will come, where the cycle has room for that."""
        late = [turn for turn in self._turns if turn[0] < now_s and not self._units[turn[1]].lost]
        others = [turn[0] for turn in self._turns if turn not in late and not self._units[turn[1]].lost]
        if not late or not others:
            return
        work_s = sum(self._units[i].wire_s(period_s) for _, i, period_s in late)
        fault_s = max(unit.fault_s for unit in self._units)
        keys = {(i, period_s) for _, i, period_s in late}
        fits = now_s + (work_s + fault_s) * _SPARE <= min(others)
        self._late = self._late | keys if fits else self._late - keys

    def _next_live_s(self) -> float:
        return min((due_s for due_s, i, _ in self._turns if not self._units[i].lost), default=float("inf"))
