"""Seeded dice whose throws are the same on every Python version and machine."""

from __future__ import annotations

import hashlib
import math
import random

_MASK = (1 << 64) - 1


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


class Scatter:
    """Random numbers that can be asked for in any order: the n-th is the same whichever came before.

    SplitMix64 (Steele, Lea, Flood 2014) over the position, from a key that the names fix.
    """

    def __init__(self, seed: int, *names: str) -> None:
        digest = hashlib.blake2b(":".join([str(seed), *names]).encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big")
        # octave -> (interval, point at its begin, point at its end): neighbouring seconds share them.
        self._points: dict[int, tuple[float, float, float]] = {}

    def uniform(self, at: int) -> float:
        """In [0, 1)."""
        mixed = (self._key + (at + 1) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ mixed >> 31) >> 11) / (1 << 53)

    def normal(self, at: int, sd: float = 1.0) -> float:
        """Gaussian with mean 0, by Box and Muller."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform(2 * at)))
        return sd * radius * math.cos(2.0 * math.pi * self.uniform(2 * at + 1))

    def wander(self, position: float) -> float:
        """A smooth random course, about -1 to 1, that turns about once per unit of `position`.

        Three octaves of linearly joined random points: any position costs the same.
        """
        total = 0.0
        for octave, weight in ((1, 0.5), (4, 0.3), (16, 0.2)):
            whole, part = divmod(position * octave, 1.0)
            points = self._points.get(octave)
            if points is None or points[0] != whole:
                here = int(whole) * 32 + octave
                points = self._points[octave] = (whole, self.uniform(here), self.uniform(here + 32))
            total += weight * (points[1] + (points[2] - points[1]) * part)
        return 2.0 * total - 1.0
