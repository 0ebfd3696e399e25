"""A machine: a real recording of its temperature, and a drive whose further signals are our physics.

The physics knows the smoothed temperature and nothing of the labels: load follows temperature, current and vibration
follow load, the speed sags with it, and below DRIVE_STOPS_DEGF the drive is taken to stand still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from firmware_sim import recording
from firmware_sim.devices.device import DeviceSettings, Window, looped
from firmware_sim.noise import Noise, Wander
from firmware_sim.signals import Signal, Value

DRIVE_STOPS_DEGF = 55.0
ROW_H = 5 / 60  # the recording has a row every five minutes
_SMOOTHING = 1 / 6  # share of a new row in the smoothed temperature: half an hour
_HOURS_AT_START = 18_250.0


class MachineSettings(DeviceSettings):
    """`start`: recorded time shown at simulated second 0. `row_s`: simulated seconds that one row lasts."""

    model: Literal["machine"]
    start: datetime = datetime(2014, 2, 6, 18, 30)
    row_s: Annotated[float, Field(gt=0, le=3600)] = 0.1


class Machine:
    """Holding registers 0-6 and discrete input 0."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("temperature", "[degF]", "recording", "holding", 0, "float32"),
        Signal("motor_current", "A", "physics", "holding", 2, "uint16", 0.01),
        Signal("vibration_rms", "mm/s", "physics", "holding", 3, "uint16", 0.001),
        Signal("speed_rpm", "1/min", "physics", "holding", 4, "uint16"),
        Signal("run_hours", "h", "physics", "holding", 5, "uint32", 0.1, "CDAB", counter=True),
        Signal("running", "1", "physics", "discrete", 0, "bool"),
    )

    def __init__(self, settings: MachineSettings, seed: int) -> None:
        self.step_s = settings.row_s
        self._recording = recording.load("machine_temperature_system_failure")
        self._start = self._recording.row_at(settings.start)
        self._rows = _drive(self._recording.values, seed, settings.id)
        self.steps = len(self._rows) - self._start

    def at(self, step: int) -> Mapping[str, Value]:
        laps, row = divmod(step, self.steps)
        values = dict(self._rows[self._start + row])
        # An hour meter never runs backwards, not even where the recording starts again.
        lap_h = float(self._rows[-1]["run_hours"]) - float(self._rows[self._start]["run_hours"])
        values["run_hours"] = float(values["run_hours"]) + laps * lap_h
        return values

    def recorded(self) -> Iterator[Window]:
        windows = list(self._recording.windows)
        return looped(windows, self._start, len(self._rows), self.step_s, "recorded failure")


def _drive(temperatures: tuple[float, ...], seed: int, device: str) -> list[Mapping[str, Value]]:
    """All rows. Noise is drawn per row of the recording: a row has one value wherever replay or export starts."""
    load_noise = Wander(Noise(seed, device, "load"), 0.06, 0.95)
    vibration_noise = Wander(Noise(seed, device, "vibration"), 0.07, 0.6)
    current_noise, speed_noise = Noise(seed, device, "current"), Noise(seed, device, "speed")
    smooth, hours = temperatures[0], _HOURS_AT_START
    rows: list[Mapping[str, Value]] = []
    for temperature in temperatures:
        smooth += _SMOOTHING * (temperature - smooth)
        running = smooth >= DRIVE_STOPS_DEGF
        load = min(1.2, max(0.0, (smooth - 70.0) / 30.0)) + load_noise.step()
        current, vibration = 18.0 + 24.0 * load, 1.1 + 1.4 * load + vibration_noise.step()
        speed = 1485.0 - 25.0 * load
        hours += ROW_H if running else 0.0
        rows.append(
            {
                "temperature": temperature,
                "motor_current": max(0.0, (current if running else 0.05) + current_noise.normal(0.35)),
                "vibration_rms": max(0.02, vibration) if running else 0.02,
                "speed_rpm": speed + speed_noise.normal(1.5) if running else 0.0,
                "run_hours": hours,
                "running": running,
            }
        )
    return rows
