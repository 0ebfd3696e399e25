"""A road detector that streams one line of text per lane and interval. All signals are our physics.

Vehicles come by chance over a day; speed falls with density (Greenshields 1935); occupancy follows from both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from firmware_sim.devices.device import DeviceSettings, Said, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise
from firmware_sim.signals import Signal, Value

FREE_SPEED_KM_H, JAM_PER_KM = 82.0, 120.0
EFFECTIVE_LENGTH_M = 6.5
_FIRST_MINUTE = 7 * 60


class TrafficDetectorSettings(DeviceSettings):
    """`lanes` of one carriageway; `interval_s`: simulated seconds that are counted together (one minute of traffic)."""

    model: Literal["traffic_detector"]
    lanes: Annotated[int, Field(ge=1, le=8, strict=True)] = 3
    interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 1.0


class TrafficDetector:
    """Lines such as `LANE=2 CNT=00017 SPD=071.3 OCC=08.4`; CNT counts on, as a counter of 5 digits does."""

    steps = None

    def __init__(self, settings: TrafficDetectorSettings, seed: int) -> None:
        self.step_s = settings.interval_s
        self._lanes = range(1, settings.lanes + 1)
        kinds = (("count", "1"), ("speed", "km/h"), ("occupancy", "%"))
        self.signals = tuple(
            Signal(f"lane{lane}_{kind}", unit, "physics", counter=kind == "count")
            for lane in self._lanes
            for kind, unit in kinds
        )
        self._walk = Walk(lambda: self._minutes(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def frames(self, step: int, values: Mapping[str, Value]) -> list[Said]:
        return [self._line(lane, values) for lane in self._lanes]

    def _line(self, lane: int, values: Mapping[str, Value]) -> Said:
        count = int(float(values[f"lane{lane}_count"])) % 100_000
        speed = round(float(values[f"lane{lane}_speed"]), 1)
        occupancy = round(float(values[f"lane{lane}_occupancy"]), 1)
        text = f"LANE={lane} CNT={count:05d} SPD={speed:05.1f} OCC={occupancy:04.1f}\r\n"
        said = {"count": count, "speed": speed, "occupancy": occupancy}
        return Said(text.encode("ascii"), {f"lane{lane}_{kind}": value for kind, value in said.items()})

    def _minutes(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        counts, minute = dict.fromkeys(self._lanes, 0), _FIRST_MINUTE
        while True:
            of_day_h = minute % 1440 / 60.0
            rush = math.exp(-(((of_day_h - 8.0) / 1.2) ** 2)) + 0.9 * math.exp(-(((of_day_h - 17.5) / 1.6) ** 2))
            values: dict[str, Value] = {}
            for lane in self._lanes:
                came = noise.poisson((1.5 + 22.0 * rush) * (1.0 - 0.12 * (lane - 1)))
                counts[lane] += came
                flow = came * 60.0
                # Density by the free branch of Greenshields' parabola; at capacity the speed is half of the free one.
                capacity = FREE_SPEED_KM_H * JAM_PER_KM / 4.0
                speed = FREE_SPEED_KM_H / 2.0 * (1.0 + math.sqrt(max(0.0, 1.0 - flow / capacity)))
                speed = max(5.0, speed + noise.normal(1.5))
                occupancy = min(99.9, flow / speed * EFFECTIVE_LENGTH_M / 1000.0 * 100.0)
                values |= {f"lane{lane}_count": counts[lane], f"lane{lane}_speed": speed if came else 0.0}
                values[f"lane{lane}_occupancy"] = occupancy
            yield values
            minute += 1
