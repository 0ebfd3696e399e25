"""A centrifugal pump that follows a day's demand. All signals are our physics.

Flow follows the speed, head its square, power its cube (affinity laws). As the impeller wears, head and efficiency
fall; as the bearing wears, vibration and its temperature rise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise, Wander
from firmware_sim.signals import Signal, Value
from firmware_sim.wear import DAY_S, Wear, WearSettings

RATED_SPEED = 1470.0  # 1/min
RATED_FLOW_M3_H, RATED_HEAD_M = 120.0, 42.0
BEST_EFFICIENCY = 0.78
_GRAVITY, _WATER_KG_M3 = 9.81, 998.0


class PumpSettings(DeviceSettings):
    model: Literal["pump"]
    wear: WearSettings | None = None


class Pump:
    """Holding registers 0-11, discrete input 0."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("speed_rpm", "1/min", "physics", "holding", 0, "uint16"),
        Signal("flow", "m3/h", "physics", "holding", 1, "uint16", 0.1),
        Signal("suction_pressure", "bar", "physics", "holding", 2, "int16", 0.001),
        Signal("discharge_pressure", "bar", "physics", "holding", 3, "int16", 0.001),
        Signal("power", "kW", "physics", "holding", 4, "float32"),
        Signal("bearing_temperature", "Cel", "physics", "holding", 6, "int16", 0.1),
        Signal("vibration_rms", "mm/s", "physics", "holding", 7, "uint16", 0.001),
        Signal("volume", "m3", "physics", "holding", 8, "uint32", 0.1, counter=True),
        Signal("run_hours", "h", "physics", "holding", 10, "uint32", 0.1, "CDAB", counter=True),
        Signal("running", "1", "physics", "discrete", 0, "bool"),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: PumpSettings, seed: int) -> None:
        self.wear = Wear(settings.wear)
        self._walk = Walk(lambda: self._seconds(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def _seconds(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        demand, suction = Wander(noise, 0.03, 0.98), Wander(noise, 0.02, 0.95)
        shake = Wander(noise, 0.06, 0.7)
        volume, hours, second, bearing = 20_500.0, 8_114.0, 0, 48.0
        while True:
            lost = self.wear.lost(second)
            day = math.sin(2.0 * math.pi * (second % DAY_S) / DAY_S - math.pi / 2.0)
            ratio = min(1.0, max(0.55, 0.8 + 0.12 * day + demand.step()))
            flow = RATED_FLOW_M3_H * ratio * (1.0 - 0.12 * lost)
            head = RATED_HEAD_M * ratio**2 * (1.0 - 0.22 * lost)
            efficiency = BEST_EFFICIENCY * (1.0 - 0.18 * lost)
            power = flow / 3600.0 * head * _GRAVITY * _WATER_KG_M3 / efficiency / 1000.0
            inlet = 1.2 + suction.step()
            vibration = 1.3 + 0.8 * ratio + 6.0 * lost**2 + shake.step()
            bearing += (42.0 + 12.0 * ratio + 30.0 * lost - bearing) / 900.0
            volume += flow / 3600.0
            hours += 1.0 / 3600.0
            yield {
                "speed_rpm": RATED_SPEED * ratio,
                "flow": max(0.0, flow + noise.normal(0.3)),
                "suction_pressure": inlet,
                "discharge_pressure": inlet + head * _WATER_KG_M3 * _GRAVITY / 1e5,
                "power": power + noise.normal(0.03),
                "bearing_temperature": bearing + noise.normal(0.1),
                "vibration_rms": max(0.05, vibration),
                "volume": volume,
                "run_hours": hours,
                "running": True,
            }
            second += 1
