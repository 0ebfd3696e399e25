"""A weighing indicator that answers `Q` with one line of text. The weights are our physics.

The line is that of many indicators: ST (stable), US (unstable) or OL (overload), GS for gross, sign, seven places, kg.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from firmware_sim.devices.device import DeviceSettings, Said, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise
from firmware_sim.signals import Signal, Value

STABLE_WITHIN_KG = 5.0


class WeighingSettings(DeviceSettings):
    model: Literal["weighing"]
    capacity_kg: Annotated[float, Field(gt=0, le=90_000)] = 40_000.0


class Weighing:
    """`Q` CR LF is answered with, for example, `ST,GS,+12345.0kg` CR LF."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("weight", "kg", "physics"),
        Signal("stable", "1", "physics"),
        Signal("overload", "1", "physics"),
    )
    step_s = 0.2
    steps = None

    def __init__(self, settings: WeighingSettings, seed: int) -> None:
        self._capacity_kg = settings.capacity_kg
        self._walk = Walk(lambda: self._steps(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def take(self, heard: bytearray) -> bytes | None:
        end = heard.find(b"\n")
        if end < 0:
            return None
        request = bytes(heard[: end + 1])
        del heard[: end + 1]
        return request

    def answer(self, request: bytes, values: Mapping[str, Value]) -> Said | None:
        if request.strip() != b"Q":
            return None
        weight = round(float(values["weight"]) * 2) / 2  # divisions of 0.5 kg
        stable, overload = bool(values["stable"]), bool(values["overload"])
        header = "OL" if overload else "ST" if stable else "US"
        text = f"{header},GS,{weight:+08.1f}kg\r\n"
        return Said(text.encode("ascii"), {"weight": weight, "stable": stable, "overload": overload})

    def refusal(self, request: bytes) -> bytes:
        return b"?\r\n"

    def misaddressed(self, frame: bytes) -> bytes:
        return frame  # one indicator on the line: it has no address

    def _steps(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        """Trucks drive on, stand and leave."""
        while True:
            load = noise.uniform(0.2, 1.04) * self._capacity_kg
            course = [0.0] * int(noise.uniform(10, 30)) + [load * at / 15 for at in range(15)]
            course += [load] * int(noise.uniform(40, 90)) + [load * (1 - at / 10) for at in range(1, 11)]
            before = 0.0
            for true in course:
                sways = abs(true - before) > STABLE_WITHIN_KG
                weight = max(0.0, true + noise.normal(60.0 if sways else 0.2))
                yield {"weight": weight, "stable": not sways, "overload": weight > self._capacity_kg}
                before = true
