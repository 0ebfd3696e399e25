"""A screw compressor between two pressure limits. All signals are our physics.

It loads until the network is full and idles until it is empty. A worn screw delivers less, so that it must load for
longer; a clogged filter and cooler raise the discharge temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise, Wander
from firmware_sim.signals import Signal, Value
from firmware_sim.wear import Wear, WearSettings

CUT_IN_BAR, CUT_OUT_BAR = 6.8, 7.6
DELIVERY_M3_MIN, NETWORK_M3 = 6.2, 3.0
LOADED_KW, IDLE_KW = 37.0, 11.5


class CompressorSettings(DeviceSettings):
    model: Literal["compressor"]
    wear: WearSettings | None = None


class Compressor:
    """Input registers 0-9, discrete inputs 0-1."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("pressure", "bar", "physics", "input", 0, "uint16", 0.01),
        Signal("discharge_temperature", "Cel", "physics", "input", 1, "int16", 0.1),
        Signal("power", "kW", "physics", "input", 2, "uint16", 0.01),
        Signal("air_flow", "m3/min", "physics", "input", 3, "uint16", 0.01),
        Signal("run_hours", "h", "physics", "input", 4, "uint32", 0.01, counter=True),
        Signal("loaded_hours", "h", "physics", "input", 6, "uint32", 0.01, counter=True),
        Signal("energy", "kW.h", "physics", "input", 8, "uint32", 0.1, counter=True),
        Signal("running", "1", "physics", "discrete", 0, "bool"),
        Signal("loaded", "1", "physics", "discrete", 1, "bool"),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: CompressorSettings, seed: int) -> None:
        self.wear = Wear(settings.wear)
        self._walk = Walk(lambda: self._seconds(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def _seconds(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        use = Wander(noise, 0.5, 0.99)
        pressure, temperature, loaded = 7.1, 74.0, True
        run_h, loaded_h, energy, second = 12_960.0, 8_424.0, 301_200.0, 0
        while True:
            lost = self.wear.lost(second)
            delivery = DELIVERY_M3_MIN * (1.0 - 0.25 * lost) if loaded else 0.0
            used = max(0.5, 3.6 + use.step())
            pressure = max(0.0, pressure + (delivery - used) / 60.0 / NETWORK_M3)
            loaded = pressure < CUT_OUT_BAR if loaded else pressure < CUT_IN_BAR
            power = (LOADED_KW * (1.0 + 0.08 * lost) if loaded else IDLE_KW) + noise.normal(0.25)
            temperature += ((82.0 if loaded else 68.0) + 24.0 * lost - temperature) / 120.0
            run_h, loaded_h = run_h + 1.0 / 3600.0, loaded_h + loaded / 3600.0
            energy += power / 3600.0
            yield {
                "pressure": pressure,
                "discharge_temperature": temperature + noise.normal(0.15),
                "power": power,
                "air_flow": delivery,
                "run_hours": run_h,
                "loaded_hours": loaded_h,
                "energy": energy,
                "running": True,
                "loaded": loaded,
            }
            second += 1
