"""What the demo's gateway is told: the site.yaml of the simulated plant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GROUP, GATEWAY, HOST = "demo-plant", "demo-gateway", "gaugeline"

SITE = """\
# The demo's site: four simulated devices on four lines. Written anew at every start of the demo.
group: {group}
gateway: {gateway}
broker: {broker}
hosts: [{host}]
outbox: {{path: outbox.db}}

lines:
  - {{name: plc-tcp, driver: modbus-tcp, host: {machine_host}, port: {machine_port}}}
  - {{name: meter-rtu, driver: modbus-rtu, port: {meter_port}, baud: 19200, parity: E, stop_bits: 1}}
  - {{name: road-serial, driver: serial-text, port: {road_port}, baud: 9600}}
  - {{name: parking-tcp, driver: modbus-tcp, host: {parking_host}, port: {parking_port}}}

devices:
  - id: machine-plc
    line: plc-tcp
    period_s: 0.1
    tags:
      - {{name: temperature, table: holding, address: 0, type: float32, unit: "[degF]", measures: temperature}}
      - {{name: motor_current, table: holding, address: 2, type: uint16, scale: 0.01, unit: A}}
      - {{name: vibration_rms, table: holding, address: 3, type: uint16, scale: 0.001, unit: mm/s}}
      - {{name: speed_rpm, table: holding, address: 4, type: uint16, unit: 1/min, deadband: 1}}
      - {{name: run_hours, table: holding, address: 5, type: uint32, order: CDAB, scale: 0.1, unit: h, deadband: 0.1}}
      - {{name: running, table: discrete, address: 0, type: bool, max_silence_s: 10}}
  - id: meter-rtu-7
    line: meter-rtu
    unit_id: 7
    period_s: 1
    tags:
      - {{name: active_power, table: input, address: 0, type: float32, unit: kW, measures: power}}
      - {{name: energy_import, table: input, address: 2, type: uint32, scale: 0.01, unit: kW.h, measures: energy}}
      - {{name: voltage, table: input, address: 4, type: uint16, scale: 0.1, unit: V, deadband: 0.2}}
      - {{name: current, table: input, address: 5, type: int16, scale: 0.01, unit: A}}
      - {{name: power_factor, table: input, address: 6, type: int16, scale: 0.001, unit: "1", deadband: 0.002}}
      - {{name: frequency, table: input, address: 7, type: uint16, scale: 0.01, unit: Hz, deadband: 0.02}}
  - id: road-detector
    line: road-serial
    frame:
      pattern: 'L1 OCC=(?P<occupancy>\\d+\\.\\d+) SPD=(?P<speed>\\d+\\.\\d+) VOL=(?P<flow>\\d+)'
    tags:
      - {{name: occupancy, field: occupancy, type: float32, unit: "%", measures: occupancy}}
      - {{name: speed, field: speed, type: float32, unit: "[mi_i]/h", measures: speed}}
      - {{name: flow, field: flow, type: uint32, unit: 1/h, measures: flow}}
  - id: parking-plc
    line: parking-tcp
    period_s: 1
    tags:
      - {{name: capacity, table: input, address: 0, type: uint16, unit: "1", measures: capacity, max_silence_s: 10}}
      - {{name: free_spaces, table: input, address: 1, type: int16, unit: "1", measures: free_spaces}}
      - {{name: entries, table: input, address: 2, type: uint32, unit: "1", measures: entries}}
      - {{name: exits, table: input, address: 4, type: uint32, unit: "1", measures: exits}}
      - {{name: full, table: discrete, address: 0, type: bool, max_silence_s: 10}}
      - {{name: barrier_fault, table: discrete, address: 1, type: bool, max_silence_s: 10}}

assets:
  - {{id: machine-1, name: Machine 1, kind: machine, devices: [machine-plc], model: demo_machine}}
  - {{id: main-meter, name: Main meter, kind: meter, devices: [meter-rtu-7]}}
  - {{id: north-road, name: North road, kind: road, devices: [road-detector]}}
  - {{id: car-park, name: Car park, kind: car_park, devices: [parking-plc]}}
"""


def site_yaml(devices: Mapping[str, Mapping[str, Any]], broker_port: int, gateway: str = GATEWAY) -> str:
    """The site.yaml for where the simulator's devices really listen.

    devices: device id -> the entry of the simulator's ready line (host and port, or the path of a port).
    """
    machine, parking = devices["machine-plc"], devices["parking-plc"]
    return SITE.format(
        group=GROUP,
        gateway=gateway,
        host=HOST,
        broker=f"mqtt://127.0.0.1:{broker_port}",
        machine_host=machine["host"],
        machine_port=machine["port"],
        parking_host=parking["host"],
        parking_port=parking["port"],
        meter_port=devices["meter-rtu-7"]["port"],
        road_port=devices["road-detector"]["port"],
    )
