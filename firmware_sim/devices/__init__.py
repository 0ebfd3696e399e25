"""Every simulated device, one visible line each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firmware_sim.devices.car_park import CarPark, CarParkSettings
from firmware_sim.devices.device import Device
from firmware_sim.devices.energy_meter import EnergyMeter, EnergyMeterSettings
from firmware_sim.devices.machine import Machine, MachineSettings
from firmware_sim.devices.road_detector import RoadDetector, RoadDetectorSettings

AnySettings = Annotated[
    MachineSettings | EnergyMeterSettings | CarParkSettings | RoadDetectorSettings, Field(discriminator="model")
]
TEXT_MODELS = frozenset({"road_detector"})


def build(settings: AnySettings, seed: int) -> Device:
    """The device that these settings describe. Raises ScenarioError when a recording does not reach so far."""
    match settings:
        case MachineSettings():
            return Machine(settings, seed)
        case EnergyMeterSettings():
            return EnergyMeter(settings, seed)
        case CarParkSettings():
            return CarPark(settings, seed)
        case RoadDetectorSettings():
            return RoadDetector(settings, seed)
