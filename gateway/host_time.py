"""The host's time, from the timestamps of its commands: an interval in which its clock must be. Pure."""

from __future__ import annotations

# A quartz that nobody disciplines is off by 20 to 50 ppm, at the ends of its temperature range by 100; twice that.
DRIFT_PPM = 200


class HostTime:
    """What is known of (host's clock - time since boot), narrowed by every answer and widened by drift.

    A host stamps its answer after it was asked and before the answer is heard. So one answer gives an interval as wide
    as its round trip, and several answers the part that they share.
    """

    def __init__(self) -> None:
        self._low_ms = self._high_ms = 0.0
        self._at_ms: int | None = None

    def heard(self, host_ms: int, asked_ms: int, heard_ms: int) -> None:
        """host_ms: as the host said; asked_ms, heard_ms: since boot. Answers that contradict: the newest holds."""
        low, high = float(host_ms - heard_ms), float(host_ms + 1 - asked_ms)
        if self._at_ms is not None:
            before_low, before_high = self._widened(heard_ms)
            if max(low, before_low) <= min(high, before_high):
                low, high = max(low, before_low), min(high, before_high)
        self._low_ms, self._high_ms, self._at_ms = low, high, heard_ms

    def _widened(self, at_ms: int) -> tuple[float, float]:
        drift_ms = (at_ms - (self._at_ms or 0)) * DRIFT_PPM / 1e6
        return self._low_ms - drift_ms, self._high_ms + drift_ms

    def offset(self, at_ms: int) -> tuple[int, int] | None:
        """(offset, how far it may be off) in ms at this time since boot; None before the first answer."""
        if self._at_ms is None:
            return None
        low, high = self._widened(at_ms)
        return round((low + high) / 2), round((high - low) / 2)

    def nearest(self, offset_ms: int, at_ms: int) -> int:
        """The offset in the interval that is nearest to this one: what need not move does not."""
        low, high = self._widened(at_ms)
        return round(min(max(offset_ms, low), high))
