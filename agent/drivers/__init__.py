"""The drivers that a line may name. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.driver import Clock, Driver
from agent.drivers.dlt645 import Dlt645Driver
from agent.drivers.framed_serial import FramedSerialDriver
from agent.drivers.modbus_write import WritingModbusDriver
from agent.spec import DriverName, LineSpec

DRIVERS: Mapping[DriverName, Callable[[LineSpec, Clock], Driver]] = {
    "modbus-tcp": WritingModbusDriver,
    "modbus-rtu": WritingModbusDriver,
    "modbus-rtu-tcp": WritingModbusDriver,
    "serial-text": FramedSerialDriver,
    "serial-binary": FramedSerialDriver,
    "dlt645": Dlt645Driver,
}
