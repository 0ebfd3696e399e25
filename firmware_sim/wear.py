"""Wear over days: health falls from 100 to 0 over a life, and physics respond to what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DAY_S = 86_400.0


class WearSettings(BaseModel):
    """`life_days`: simulated days from new to worn out. `age_days`: age at start.

    `shape` bends the course: 1 is even wear, above 1 begins gently and ends fast, as bearings do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    life_days: Annotated[float, Field(gt=0)] = 30.0
    age_days: Annotated[float, Field(ge=0)] = 0.0
    shape: Annotated[float, Field(ge=0.5, le=10)] = 2.0


class Wear:
    """Without settings nothing wears."""

    def __init__(self, settings: WearSettings | None) -> None:
        self._settings = settings

    def lost(self, t_s: float) -> float:
        """0 for new, 1 for worn out."""
        if self._settings is None:
            return 0.0
        share = (self._settings.age_days + t_s / DAY_S) / self._settings.life_days
        return float(min(1.0, share) ** self._settings.shape)

    def health_percent(self, t_s: float) -> float:
        return 100.0 * (1.0 - self.lost(t_s))

    def levels(self) -> Iterator[tuple[float, int]]:
        """(simulated second, health) at the start and whenever health has lost another whole per cent."""
        if self._settings is None:
            return
        now = int(self.health_percent(0.0))
        yield 0.0, now
        for percent in range(now - 1, -1, -1):
            share = (1.0 - percent / 100.0) ** (1.0 / self._settings.shape)
            t_s = (share * self._settings.life_days - self._settings.age_days) * DAY_S
            if t_s > 0:
                yield t_s, percent
