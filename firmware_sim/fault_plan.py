"""When faults hold: the windows of one fault, and all faults of one device."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import count

from firmware_sim.devices.device import Window
from firmware_sim.faults import ANSWER_KINDS, FaultSettings
from firmware_sim.noise import Noise


class Planned:
    """One fault of the scenario with its windows, which the seed fixes where they come at random."""

    def __init__(self, fault: FaultSettings, seed: int = 1, at: int = 0) -> None:
        self.fault = fault
        self._names = (seed, "fault", fault.device, fault.kind, str(at))
        self._dice = Noise(seed, *self._names[1:], "chance")
        self._ahead = self.windows()
        self._begins: list[float] = []

    def windows(self) -> Iterator[Window]:
        """All windows in the order of time, without end where they repeat."""
        fault = self.fault
        if fault.rate_per_h is not None:
            yield from self._random(3600.0 / fault.rate_per_h)
            return
        for lap in count() if fault.every_s is not None else range(1):
            begin = (fault.at_s or 0.0) + lap * (fault.every_s or 0.0)
            yield Window(fault.kind, begin, begin + fault.for_s)

    def _random(self, mean_pause_s: float) -> Iterator[Window]:
        dice, end = Noise(self._names[0], *self._names[1:]), 0.0
        last_s = math.inf if self.fault.until_s is None else self.fault.until_s
        while (begin := end - mean_pause_s * math.log(1.0 - dice.uniform())) <= last_s:
            end = begin + self.fault.for_s
            yield Window(self.fault.kind, begin, end)

    def begun(self, t_s: float) -> int:
        """How many windows have begun until this second."""
        if self.fault.rate_per_h is None:
            since = t_s - (self.fault.at_s or 0.0)
            if since < 0:
                return 0
            return 1 if self.fault.every_s is None else 1 + int(since // self.fault.every_s)
        while not self._begins or self._begins[-1] <= t_s:
            ahead = next(self._ahead, None)
            self._begins.append(math.inf if ahead is None else ahead.from_s)
        return bisect_right(self._begins, t_s)

    def begin_s(self, number: int) -> float:
        """The second at which window `number` (from 1) began."""
        if self.fault.rate_per_h is not None:
            return self._begins[number - 1]
        return (self.fault.at_s or 0.0) + (number - 1) * (self.fault.every_s or 0.0)

    def window(self, t_s: float) -> Window | None:
        """The window that holds now."""
        number = self.begun(t_s)
        if number == 0:
            return None
        begin = self.begin_s(number)
        return Window(self.fault.kind, begin, begin + self.fault.for_s) if t_s < begin + self.fault.for_s else None

    def ended_s(self, t_s: float) -> float | None:
        """When the last window that has ended did so."""
        number = self.begun(t_s)
        if number and t_s < self.begin_s(number) + self.fault.for_s:
            number -= 1
        return self.begin_s(number) + self.fault.for_s if number else None

    def strikes(self) -> bool:
        """Whether this answer is hit; throws the dice only where there is a choice."""
        return self.fault.chance >= 1.0 or self._dice.uniform() < self.fault.chance

    def delay_s(self) -> float:
        fault = self.fault
        return fault.delay_s if fault.delay_max_s is None else self._dice.uniform(fault.delay_s, fault.delay_max_s)


class FaultPlan:
    """All faults of one device."""

    def __init__(self, planned: Sequence[Planned] = ()) -> None:
        self.planned = tuple(planned)
        # Whatever else holds, a device that starts says nothing.
        self._of_answers = self.of("restart") + self.of(*(ANSWER_KINDS - {"restart"}))

    def of(self, *kinds: str) -> tuple[Planned, ...]:
        return tuple(each for each in self.planned if each.fault.kind in kinds)

    def hit(self, t_s: float) -> Planned | None:
        """What happens to the answer given now; of several faults the first of the scenario that strikes."""
        for each in self._of_answers:
            if each.window(t_s) is not None and each.strikes():
                return each
        return None

    def holds(self, kind: str, t_s: float) -> Planned | None:
        """The first fault of this kind that holds now."""
        return next((each for each in self.of(kind) if each.window(t_s) is not None), None)
