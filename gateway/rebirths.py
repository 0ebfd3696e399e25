"""Births that are wanted again, with their causes: counted, told, and not more often than makes sense. Pure."""

from __future__ import annotations

COMMAND = "host"  # Node Control/Rebirth
CONFIGURATION = "configuration"  # a changed site.yaml, with the same tags
NEW_TAGS = "new tags"  # a changed site.yaml with tags that have never been born
OLD_ALIASES = "old aliases"  # batches wait again whose aliases were no longer born

COMMANDED_EVERY_S = 2.0
"""A host that asks all the time gets births this often: 1,000 tags of birth take about 20 ms to say."""


class Rebirths:
    """want, until due says so, then done."""

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}
        self._done_s = float("-inf")

    def want(self, cause: str) -> None:
        self._wanted[cause] = None

    def covered(self) -> None:
        """Births are said anyway: a new session."""
        self._wanted.clear()

    def due(self, now_s: float) -> tuple[str, ...]:
        """The causes for which births are to be said now; what only the host asks for may have to wait."""
        wait_until_s = self.next_s()
        return tuple(self._wanted) if wait_until_s is not None and wait_until_s <= now_s else ()

    def next_s(self) -> float | None:
        """When births are due; None when none are wanted."""
        if not self._wanted:
            return None
        return self._done_s + COMMANDED_EVERY_S if set(self._wanted) == {COMMAND} else float("-inf")

    def done(self, now_s: float) -> None:
        self._done_s = now_s
        self._wanted.clear()
