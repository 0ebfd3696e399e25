"""Physics that goes step by step: the state of step n follows from the seed and n alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from firmware_sim.signals import Value

# Steps back that cost nothing: a fault that freezes or resets values asks for the step at which it began.
_KEPT = 256


class Walk:
    """Reads an endless generator of steps at any step. Going back far starts it anew, with the same values."""

    def __init__(self, begin: Callable[[], Iterator[Mapping[str, Value]]]) -> None:
        self._begin = begin
        self._restart()

    def _restart(self) -> None:
        self._states = self._begin()
        self._step = 0
        self._state = next(self._states)
        self._recent = deque([self._state], maxlen=_KEPT)

    def at(self, step: int) -> Mapping[str, Value]:
        if step < self._step:
            if self._step - step < len(self._recent):
                return self._recent[step - self._step - 1]
            self._restart()
        while self._step < step:
            self._state = next(self._states)
            self._recent.append(self._state)
            self._step += 1
        return self._state
