"""Seeded dice whose throws are the same on every Python version and machine."""

from __future__ import annotations

import math
import random


class Noise:
    """One stream of random numbers, named after what it is for.

    Built on random.Random.random() alone: only its sequence is promised to stay the same between Python versions.
    """

    def __init__(self, seed: int, *names: str) -> None:
        self._random = random.Random(":".join([str(seed), *names]))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * self._random.random()

    def normal(self, sd: float = 1.0) -> float:
        """Gaussian with mean 0, by Box and Muller; two throws each."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self._random.random()))
        return sd * radius * math.cos(2.0 * math.pi * self._random.random())

    def poisson(self, mean: float) -> int:
        """Number of events when `mean` are expected (Knuth's product method; meant for means below 30)."""
        limit, product, count = math.exp(-mean), self._random.random(), 0
        while product > limit:
            product *= self._random.random()
            count += 1
        return count


class Wander:
    """First-order autoregressive noise of standard deviation `sd`: `keep` of the last deviation stays."""

    def __init__(self, noise: Noise, sd: float, keep: float) -> None:
        self._noise = noise
        self._fresh_sd = sd * math.sqrt(1.0 - keep * keep)
        self._keep = keep
        self._value = noise.normal(sd)

    def step(self) -> float:
        self._value = self._keep * self._value + self._noise.normal(self._fresh_sd)
        return self._value
