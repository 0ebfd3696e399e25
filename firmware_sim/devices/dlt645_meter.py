"""An electricity meter that speaks DL/T 645-2007. All signals are our physics, those of `energy_meter` made smaller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from firmware_sim.devices import dlt645_frame as wire
from firmware_sim.devices.device import DeviceSettings, Said, Window
from firmware_sim.devices.energy_meter import EnergyMeter, EnergyMeterSettings
from firmware_sim.signals import Signal, Value

SHARE = 1 / 20  # of the plant's load: a direct meter shows at most 99.9999 kW


@dataclass(frozen=True, slots=True)
class Item:
    """A data identifier: its signal, bytes BCD and decimals. Signed: the top bit says minus."""

    signal: str
    count: int
    decimals: int
    signed: bool = False

    def encode(self, value: float) -> tuple[bytes, float]:
        """The bytes, and the value that they say."""
        raw = round(value * 10**self.decimals)
        most = (8 if self.signed else 10) * 10 ** (2 * self.count - 1) - 1
        raw = min(most, abs(raw))
        data = bytearray(wire.bcd(raw, self.count))
        minus = self.signed and value < 0 < raw
        if minus:
            data[-1] |= 0x80
        return bytes(data), round((-raw if minus else raw) / 10**self.decimals, self.decimals)


# Annex A of the standard; identifiers as DI3 DI2 DI1 DI0.
ITEMS: dict[str, Item] = {
    "00000000": Item("energy_total", 4, 2),
    "00010000": Item("energy_import", 4, 2),
    "00020000": Item("energy_export", 4, 2),
    "02010100": Item("voltage_a", 2, 1),
    "02010200": Item("voltage_b", 2, 1),
    "02010300": Item("voltage_c", 2, 1),
    "02020100": Item("current_a", 3, 3, signed=True),
    "02020200": Item("current_b", 3, 3, signed=True),
    "02020300": Item("current_c", 3, 3, signed=True),
    "02030000": Item("power", 3, 4, signed=True),
    "02060000": Item("power_factor", 2, 3, signed=True),
    "02800002": Item("frequency", 2, 2),
}
# A block is asked for with FF and brings all its items.
BLOCKS: dict[str, tuple[str, ...]] = {
    "0201FF00": ("02010100", "02010200", "02010300"),
    "0202FF00": ("02020100", "02020200", "02020300"),
}
ADDRESS_ITEM = "04000401"


class Dlt645MeterSettings(DeviceSettings):
    """`address`: the twelve digits on the meter's plate."""

    model: Literal["dlt645_meter"]
    address: Annotated[str, Field(pattern=r"^\d{12}$")] = "000000000001"


class Dlt645Meter:
    """Answers 11H (read data) and 13H (read address); an identifier that it has not gets an error answer."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("energy_total", "kW.h", "physics", counter=True),
        Signal("energy_import", "kW.h", "physics", counter=True),
        Signal("energy_export", "kW.h", "physics", counter=True),
        *(Signal(f"voltage_{phase}", "V", "physics") for phase in "abc"),
        *(Signal(f"current_{phase}", "A", "physics") for phase in "abc"),
        Signal("power", "kW", "physics"),
        Signal("power_factor", "1", "physics"),
        Signal("frequency", "Hz", "physics"),
    )
    step_s = 1.0
    steps = None

    def __init__(self, settings: Dlt645MeterSettings, seed: int) -> None:
        self._address = bytes.fromhex(settings.address)[::-1]
        self._plant = EnergyMeter(EnergyMeterSettings(id=settings.id, line=settings.line, model="energy_meter"), seed)

    def at(self, step: int) -> Mapping[str, Value]:
        plant = {name: float(value) for name, value in self._plant.at(step).items()}
        volt, ampere = plant["voltage"], plant["current"] * SHARE
        return {
            "energy_total": plant["energy_import"] * SHARE,
            "energy_import": plant["energy_import"] * SHARE,
            "energy_export": 0.0,
            **{f"voltage_{phase}": volt + more for phase, more in zip("abc", (0.0, 0.7, -0.4), strict=True)},
            **{f"current_{phase}": ampere * by for phase, by in zip("abc", (1.0, 0.97, 1.03), strict=True)},
            "power": plant["active_power"] * SHARE,
            "power_factor": plant["power_factor"],
            "frequency": plant["frequency"],
        }

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def take(self, heard: bytearray) -> bytes | None:
        return wire.take(heard)

    def answer(self, request: bytes, values: Mapping[str, Value]) -> Said | None:
        asked = wire.decode(request)
        if asked.control == wire.READ_ADDRESS and asked.address == wire.ANY:
            return Said(self._frame(wire.READ_ADDRESS | 0x80, self._address), {})
        if asked.control != wire.READ or not self._is_mine(asked.address):
            return None
        identifier = asked.data[:4][::-1].hex().upper()
        if identifier == ADDRESS_ITEM:
            return Said(self._frame(wire.READ | 0x80, asked.data[:4] + self._address), {})
        names = BLOCKS.get(identifier, (identifier,) if identifier in ITEMS else ())
        if len(asked.data) != 4 or not names:
            return Said(self.refusal(request), {})
        data, said = asked.data, dict[str, Value]()
        for name in names:
            item = ITEMS[name]
            more, said[item.signal] = item.encode(float(values[item.signal]))
            data += more
        return Said(self._frame(wire.READ | 0x80, data), said)

    def _is_mine(self, address: bytes) -> bool:
        """AA stands for any digits (shortened addressing)."""
        return all(given in (0xAA, own) for given, own in zip(address, self._address, strict=True))

    def _frame(self, control: int, data: bytes) -> bytes:
        return wire.PREAMBLE + wire.encode(wire.Frame(self._address, control, data))

    def refusal(self, request: bytes) -> bytes:
        return self._frame(wire.READ | 0xC0, bytes((wire.NO_SUCH_DATA,)))

    def misaddressed(self, frame: bytes) -> bytes:
        said = wire.decode(frame[len(wire.PREAMBLE) :])
        other = bytes((said.address[0] ^ 0x01,)) + said.address[1:]
        return wire.PREAMBLE + wire.encode(wire.Frame(other, said.control, said.data))
