"""A car park of 420 spaces. All signals are our physics: arrivals and departures by chance, over a morning.

One simulated second is one minute of the car park's day, which starts at 07:30.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise
from firmware_sim.signals import Signal, Value

CAPACITY = 420
_FIRST_MINUTE = 7 * 60 + 30
_DAY_MIN = 24 * 60


FIRST_BAY = 100


class CarParkSettings(DeviceSettings):
    """`bays`: a sensor for every space, which says whether a car stands there."""

    model: Literal["car_park"]
    bays: bool = False


class CarPark:
    """Input registers 0-5, discrete inputs 0-1, and with bays discrete inputs 100-519."""

    _SITE: ClassVar[tuple[Signal, ...]] = (
        Signal("capacity", "1", "physics", "input", 0, "uint16"),
        Signal("free_spaces", "1", "physics", "input", 1, "int16"),
        Signal("entries", "1", "physics", "input", 2, "uint32", counter=True),
        Signal("exits", "1", "physics", "input", 4, "uint32", counter=True),
        Signal("full", "1", "physics", "discrete", 0, "bool"),
        Signal("barrier_fault", "1", "physics", "discrete", 1, "bool"),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: CarParkSettings, seed: int) -> None:
        bays = [Signal(_bay(at), "1", "physics", "discrete", FIRST_BAY + at, "bool") for at in range(CAPACITY)]
        self.signals = self._SITE + tuple(bays if settings.bays else ())
        self._walk = Walk(
            lambda: (
                _with_bays(_minutes(Noise(seed, settings.id)), Noise(seed, settings.id, "bays"))
                if settings.bays
                else _minutes(Noise(seed, settings.id))
            )
        )

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())


def _minutes(noise: Noise) -> Iterator[Mapping[str, Value]]:
    cars, entries, exits, minute = 64, 120_412, 120_348, 0
    faulty_until = -1
    while True:
        of_day = (_FIRST_MINUTE + minute) % _DAY_MIN
        morning = math.exp(-(((of_day - 8.5 * 60) / 75.0) ** 2))
        evening = math.exp(-(((of_day - 17.25 * 60) / 80.0) ** 2))
        midday = math.exp(-(((of_day - 13.0 * 60) / 150.0) ** 2))
        came = min(noise.poisson(0.05 + 3.6 * morning + 1.0 * midday), CAPACITY - cars)
        went = min(noise.poisson(0.02 + cars / 420 * (0.3 + 4.5 * evening + 0.9 * midday)), cars)
        if noise.uniform() < 0.002:  # a barrier sticks about twice a day, for a few minutes
            faulty_until = minute + 4
        cars, entries, exits = cars + came - went, entries + came, exits + went
        yield {
            "capacity": CAPACITY,
            "free_spaces": CAPACITY - cars,
            "entries": entries,
            "exits": exits,
            "full": cars >= CAPACITY,
            "barrier_fault": minute < faulty_until,
        }
        minute += 1


def _bay(at: int) -> str:
    return f"bay_{at + 1:03d}"


def _with_bays(minutes: Iterator[Mapping[str, Value]], noise: Noise) -> Iterator[Mapping[str, Value]]:
    """The same minutes with the bays that the cars stand in; drivers prefer those close to the entry."""
    taken = [False] * CAPACITY
    for values in minutes:
        cars = CAPACITY - int(values["free_spaces"])
        while sum(taken) < cars:
            free = [at for at in range(CAPACITY) if not taken[at]]
            taken[free[int(len(free) * noise.uniform() ** 2)]] = True
        while sum(taken) > cars:
            left = [at for at in range(CAPACITY) if taken[at]]
            taken[left[int(len(left) * noise.uniform())]] = False
        yield {**values, **{_bay(at): taken[at] for at in range(CAPACITY)}}
