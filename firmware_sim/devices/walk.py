"""Physics that goes step by step: the state of step n follows from the seed and n alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from firmware_sim.signals import Value


class Walk:
    """Reads an endless generator of steps at any step; going back starts it anew, with the same values."""

    def __init__(self, begin: Callable[[], Iterator[Mapping[str, Value]]]) -> None:
        self._begin = begin
        self._restart()

    def _restart(self) -> None:
        self._states = self._begin()
        self._step = 0
        self._state = next(self._states)

    def at(self, step: int) -> Mapping[str, Value]:
        if step < self._step:
            self._restart()
        while self._step < step:
            self._state = next(self._states)
            self._step += 1
        return self._state
