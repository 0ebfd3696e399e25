"""Tags -> Spans: the fewest legal read requests of a device. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from agent.driver import Span
from agent.spec import DeviceSpec, LineSpec, PointSpec, Table
from wire.errors import ConfigError
from wire.tag import TagTable

MAX_REGISTERS, MAX_BITS = 125, 2000
"""Most registers, most bits in one answer. Source: Modbus Application Protocol v1.1b3, sections 6.1 to 6.4."""

# One more request costs 13 characters of frame and two pauses of 3.5 characters; a register costs two characters.
GAP_REGISTERS, GAP_BITS = 10, 160
_BIT_TABLES = ("coil", "discrete")
_WHOLE = ("int16", "uint16", "int32", "uint32", "bcd16", "bcd32")


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """One request of a device's poll and the points that its answer holds, in the column order of tags."""

    device: str
    span: Span
    points: tuple[PointSpec, ...]
    tags: TagTable


def plan_device(device: DeviceSpec) -> tuple[PlannedSpan, ...]:
    """The Spans of one polled device. Raises ConfigError with every problem of the device."""
    problems = [*_device_problems(device), *_register_problems(device)]
    if problems:
        raise ConfigError(problems)
    spans: list[PlannedSpan] = []
    ordered = sorted(device.points, key=lambda p: (p.table or "", p.address, p.registers))
    for table, points in groupby(ordered, key=lambda p: p.table):
        assert table is not None
        spans += [_planned(device, table, group) for group in _joined(list(points), _limit(device, table))]
    return tuple(spans)


def plan_frame(device: DeviceSpec) -> TagTable:
    """The columns of a streaming device's frames. Raises ConfigError with every problem of the device."""
    problems = [*_device_problems(device), *_frame_problems(device)]
    if problems:
        raise ConfigError(problems)
    return TagTable([p.tag for p in device.points])


def check_line(line: LineSpec) -> None:
    """Raises ConfigError with every problem of the line and of all devices on it."""
    problems: list[str] = [] if line.devices else [f"line {line.name}: has no devices; give it one or remove it"]
    if line.driver != "modbus-tcp":
        if not 50 <= line.baud <= 4_000_000:
            problems.append(f"line {line.name}: no serial port runs at {line.baud} baud; usual are 9600, 19200, 115200")
        if not isinstance(line.port, str) and not line.by_socket:
            problems.append(f"line {line.name}: a serial line needs the path of its port, not {line.port!r}")
    if line.timeout_s <= 0:
        problems.append(f"line {line.name}: timeout_s must be greater than 0, not {line.timeout_s}")
    for device in line.devices:
        own = _frame_problems(device) if line.driver == "serial-text" else _register_problems(device)
        problems += [*_device_problems(device), *own]
    if line.driver == "serial-text" and len({d.frame.delimiter for d in line.devices if d.frame}) > 1:
        problems.append(f"line {line.name}: all devices of a text line must share one delimiter")
    if problems:
        raise ConfigError(problems)


def _limit(device: DeviceSpec, table: Table) -> int:
    return MAX_BITS if table in _BIT_TABLES else device.max_registers


def _joined(points: Sequence[PointSpec], limit: int) -> Iterator[list[PointSpec]]:
    """points of one table, by address -> groups that one request covers. Greedy from the left is the fewest."""
    gap = GAP_BITS if points[0].table in _BIT_TABLES else GAP_REGISTERS
    group: list[PointSpec] = []
    start = end = 0
    for point in points:
        last = max(end, point.address + point.registers)
        if group and (last - start > limit or point.address - end > gap):
            yield group
            group = []
        if not group:
            start, last = point.address, point.address + point.registers
        group.append(point)
        end = last
    yield group


def _planned(device: DeviceSpec, table: Table, points: list[PointSpec]) -> PlannedSpan:
    start = points[0].address
    end = max(p.address + p.registers for p in points)
    tags = TagTable([p.tag for p in points])
    return PlannedSpan(device.id, Span(table, start, end - start), tuple(points), tags)


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
        if min(p.deadband or 0.0, p.deadband_percent or 0.0, p.max_silence_s or 0.0) < 0:
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
        if any(isinstance(marker, str) for marker in p.invalid):
            yield f"{at}: an invalid marker of a register is a number"


def _frame_problems(device: DeviceSpec) -> Iterator[str]:
    where = f"device {device.id}"
    if device.frame is None:
        yield f"{where}: a serial-text device needs a frame with a pattern"
        return
    if not device.frame.delimiter:
        yield f"{where}: the frame's delimiter is empty"
    try:
        groups = re.compile(device.frame.pattern).groupindex
    except re.error as fault:
        yield f"{where}: the frame's pattern is not a regular expression: {fault}"
        return
    for p in device.points:
        if p.table is not None:
            yield f"{where}: tag {p.tag.name}: a table goes with Modbus only"
        if p.field not in groups:
            yield f"{where}: tag {p.tag.name}: field {p.field!r} is no named group of the pattern ({', '.join(groups)})"


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
