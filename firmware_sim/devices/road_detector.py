"""A road loop detector that sends lines of text: occupancy and speed are recorded, the flow is our physics.

Flow = density x speed, with density = occupancy / effective length of a vehicle over the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from firmware_sim import recording
from firmware_sim.devices.device import DeviceSettings, Said, Window, looped
from firmware_sim.signals import Signal, Value

MILE_M = 1609.344
EFFECTIVE_LENGTH_M = 6.5  # mean vehicle plus loop, a common assumption for mixed traffic


class RoadDetectorSettings(DeviceSettings):
    """`start`: recorded time shown at simulated second 0. `row_s`: simulated seconds that one row lasts."""

    model: Literal["road_detector"]
    start: datetime = datetime(2015, 9, 1, 11, 30)
    row_s: Annotated[float, Field(ge=0.01, le=3600)] = 0.5


class RoadDetector:
    """One lane; lines such as `L1 OCC=013.56 SPD=058.0 VOL=01947`."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("occupancy", "%", "recording"),
        Signal("speed", "[mi_i]/h", "recording"),
        Signal("flow", "1/h", "physics"),
    )

    def __init__(self, settings: RoadDetectorSettings, seed: int) -> None:
        del seed  # nothing here is left to chance
        self.step_s = settings.row_s
        self._occupancy, self._speed = recording.aligned(
            recording.load("occupancy_t4013"), recording.load("speed_t4013")
        )
        self._start = self._occupancy.row_at(settings.start)
        self.steps = len(self._occupancy.times) - self._start

    def at(self, step: int) -> Mapping[str, Value]:
        row = self._start + step % self.steps
        occupancy = round(self._occupancy.values[row], 2)
        speed = round(self._speed.values[row], 1)
        return {"occupancy": occupancy, "speed": speed, "flow": round(flow_per_h(occupancy, speed))}

    def frames(self, step: int, values: Mapping[str, Value]) -> list[Said]:
        occupancy, speed = round(float(values["occupancy"]), 2), round(float(values["speed"]), 1)
        flow = round(float(values["flow"]))
        text = f"L1 OCC={occupancy:06.2f} SPD={speed:05.1f} VOL={flow:05d}\r\n"
        return [Said(text.encode("ascii"), {"occupancy": occupancy, "speed": speed, "flow": flow})]

    def recorded(self) -> Iterator[Window]:
        return looped(
            sorted(self._occupancy.windows), self._start, len(self._occupancy.times), self.step_s, "recorded anomaly"
        )


def flow_per_h(occupancy_percent: float, speed_mph: float) -> float:
    """Vehicles per hour."""
    return occupancy_percent / 100.0 / EFFECTIVE_LENGTH_M * speed_mph * MILE_M
