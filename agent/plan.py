"""Tags -> Spans: the fewest legal read requests of a device. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.driver import Span
from agent.join import join
from agent.spec import DeviceSpec, Illegal, LineSpec, PointSpec, Table
from agent.wire_time import CHARACTERS, WireTime
from wire.errors import ConfigError
from wire.tag import TagTable

MAX_REGISTERS, MAX_BITS = 125, 2000
"""Most registers, most bits in one answer. Source: Modbus Application Protocol v1.1b3, sections 6.1 to 6.4."""

_BIT_TABLES = ("coil", "discrete")
_WHOLE = ("int16", "uint16", "int32", "uint32", "bcd16", "bcd32")


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """One request of a device, made every period_s. points: what its answer holds, in the column order of tags."""

    device: str
    span: Span
    points: tuple[PointSpec, ...]
    tags: TagTable
    period_s: float


def plan_device(
    device: DeviceSpec, cost: WireTime = CHARACTERS, learned: Sequence[Illegal] = ()
) -> tuple[PlannedSpan, ...]:
    """The Spans of one polled device: the least wire time within its limits, across nothing illegal.

    learned: illegal addresses beside those of the device's own list. Raises ConfigError with every problem of the
    device.
    """
    problems = [*_device_problems(device), *_register_problems(device)]
    if problems:
        raise ConfigError(problems)
    together: dict[tuple[float, Table], list[PointSpec]] = {}
    for p in device.points:
        if p.table is not None:
            together.setdefault((p.period_s or device.period_s, p.table), []).append(p)
    spans: list[PlannedSpan] = []
    for (period_s, table), points in sorted(together.items()):
        illegal = [i for i in (*device.illegal, *learned) if i.table == table]
        for group in join(points, _limit(device, table), illegal, cost):
            spans.append(planned_span(device.id, table, group, period_s))
    return tuple(spans)


def check_line(line: LineSpec) -> None:
    """Raises ConfigError with every problem of a Modbus line and of all devices on it."""
    problems: list[str] = [] if line.devices else [f"line {line.name}: has no devices; give it one or remove it"]
    if line.driver != "modbus-tcp":
        if not 50 <= line.baud <= 4_000_000:
            problems.append(f"line {line.name}: no serial port runs at {line.baud} baud; usual are 9600, 19200, 115200")
        if not isinstance(line.port, str) and not line.by_socket:
            problems.append(f"line {line.name}: a serial line needs the path of its port, not {line.port!r}")
    if line.timeout_s <= 0:
        problems.append(f"line {line.name}: timeout_s must be greater than 0, not {line.timeout_s}")
    for device in line.devices:
        problems += [*_device_problems(device), *_register_problems(device)]
    if problems:
        raise ConfigError(problems)


def planned_span(device: str, table: Table, points: Sequence[PointSpec], period_s: float) -> PlannedSpan:
    """One request that covers the points."""
    start = min(p.address for p in points)
    end = max(p.address + p.registers for p in points)
    return PlannedSpan(
        device, Span(table, start, end - start), tuple(points), TagTable([p.tag for p in points]), period_s
    )


def _limit(device: DeviceSpec, table: Table) -> int:
    return device.max_bits if table in _BIT_TABLES else device.max_registers


def _device_problems(device: DeviceSpec) -> Iterator[str]:
    where = f"device {device.id}"
    if not device.points:
        yield f"{where}: has no tags; give it at least one"
    if device.period_s <= 0:
        yield f"{where}: period_s must be greater than 0, not {device.period_s}"
    for name in _twice(p.tag.name for p in device.points):
        yield f"{where}: tag {name} stands twice"
    for p in device.points:
        at = f"{where}: tag {p.tag.name}"
        if p.tag.device != device.id:
            yield f"{at}: belongs to device {p.tag.device}"
        if p.type == "string" and p.length < 1:
            yield f"{at}: a string needs a length in bytes"
        if p.scale == 0.0 or not math.isfinite(p.scale) or not math.isfinite(p.offset):
            yield f"{at}: scale must be a number other than 0 and offset a number, not {p.scale} and {p.offset}"
        if p.low is not None and p.high is not None and p.low > p.high:
            yield f"{at}: low {p.low} is above high {p.high}"
        if p.period_s is not None and p.period_s <= 0:
            yield f"{at}: period_s must be greater than 0, not {p.period_s}"
        if min(p.deadband or 0.0, p.deadband_percent or 0.0, p.min_silence_s or 0.0, p.max_silence_s or 0.0) < 0:
            yield f"{at}: a deadband or silence cannot be negative"
        if p.tag.datatype is not p.datatype:
            yield f"{at}: is declared {p.tag.datatype.name}, its {p.type} gives {p.datatype.name}"
        if (p.states or p.bit_names) and (p.type not in _WHOLE or p.scale != 1.0 or p.offset != 0.0):
            yield f"{at}: named states and bits go with whole numbers as the device sends them"


def _register_problems(device: DeviceSpec) -> Iterator[str]:
    where = f"device {device.id}"
    if not 0 <= device.unit_id <= 255:
        yield f"{where}: unit_id must be 0 to 255, not {device.unit_id}"
    if not 1 <= device.max_registers <= MAX_REGISTERS:
        yield f"{where}: max_registers must be 1 to {MAX_REGISTERS}, not {device.max_registers}"
    if not 1 <= device.max_bits <= MAX_BITS:
        yield f"{where}: max_bits must be 1 to {MAX_BITS}, not {device.max_bits}"
    for p in device.points:
        at = f"{where}: tag {p.tag.name}"
        if p.table is None:
            yield f"{at}: needs a table: coil, discrete, input or holding"
            continue
        if p.table in _BIT_TABLES:
            if p.type != "bool" or p.bit is not None:
                yield f"{at}: a {p.table} is one bit: type bool, no bit number"
        elif p.type == "bool" and (p.bit is None or not 0 <= p.bit <= 15):
            yield f"{at}: a bool in a register needs a bit number, 0 to 15"
        elif p.type != "bool" and p.bit is not None:
            yield f"{at}: a bit number goes with type bool only"
        if p.address < 0 or p.address + p.registers > 65536:
            yield f"{at}: address {p.address} with {p.registers} registers lies outside 0 to 65535"
        if p.registers > _limit(device, p.table):
            yield f"{at}: needs {p.registers} registers, the device gives {device.max_registers} in one answer"
        for i in device.illegal:
            if i.table == p.table and i.holds(p.address, p.address + p.registers):
                yield f"{at}: lies in {i}, which the device lists as illegal"
        if any(isinstance(marker, str) for marker in p.invalid):
            yield f"{at}: an invalid marker of a register is a number"


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
