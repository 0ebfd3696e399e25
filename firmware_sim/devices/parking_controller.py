"""A parking zone controller that speaks binary frames. The zones are our physics.

Request  AA 55  address  command 01  length 00  sum
Answer   AA 55  address  command 81  length  { zone  capacity (2)  occupied (2)  state }...  sum
Words go high byte first; the sum is that of all bytes from the address on, modulo 256. A refusal is command C1 with
one byte. State bit 0: full, bit 1: detector fault.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from firmware_sim.devices.device import DeviceSettings, Said, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise
from firmware_sim.signals import Signal, Value

START = b"\xaa\x55"
READ, ANSWER, REFUSAL = 0x01, 0x81, 0xC1
ZONE_CAPACITY = 60
_ZONE = struct.Struct(">BHHB")


class ParkingControllerSettings(DeviceSettings):
    model: Literal["parking_controller"]
    zones: Annotated[int, Field(ge=1, le=40, strict=True)] = 4


class ParkingController:
    """`unit_id` is its address on the line."""

    step_s = 1.0
    steps = None

    def __init__(self, settings: ParkingControllerSettings, seed: int) -> None:
        self._address, self._zones = settings.unit_id, range(1, settings.zones + 1)
        kinds = ("capacity", "occupied", "full", "fault")
        self.signals = tuple(Signal(f"zone{zone}_{kind}", "1", "physics") for zone in self._zones for kind in kinds)
        self._walk = Walk(lambda: self._minutes(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def take(self, heard: bytearray) -> bytes | None:
        return take(heard)

    def answer(self, request: bytes, values: Mapping[str, Value]) -> Said | None:
        if request[2:5] != bytes((self._address, READ, 0)) or request[-1] != total(request[2:-1]):
            return None
        said: dict[str, Value] = {}
        data = b""
        for zone in self._zones:
            occupied = min(0xFFFF, max(0, round(float(values[f"zone{zone}_occupied"]))))
            capacity = min(0xFFFF, max(0, round(float(values[f"zone{zone}_capacity"]))))
            full, fault = bool(values[f"zone{zone}_full"]), bool(values[f"zone{zone}_fault"])
            data += _ZONE.pack(zone, capacity, occupied, full | fault << 1)
            said |= {f"zone{zone}_capacity": capacity, f"zone{zone}_occupied": occupied}
            said |= {f"zone{zone}_full": full, f"zone{zone}_fault": fault}
        return Said(frame(self._address, ANSWER, data), said)

    def refusal(self, request: bytes) -> bytes:
        return frame(self._address, REFUSAL, b"\x02")

    def misaddressed(self, said: bytes) -> bytes:
        return frame(self._address % 247 + 1, said[3], said[5:-1])

    def _minutes(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        cars = {zone: int(noise.uniform(5, 30)) for zone in self._zones}
        faulty_until, minute = dict.fromkeys(self._zones, -1), 0
        while True:
            values: dict[str, Value] = {}
            for zone in self._zones:
                cars[zone] += min(noise.poisson(0.5), ZONE_CAPACITY - cars[zone])
                cars[zone] -= min(noise.poisson(cars[zone] / 80.0), cars[zone])
                if noise.uniform() < 0.001:
                    faulty_until[zone] = minute + 10
                values |= {f"zone{zone}_capacity": ZONE_CAPACITY, f"zone{zone}_occupied": cars[zone]}
                values[f"zone{zone}_full"] = cars[zone] >= ZONE_CAPACITY
                values[f"zone{zone}_fault"] = minute < faulty_until[zone]
            yield values
            minute += 1


def total(data: bytes) -> int:
    return sum(data) & 0xFF


def frame(address: int, command: int, data: bytes) -> bytes:
    body = bytes((address, command, len(data))) + data
    return START + body + bytes((total(body),))


def take(heard: bytearray) -> bytes | None:
    """The next whole frame; what stands before a start is dropped."""
    begin = heard.find(START)
    if begin < 0:
        del heard[: -1 if heard.endswith(START[:1]) else len(heard)]
        return None
    del heard[:begin]
    if len(heard) < 5 or len(heard) < 6 + heard[4]:
        return None
    found = bytes(heard[: 6 + heard[4]])
    if found[-1] != total(found[2:-1]):
        del heard[:2]  # that was no start
        return take(heard)
    del heard[: len(found)]
    return found
