"""Whether the parts of a gateway move: how late the event loop is, and what has stood still for too long. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.line import LONGEST_BACK_OFF_S
from agent.spec import LineSpec
from gateway.histogram import Histogram


class LoopLag(Histogram):
    """How much later than wanted the event loop woke, as a histogram and as the worst of about a minute."""

    def __init__(self, recent: int = 240) -> None:
        super().__init__(recent)


class Progress:
    """When each part was last seen to move: a part moves when its mark is another one than before."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[object, float]] = {}

    def seen(self, part: str, mark: object, now_s: float) -> None:
        if part not in self._marks or self._marks[part][0] != mark:
            self._marks[part] = (mark, now_s)

    def keep(self, parts: Sequence[str]) -> None:
        """Forgets all others."""
        self._marks = {part: mark for part, mark in self._marks.items() if part in parts}

    def stalled(self, allowed_s: Mapping[str, float], now_s: float) -> list[str]:
        """Parts that have stood still for longer than they may."""
        return [p for p, (_, at_s) in self._marks.items() if p in allowed_s and now_s - at_s > allowed_s[p]]


def allowed_s(line: LineSpec) -> float | None:
    """How long a line may give no sign of life: three times its longest honest rest.

    That is a period, a probe or a back-off, and one request with its time-out and quiet. None: all of its devices
    speak only when something happens, so that silence says nothing.
    """
    asked = [device for device in line.devices if not device.events]
    if not asked:
        return None
    periods = [device.period_s for device in asked] + [p.period_s or 0 for device in asked for p in device.points]
    return 3 * (max(*periods, line.probe_s, LONGEST_BACK_OFF_S) + 2 * line.timeout_s + line.quiet_s)
