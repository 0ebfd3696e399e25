"""How the host is doing: counters, latency from sample to commit, what is wrong now."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

RESERVOIR = 20_000
RATE_S = 10.0


class Reservoir:
    """A fair choice of at most RESERVOIR values of all that came. Source: Vitter, Algorithm R (1985)."""

    def __init__(self, size: int = RESERVOIR, seed: int = 1) -> None:
        self._values = np.zeros(size)
        self._dice = np.random.default_rng(seed)
        self.n = 0

    def add(self, values: list[float]) -> None:
        size = len(self._values)
        room = min(max(0, size - self.n), len(values))
        self._values[self.n : self.n + room] = values[:room]
        rest = np.array(values[room:])
        if len(rest):
            counted = self.n + room + np.arange(1, len(rest) + 1)
            slots = (self._dice.random(len(rest)) * counted).astype(int)
            kept = slots < size
            self._values[slots[kept]] = rest[kept]
        self.n += len(values)

    def percentile(self, share: float) -> float | None:
        """None before there was a value."""
        filled = self._values[: min(self.n, len(self._values))]
        return float(np.percentile(filled, share)) if len(filled) else None


@dataclass(slots=True)
class Stats:
    """counters: events since the process started. problems: part -> what is wrong with it now."""

    started_s: float
    counters: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    latency_ms: Reservoir = field(default_factory=Reservoir)
    _stored: deque[tuple[float, int]] = field(default_factory=deque)

    def stored(self, samples: int, now_s: float) -> None:
        self.counters["samples_stored"] += samples
        self._stored.append((now_s, samples))
        while self._stored and self._stored[0][0] < now_s - RATE_S:
            self._stored.popleft()

    def stored_per_s(self, now_s: float) -> float:
        """Over the last ten seconds."""
        recent = sum(n for at, n in self._stored if at >= now_s - RATE_S)
        return recent / max(1.0, min(RATE_S, now_s - self.started_s))

    def latency(self) -> dict[str, float | int | None]:
        return {
            "p50": self.latency_ms.percentile(50),
            "p99": self.latency_ms.percentile(99),
            "n": self.latency_ms.n,
        }
