"""What happens to the time, as the outbox hears of it and as it is put on record: it is known, or it stepped. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

How = Literal["ntp", "plausible", "host", "boot"]

FAR_MS = 86_400_000
"""Stamps that are ahead of a time that is sure by more than a day were never right: they are not waited for."""


@dataclass(frozen=True, slots=True)
class Known:
    """The time of this boot is known, or better known: UTC = time since boot + offset_ms."""

    boot_id: str
    offset_ms: int
    how: How
    certain: bool


@dataclass(frozen=True, slots=True)
class Step:
    """UTC went from from_ms to to_ms in an instant. how: by which clock.

    floor_ms: where from_ms was never right, and stamps begin anew: above this, which is before everything that has no
    stamp yet. None: stamps only rise.
    """

    boot_id: str
    from_ms: int
    to_ms: int
    how: How
    floor_ms: int | None = None

    def record(self) -> dict[str, Any]:
        made = {
            "kind": "clock_step", "boot": self.boot_id, "from_ms": self.from_ms, "to_ms": self.to_ms,
            "by_ms": self.to_ms - self.from_ms, "how": self.how,
        }  # fmt: skip
        return made if self.floor_ms is None else made | {"stamps": "begin anew"}

    @property
    def beyond_ms(self) -> int:
        """Stamps above this were never right; only where stamps begin anew."""
        return self.to_ms + FAR_MS // 2

    def lowered(self, ms: int) -> int:
        """A newest stamp as it counts after this step."""
        return ms if self.floor_ms is None or ms <= self.beyond_ms else self.floor_ms


News = Known | Step
