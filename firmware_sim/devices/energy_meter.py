"""A three-phase energy meter. All signals are our physics: a base load, a slow swing and a compressor that cycles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise, Wander
from firmware_sim.signals import Signal, Value

STEP_S = 1.0
_KWH_AT_START = 48_213.5


class EnergyMeterSettings(DeviceSettings):
    model: Literal["energy_meter"]


class EnergyMeter:
    """Input registers 0-7. The energy register is the sum of the power, second by second."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("active_power", "kW", "physics", "input", 0, "float32"),
        Signal("energy_import", "kW.h", "physics", "input", 2, "uint32", 0.01, counter=True),
        Signal("voltage", "V", "physics", "input", 4, "uint16", 0.1),
        Signal("current", "A", "physics", "input", 5, "int16", 0.01),
        Signal("power_factor", "1", "physics", "input", 6, "int16", 0.001),
        Signal("frequency", "Hz", "physics", "input", 7, "uint16", 0.01),
    )
    step_s = STEP_S
    steps = None

    def __init__(self, settings: EnergyMeterSettings, seed: int) -> None:
        self._walk = Walk(lambda: _seconds(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())


def _seconds(noise: Noise) -> Iterator[Mapping[str, Value]]:
    base, voltage, frequency = Wander(noise, 2.5, 0.97), Wander(noise, 1.2, 0.95), Wander(noise, 0.015, 0.98)
    energy, second = _KWH_AT_START, 0
    compressor, switches_at = False, noise.uniform(5.0, 20.0)
    while True:
        if second >= switches_at:
            compressor = not compressor
            switches_at = second + noise.uniform(15.0, 35.0)
        power = 72.0 + 9.0 * math.sin(2.0 * math.pi * second / 600.0) + base.step() + 28.0 * compressor
        factor = (0.89 if compressor else 0.94) + noise.normal(0.004)
        volt = 230.0 - 0.02 * power + voltage.step()
        energy += power * STEP_S / 3600.0
        yield {
            "active_power": power,
            "energy_import": energy,
            "voltage": volt,
            "current": 1000.0 * power / (3.0 * volt * factor),
            "power_factor": factor,
            "frequency": 50.0 + frequency.step(),
        }
        second += 1
