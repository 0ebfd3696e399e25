"""Who reads a file now, from any thread; whoever replaces it waits for them all, and lets nobody in meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Gate:
    def __init__(self) -> None:
        self._changed = Condition()
        self._inside = 0
        self._shut = False

    def enter(self) -> None:
        """Waits while it is shut."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    @contextmanager
    def inside(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def alone(self, timeout_s: float) -> Iterator[None]:
        """Nobody is inside, and nobody enters. Raises TimeoutError when somebody stays for longer than that."""
        with self._changed:
            self._shut = True
            alone = self._changed.wait_for(lambda: self._inside == 0, timeout_s)
        try:
            if not alone:
                raise TimeoutError(f"somebody reads for longer than {timeout_s:g} s")
            yield
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()
