"""What to read, as plain values: lines, devices, points, assets. The gateway builds them from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.frame_spec import FrameSpec
from wire.tag import Asset, Datatype, Tag

DriverName = Literal["modbus-tcp", "modbus-rtu", "modbus-rtu-tcp", "serial-text", "serial-binary", "dlt645"]
FRAMED: tuple[DriverName, ...] = ("serial-text", "serial-binary")
"""Devices whose frames are described in site.yaml."""
Table = Literal["coil", "discrete", "input", "holding"]
RawType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
    "bcd16", "bcd32", "string",
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
    "bcd16": 1,
    "bcd32": 2,
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
    max_silence_s: told at the latest after this time, changed or not. period_s: time between two polls, where it is
    not the device's. states: raw number -> its name; the tag is that text, and a number without a name is BAD.
    bit_names: bit -> its name; the tag is the names of the bits that are set, joined by ', '. Both go with whole
    numbers only. writable: `gateway write` may write it, from write_low to write_high, in tag.unit.
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
    period_s: float | None = None
    states: tuple[tuple[int, str], ...] = ()
    bit_names: tuple[tuple[int, str], ...] = ()
    writable: bool = False
    write_low: float | None = None
    write_high: float | None = None

    @property
    def registers(self) -> int:
        """Registers (or bits, in a bit table) that the point takes."""
        return -(-self.length // 2) if self.type == "string" else REGISTERS_OF[self.type]

    @property
    def datatype(self) -> Datatype:
        """The datatype that its tag must have."""
        if self.states or self.bit_names:
            return Datatype.STRING
        return datatype_of(self.type, self.scale, self.offset)


@dataclass(frozen=True, slots=True)
class Illegal:
    """Addresses of a table, start to end - 1, that no request may touch. start == end: none may reach across start."""

    table: Table
    start: int
    end: int

    def __str__(self) -> str:
        if self.start == self.end:
            return f"{self.table} not across {self.start}"
        return f"{self.table} {self.start}" + (f"-{self.end - 1}" if self.end - self.start > 1 else "")

    def holds(self, start: int, end: int) -> bool:
        """True when an address from start to end - 1 is one of these."""
        return self.start < end and self.end > start and self.start < self.end

    def parts(self, end: int, start: int) -> bool:
        """True when these lie between a value that ends before end and one that begins at start."""
        if self.start == self.end:
            return end <= self.start <= start
        return self.start < start and self.end > end

    def crossed(self, start: int, end: int) -> bool:
        """True when a request from start to end - 1 would touch these, or reach across."""
        return self.start < end and self.end > start


@dataclass(frozen=True, slots=True)
class DerivedSpec:
    """A tag that is calculated. inputs: (device id, tag name) of each name of the expression, in its order.

    point: tag, range, deadband; its type is float64, float32 or bool. period_s: how often it has a value.
    """

    point: PointSpec
    expression: str
    inputs: tuple[tuple[str, str], ...]
    period_s: float


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One physical device on a line.

    period_s: time between two polls; for a streaming device the longest usual time between two frames.
    max_registers, max_bits: the most that the device gives in one answer. illegal: addresses that it must not be
    asked for. frame: how what it sends reads. request: bytes that make it send; without them it speaks by itself.
    write_multiple_only: single registers are written with function 16 too. events: it speaks only when something
    happens, and its silence is no fault. meter: the 12 digits of a dlt645 meter's address.
    """

    id: str
    line: str
    unit_id: int = 1
    period_s: float = 1.0
    max_registers: int = 125
    max_bits: int = 2000
    illegal: tuple[Illegal, ...] = ()
    write_multiple_only: bool = False
    frame: FrameSpec | None = None
    request: bytes = b""
    events: bool = False
    meter: str = ""
    points: tuple[PointSpec, ...] = ()
    derived: tuple[DerivedSpec, ...] = ()

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Everything that is told of the device, read and derived."""
        return (*(p.tag for p in self.points), *(d.point.tag for d in self.derived))


@dataclass(frozen=True, slots=True)
class RtsSpec:
    """RTS switches an RS-485 transceiver. sending: its level meanwhile. before_s, after_s: how much longer it holds."""

    sending: Literal["high", "low"] = "high"
    before_s: float = 0.0
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LineSpec:
    """One serial port or TCP endpoint with the devices on it.

    host and port (an int) of a TCP endpoint: a device's, or a serial converter's with the bus behind it; without
    host, port is the path of the serial port. baud, parity, stop_bits: of the bus, also of one behind a converter.
    turnaround_s: what a device usually takes to begin its answer; None: as the driver's kind of line usually has it.
    rts: None where the adapter switches by itself. timeout_s: the worst usual response. gap_s: least pause before a
    request. quiet_s: silence after which a serial line counts as
    idle again. silent_polls: failed polls in a row after which a unit is declared dead; probe_s: how often a
    dead one is then asked. fault_reserve: its plan must have room for one silent device in each cycle.
    """

    name: str
    driver: DriverName
    host: str = ""
    port: int | str = 502
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    rts: RtsSpec | None = None
    turnaround_s: float | None = None
    timeout_s: float = 1.0
    gap_s: float = 0.0
    quiet_s: float = 0.05
    silent_polls: int = 3
    probe_s: float = 10.0
    fault_reserve: bool = True
    devices: tuple[DeviceSpec, ...] = ()

    @property
    def by_socket(self) -> bool:
        """True when the line is a TCP endpoint, not a serial port."""
        return bool(self.host)


@dataclass(frozen=True, slots=True)
class RunningSpec:
    """When an asset runs: its tag is above a number, has one of these texts, or is true where neither is given.

    settle_s: it is not judged for so long after it began to run.
    """

    device: str
    tag: str
    above: float | None = None
    states: tuple[str, ...] = ()
    settle_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LifeSpec:
    """How the remaining life of an asset is told: by a model file, or by the trend of a tag, (device id, tag name),
    towards its limit; falling: that lies below. A row is what came in every_s of running, or, with a model, in one of
    what the tag `counter` counts."""

    model: Path | None = None
    tag: tuple[str, str] | None = None
    limit: float = 0.0
    falling: bool = False
    every_s: float = 3600.0
    counter: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """A thing that is maintained, its tags as (device id, tag name), and the model that judges it.

    inputs: model input -> (device id, tag name); an input that is not named is looked for by its own name among
    the tags of the asset. false_alarm_s: seconds from one false alarm to the next that the operator accepts; None: as
    the model was made for. running: when there is something to judge; None: always.
    """

    id: str
    name: str = ""
    kind: str = "other"
    tags: tuple[tuple[str, str], ...] = ()
    model: Path | None = None
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    false_alarm_s: float | None = None
    running: RunningSpec | None = None
    life: LifeSpec | None = None

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
    "bcd16": Datatype.UINT16,
    "bcd32": Datatype.UINT32,
    "string": Datatype.STRING,
}


def datatype_of(raw: RawType, scale: float = 1.0, offset: float = 0.0) -> Datatype:
    """The datatype of a point's tag.

    bool, string and unscaled integers keep theirs. Scaled: FLOAT for 16-bit raw values and float32, DOUBLE for
    everything wider.
    """
    if (scale == 1.0 and offset == 0.0) or raw in ("bool", "string"):
        return _UNSCALED[raw]
    small = ("int8", "uint8", "int16", "uint16", "bcd16", "float32")
    return Datatype.FLOAT if raw in small else Datatype.DOUBLE
