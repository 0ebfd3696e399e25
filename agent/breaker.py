"""One unit's circuit breaker: a silent unit is asked rarely, so that its neighbours keep their period. Pure."""

from __future__ import annotations


class Breaker:
    """Opens after so many failed polls in a row; then one probe each probe_s. Any answer closes it.

    Times are seconds of one monotonic clock, given by the caller.
    """

    def __init__(self, silent_polls: int, probe_s: float) -> None:
        self._silent_polls = silent_polls
        self.probe_s = probe_s
        self._failures = 0
        self._next_probe_s = 0.0
        self.open = False

    def may_ask(self, now_s: float) -> bool:
        return not self.open or now_s >= self._next_probe_s

    def probe_now(self) -> None:
        """The line was opened anew: ask at once."""
        self._next_probe_s = 0.0

    def answered(self) -> bool:
        """The unit answered, be it with a refusal. True when that closes the breaker."""
        closes, self.open, self._failures = self.open, False, 0
        return closes

    def failed(self, now_s: float) -> bool:
        """The unit did not answer. True when that opens the breaker."""
        self._failures += 1
        self._next_probe_s = now_s + self.probe_s
        opens = not self.open and self._failures >= self._silent_polls
        self.open = self.open or opens
        return opens
