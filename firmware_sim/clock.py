"""The simulation's time: seconds since start, and the wall clock that belongs to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class SimClock:
    """Simulated seconds run with the monotonic clock, so that a step of the wall clock moves no value.

    `speed` simulated seconds pass in one real one. Values depend on the simulated second alone, so the same seed
    gives the same bytes at every speed. The wall clock only stamps the truth.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        speed: float = 1.0,
    ) -> None:
        self._monotonic = monotonic
        self._wall_s = wall_s
        self._speed = speed
        self._started_at = monotonic()
        self._started_ms = int(wall_s() * 1000)

    def t_s(self) -> float:
        """Simulated seconds since start."""
        return (self._monotonic() - self._started_at) * self._speed

    def now_ms(self) -> int:
        """UTC epoch milliseconds, now."""
        return int(self._wall_s() * 1000)

    def wall_ms(self, t_s: float) -> int:
        """UTC epoch milliseconds of a simulated second, counted from the wall clock at start."""
        return self._started_ms + round(t_s / self._speed * 1000)

    async def until(self, t_s: float) -> None:
        """Returns at this simulated second, at once if it has passed; lets others run in any case."""
        await asyncio.sleep(max(0.0, (t_s - self.t_s()) / self._speed))
