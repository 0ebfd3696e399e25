"""Births that are wanted again, with their causes: counted, told, and not more often than makes sense. Pure."""

from __future__ import annotations

COMMAND = "host"  # Node Control/Rebirth
CONFIGURATION = "configuration"  # a changed site.yaml, with the same tags
NEW_TAGS = "new tags"  # a changed site.yaml with tags that have never been born
OLD_ALIASES = "old aliases"  # batches wait again whose aliases were no longer born

COMMANDED_EVERY_S = 2.0
"""A host that asks all the time gets births this often: 1,000 tags of birth take about 20 ms to say."""


class Rebirths:
    """want, until due says so, then done. Data is held back from the wish on (hold_s), as the specification asks.

    A host that asks without end would hold all data back for ever. So what waited while births were held back goes out
    right behind them, before the next wish holds anything: `done` is told how much that is, `said` counts it down.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}
        self._done_s = float("-inf")
        self._held = False
        self._owed = 0  # messages of data that go out before another wish of the host holds data back

    def want(self, cause: str) -> None:
        self._wanted[cause] = None

    def covered(self) -> None:
        """Births are said anyway: a new session."""
        self._wanted.clear()
        self._held, self._owed = False, 0

    def due(self, now_s: float) -> tuple[str, ...]:
        """The causes for which births are to be said now; what only the host asks for may have to wait."""
        wait_until_s = self.next_s()
        return tuple(self._wanted) if wait_until_s is not None and wait_until_s <= now_s else ()

    def next_s(self) -> float | None:
        """When births are due; None when none are wanted."""
        if not self._wanted:
            return None
        return self._done_s + COMMANDED_EVERY_S if set(self._wanted) == {COMMAND} else float("-inf")

    def hold_s(self, now_s: float) -> float:
        """How long data waits for births that are wanted and not due yet; 0 when it may go out."""
        due_s = self.next_s()
        if due_s is None or self._owed:
            return 0.0
        wait_s = max(0.0, due_s - now_s)
        self._held = self._held or wait_s > 0
        return wait_s

    def done(self, now_s: float, waiting: int = 0) -> None:
        """Births are said now. waiting: how much data has waited for them, if any had to."""
        self._done_s = now_s
        self._wanted.clear()
        self._owed = waiting if self._held else 0
        self._held = False

    def said(self) -> None:
        """One message of data went out."""
        self._owed = max(0, self._owed - 1)

    def idle(self) -> None:
        """Nothing more is there to be said: nothing is owed."""
        self._owed = 0
