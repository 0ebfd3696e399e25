"""What to read, as plain values: lines, devices, points, assets. The gateway builds them from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.frame_spec import FrameSpec
from wire.tag import Asset, Datatype, Tag

DriverName = Literal["modbus-tcp", "modbus-rtu", "serial-text", "serial-binary", "dlt645"]
FRAMED: tuple[DriverName, ...] = ("serial-text", "serial-binary")
"""Devices whose frames are described in site.yaml."""
Table = Literal["coil", "discrete", "input", "holding"]
RawType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"
]  # fmt: skip
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
"""Where the bytes of a value lie. A is the most significant byte; 64-bit values follow the same rule over four
words: ABCD big-endian, CDAB words reversed, BADC bytes within each word swapped, DCBA little-endian."""

REGISTERS_OF: Mapping[str, int] = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}
"""Registers that a value of each type takes; a string takes PointSpec.length bytes, two in a register."""


@dataclass(frozen=True, slots=True)
class PointSpec:
    """One point of a device: where it lies, how it is decoded, when it is worth telling.

    value = raw x scale + offset, in tag.unit. low, high: engineering range, both allowed. invalid: raw values by
    which the device says "no value" (for integers also as the unsigned pattern, 0x8000; for text lines the text).
    address: zero-based on the wire. bit: 0 (least significant) to 15, of a register; only with type 'bool'.
    length: bytes of a string. field: of a text frame, or the item of a dlt645 meter; table is None then, as it is
    for a binary frame, whose address counts its bytes. when: (field, or offset of a byte; what must stand there): the
    frames in which the point comes.
    deadband: absolute, in tag.unit; deadband_percent: of high - low, or of the last told value when low or high
    is missing. Neither: every sample is told. min_silence_s: not told again before, unless its quality changed.
    max_silence_s: told at the latest after this time, changed or not. writable: `gateway write` may write it, from
    write_low to write_high, in tag.unit.
    """

    tag: Tag
    table: Table | None = None
    address: int = 0
    type: RawType = "uint16"
    order: Order = "ABCD"
    bit: int | None = None
    length: int = 0
    scale: float = 1.0
    offset: float = 0.0
    low: float | None = None
    high: float | None = None
    invalid: tuple[int | float | str, ...] = ()
    field: str = ""
    when: tuple[tuple[str, str], ...] = ()
    deadband: float | None = None
    deadband_percent: float | None = None
    min_silence_s: float | None = None
    max_silence_s: float | None = None
    writable: bool = False
    write_low: float | None = None
    write_high: float | None = None

    @property
    def registers(self) -> int:
        """Registers (or bits, in a bit table) that the point takes."""
        return -(-self.length // 2) if self.type == "string" else REGISTERS_OF[self.type]


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One physical device on a line.

    period_s: time between two polls; for a streaming device the longest usual time between two frames.
    max_registers: the most registers that the device gives in one answer. frame: how what it sends reads. request:
    bytes that make it send; without them it speaks by itself. events: it speaks only when something happens, and
    its silence is no fault. meter: the 12 digits of a dlt645 meter's address.
    """

    id: str
    line: str
    unit_id: int = 1
    period_s: float = 1.0
    max_registers: int = 125
    frame: FrameSpec | None = None
    request: bytes = b""
    events: bool = False
    meter: str = ""
    points: tuple[PointSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class LineSpec:
    """One serial port or TCP endpoint with the devices on it.

    host and port (an int) of a TCP endpoint; without host, port is the path of the serial port. timeout_s: the worst
    usual response. gap_s: least pause before a request. quiet_s: silence after which a serial line counts as
    idle again. silent_polls: failed polls in a row after which a unit is declared dead; probe_s: how often a
    dead one is then asked.
    """

    name: str
    driver: DriverName
    host: str = ""
    port: int | str = 502
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    timeout_s: float = 1.0
    gap_s: float = 0.0
    quiet_s: float = 0.05
    silent_polls: int = 3
    probe_s: float = 10.0
    devices: tuple[DeviceSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """A thing that is maintained, its tags as (device id, tag name), and the model that judges it.

    inputs: model input -> (device id, tag name); an input that is not named is looked for by its own name among
    the tags of the asset.
    """

    id: str
    name: str = ""
    kind: str = "other"
    tags: tuple[tuple[str, str], ...] = ()
    model: Path | None = None
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def asset(self) -> Asset:
        return Asset(self.id, self.name, self.kind)


_UNSCALED: Mapping[str, Datatype] = {
    "bool": Datatype.BOOLEAN,
    "int8": Datatype.INT8,
    "uint8": Datatype.UINT8,
    "int16": Datatype.INT16,
    "uint16": Datatype.UINT16,
    "int32": Datatype.INT32,
    "uint32": Datatype.UINT32,
    "int64": Datatype.INT64,
    "uint64": Datatype.UINT64,
    "float32": Datatype.FLOAT,
    "float64": Datatype.DOUBLE,
    "string": Datatype.STRING,
}


def datatype_of(raw: RawType, scale: float = 1.0, offset: float = 0.0) -> Datatype:
    """The datatype of a point's tag.

    bool, string and unscaled integers keep theirs. Scaled: FLOAT for 16-bit raw values and float32, DOUBLE for
    everything wider.
    """
    if (scale == 1.0 and offset == 0.0) or raw in ("bool", "string"):
        return _UNSCALED[raw]
    return Datatype.FLOAT if raw in ("int8", "uint8", "int16", "uint16", "float32") else Datatype.DOUBLE
