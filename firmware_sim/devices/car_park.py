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


class CarParkSettings(DeviceSettings):
    model: Literal["car_park"]


class CarPark:
    """Input registers 0-5, discrete inputs 0-1."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("capacity", "1", "physics", "input", 0, "uint16"),
        Signal("free_spaces", "1", "physics", "input", 1, "int16"),
        Signal("entries", "1", "physics", "input", 2, "uint32"),
        Signal("exits", "1", "physics", "input", 4, "uint32"),
        Signal("full", "1", "physics", "discrete", 0, "bool"),
        Signal("barrier_fault", "1", "physics", "discrete", 1, "bool"),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: CarParkSettings, seed: int) -> None:
        self._walk = Walk(lambda: _minutes(Noise(seed, settings.id)))

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
