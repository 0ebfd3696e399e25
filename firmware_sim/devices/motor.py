"""An induction motor with a vibration sensor at its bearing. All signals are our physics.

A worn bearing first shows as peaks (the crest factor rises), later as more vibration at all, heat and current.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise, Wander
from firmware_sim.signals import Signal, Value
from firmware_sim.wear import Wear, WearSettings

SYNCHRONOUS_RPM, RATED_SLIP = 1500.0, 0.02
RATED_CURRENT_A = 29.5


class MotorSettings(DeviceSettings):
    model: Literal["motor"]
    wear: WearSettings | None = None


class Motor:
    """Input registers 0-9."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("vibration_rms", "mm/s", "physics", "input", 0, "uint16", 0.001),
        Signal("vibration_peak", "m/s2", "physics", "input", 1, "uint16", 0.01),
        Signal("crest_factor", "1", "physics", "input", 2, "uint16", 0.01),
        Signal("bearing_temperature", "Cel", "physics", "input", 3, "int16", 0.1),
        Signal("winding_temperature", "Cel", "physics", "input", 4, "int16", 0.1),
        Signal("current", "A", "physics", "input", 5, "uint16", 0.01),
        Signal("speed_rpm", "1/min", "physics", "input", 6, "float32"),
        Signal("run_hours", "h", "physics", "input", 8, "uint32", 0.1, counter=True),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: MotorSettings, seed: int) -> None:
        self.wear = Wear(settings.wear)
        self._walk = Walk(lambda: self._seconds(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def _seconds(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        load_course, shake = Wander(noise, 0.05, 0.98), Wander(noise, 0.08, 0.6)
        bearing, winding, hours, second = 52.0, 71.0, 4_020.0, 0
        while True:
            lost = self.wear.lost(second)
            load = min(1.15, max(0.2, 0.75 + 0.1 * math.sin(2.0 * math.pi * second / 1800.0) + load_course.step()))
            rms = max(0.1, 1.1 + 0.7 * load + 5.5 * lost**2 + shake.step())
            crest = 3.1 + 4.5 * lost - 1.8 * lost**3 + abs(noise.normal(0.12))
            current = RATED_CURRENT_A * load * (1.0 + 0.05 * lost)
            bearing += (44.0 + 14.0 * load + 38.0 * lost**2 - bearing) / 1200.0
            winding += (45.0 + 42.0 * load**2 * (1.0 + 0.1 * lost) - winding) / 1500.0
            hours += 1.0 / 3600.0
            yield {
                "vibration_rms": rms,
                "vibration_peak": rms * crest * 0.9,
                "crest_factor": crest,
                "bearing_temperature": bearing + noise.normal(0.1),
                "winding_temperature": winding + noise.normal(0.1),
                "current": current + noise.normal(0.08),
                "speed_rpm": SYNCHRONOUS_RPM * (1.0 - RATED_SLIP * load) + noise.normal(0.4),
                "run_hours": hours,
            }
            second += 1
