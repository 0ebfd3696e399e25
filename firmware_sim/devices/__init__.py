"""Every simulated device, one visible line each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firmware_sim.devices.barrier import Barrier, BarrierSettings
from firmware_sim.devices.car_park import CarPark, CarParkSettings
from firmware_sim.devices.compressor import Compressor, CompressorSettings
from firmware_sim.devices.device import Device
from firmware_sim.devices.dlt645_meter import Dlt645Meter, Dlt645MeterSettings
from firmware_sim.devices.energy_meter import EnergyMeter, EnergyMeterSettings
from firmware_sim.devices.machine import Machine, MachineSettings
from firmware_sim.devices.motor import Motor, MotorSettings
from firmware_sim.devices.parking_controller import ParkingController, ParkingControllerSettings
from firmware_sim.devices.pump import Pump, PumpSettings
from firmware_sim.devices.registers import Registers, RegistersSettings
from firmware_sim.devices.road_detector import RoadDetector, RoadDetectorSettings
from firmware_sim.devices.traffic_detector import TrafficDetector, TrafficDetectorSettings
from firmware_sim.devices.weighing import Weighing, WeighingSettings

AnySettings = Annotated[
    MachineSettings
    | EnergyMeterSettings
    | CarParkSettings
    | RoadDetectorSettings
    | RegistersSettings
    | PumpSettings
    | CompressorSettings
    | MotorSettings
    | TrafficDetectorSettings
    | WeighingSettings
    | BarrierSettings
    | ParkingControllerSettings
    | Dlt645MeterSettings,
    Field(discriminator="model"),
]
# model -> the kind of line it needs; all others speak Modbus.
SERIAL_MODELS = {
    "road_detector": "serial-text",
    "traffic_detector": "serial-text",
    "weighing": "serial-text",
    "barrier": "serial-text",
    "parking_controller": "serial-binary",
    "dlt645_meter": "serial-binary",
}


def build(settings: AnySettings, seed: int) -> Device:
    """The device that these settings describe. Raises ScenarioError when a recording does not fit."""
    match settings:
        case MachineSettings():
            return Machine(settings, seed)
        case EnergyMeterSettings():
            return EnergyMeter(settings, seed)
        case CarParkSettings():
            return CarPark(settings, seed)
        case RoadDetectorSettings():
            return RoadDetector(settings, seed)
        case RegistersSettings():
            return Registers(settings, seed)
        case PumpSettings():
            return Pump(settings, seed)
        case CompressorSettings():
            return Compressor(settings, seed)
        case MotorSettings():
            return Motor(settings, seed)
        case TrafficDetectorSettings():
            return TrafficDetector(settings, seed)
        case WeighingSettings():
            return Weighing(settings, seed)
        case BarrierSettings():
            return Barrier(settings, seed)
        case ParkingControllerSettings():
            return ParkingController(settings, seed)
        case Dlt645MeterSettings():
            return Dlt645Meter(settings, seed)
