"""The frames of a device: which tags stand together in one, and what is wrong with their description. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.checksum import CHECKSUMS
from agent.dlt645 import ITEMS, meter_address
from agent.frame_spec import BinarySpec, FrameSpec
from agent.framer import checksum_place
from agent.spec import FRAMED, DeviceSpec, LineSpec, PointSpec, datatype_of
from wire.errors import ConfigError
from wire.tag import TagTable

BYTES_OF = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
"""Bytes that a value of each type takes in a frame; a string takes PointSpec.length."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Tags that come in one frame. when: field (of a binary frame: offset) -> what must stand there."""

    when: tuple[tuple[str, str], ...]
    points: tuple[PointSpec, ...]
    tags: TagTable


def frame_tables(device: DeviceSpec, driver: str) -> tuple[FrameTable, ...]:
    """The device's tags by the frame that brings them: by `when`, or by item of an electricity meter."""
    groups: dict[object, list[PointSpec]] = {}
    for point in device.points:
        groups.setdefault(point.field if driver == "dlt645" else point.when, []).append(point)
    return tuple(FrameTable(found[0].when, tuple(found), TagTable([p.tag for p in found])) for found in groups.values())


def fields_of(frame: FrameSpec) -> list[str] | None:
    """The names of a text frame's fields; None when any number will do. Raises re.error."""
    if frame.separator:
        return [str(i + 1) for i in range(frame.fields)] or None
    if frame.columns:
        return list(frame.columns)
    return list(re.compile(frame.pattern).groupindex)


def check_line(line: LineSpec) -> None:
    """Raises ConfigError with every problem of a line of framed devices."""
    where = f"line {line.name}"
    problems: list[str] = [] if line.devices else [f"{where}: has no devices; give it one or remove it"]
    if not line.host and not isinstance(line.port, str):
        problems.append(f"{where}: a serial line needs the path of its port, or host and port of a device server")
    if not line.host and not 50 <= line.baud <= 4_000_000:
        problems.append(f"{where}: no serial port runs at {line.baud} baud; usual are 9600, 19200, 115200")
    if line.timeout_s <= 0:
        problems.append(f"{where}: timeout_s must be greater than 0, not {line.timeout_s}")
    for device in line.devices:
        problems += _device_problems(device, line.driver)
    frames = [d.frame for d in line.devices if d.frame]
    if len({(f.delimiter, f.encoding, f.max_length, f.binary) for f in frames}) > 1:
        problems.append(f"{where}: its devices must share delimiter, encoding and layout of a frame")
    if line.driver in FRAMED and len({bool(d.request) for d in line.devices}) > 1:
        problems.append(f"{where}: either all its devices are asked (request) or all speak by themselves")
    if problems:
        raise ConfigError(problems)


def _device_problems(device: DeviceSpec, driver: str) -> Iterator[str]:
    where = f"device {device.id}"
    if not device.points:
        yield f"{where}: has no tags; give it at least one"
    if device.period_s <= 0:
        yield f"{where}: period_s must be greater than 0, not {device.period_s}"
    names = [p.tag.name for p in device.points]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"{where}: tag {name} stands twice"
    for p in device.points:
        wanted = datatype_of(p.type, p.scale, p.offset)
        if p.tag.datatype is not wanted:
            yield f"{where}: tag {p.tag.name}: is declared {p.tag.datatype.name}, its {p.type} gives {wanted.name}"
    if driver == "dlt645":
        if meter_address(device.meter) is None:
            yield f"{where}: meter must be its 12 digits as printed on it, not {device.meter!r}"
        unknown = sorted({p.field for p in device.points} - set(ITEMS))
        yield from (f"{where}: no item {name!r}; see docs/site-yaml.md" for name in unknown)
    elif device.frame is None:
        yield f"{where}: needs a frame: how what it sends reads"
    else:
        yield from (f"{where}: {problem}" for problem in frame_problems(device.frame, driver))
        yield from _point_problems(device, device.frame)


def frame_problems(frame: FrameSpec, driver: str) -> Iterator[str]:
    """What is wrong with a frame itself, whatever stands in it."""
    if driver == "serial-binary":
        if frame.binary is None:
            yield "a serial-binary frame is described by start, end, length or length_field, and checksum"
        else:
            yield from _binary_problems(frame.binary, frame.max_length)
        return
    ways = [bool(frame.pattern), bool(frame.separator), bool(frame.columns)]
    if frame.binary is not None or sum(ways) != 1:
        yield "a text frame has one of pattern, separator and columns"
    if not frame.delimiter:
        yield "its delimiter is empty"
    try:
        re.compile(frame.pattern)
    except re.error as fault:
        yield f"its pattern is not a regular expression: {fault}"
    for name, (first, last) in frame.columns.items():
        if not 1 <= first <= last:
            yield f"columns {name}: must be [first, last], counted from 1, not [{first}, {last}]"


def _binary_problems(spec: BinarySpec, max_length: int) -> Iterator[str]:
    if not spec.start:
        yield "start is missing: without it a frame cannot be told from noise"
    if spec.length and spec.length_at is not None:
        yield "has both a length and a length field"
    if not spec.length and spec.length_at is None and not spec.end:
        yield "nothing says where it ends: give length, length_field or end"
    if spec.length > max_length:
        yield f"its length {spec.length} is above max_length {max_length}"
    check = spec.checksum
    if (
        check is not None
        and check.at < 0
        and -check.at < CHECKSUMS[check.kind][1] + (len(spec.end) if -check.at > len(spec.end) else 0)
    ):
        yield f"its checksum at {check.at} would stand in the end mark"
    elif check is not None and spec.length and checksum_place(check, spec.length) is None:
        yield f"its checksum at {check.at}, over what begins at {check.first}, has no place in {spec.length} bytes"
    if spec.length_at is not None and spec.length_at < len(spec.start):
        yield f"its length field at {spec.length_at} would stand in the start mark, which has {len(spec.start)} bytes"


def _point_problems(device: DeviceSpec, frame: FrameSpec) -> Iterator[str]:
    try:
        fields = None if frame.binary else fields_of(frame)
    except re.error:
        return
    for p in device.points:
        at = f"device {device.id}: tag {p.tag.name}"
        if frame.binary:
            size = p.length if p.type == "string" else BYTES_OF.get(p.type, 0)
            if p.address < 0 or size < 1:
                yield f"{at}: needs a place in the frame: at, and a type with a size"
            elif frame.binary.length and p.address + size > frame.binary.length:
                yield f"{at}: reaches beyond the {frame.binary.length} bytes of the frame"
            if p.type == "bool" and not 0 <= (p.bit or 0) <= 7:
                yield f"{at}: bit must be 0 to 7 of a byte"
            continue
        for name in (p.field, *(name for name, _ in p.when)):
            if fields is None and not (name.isdigit() and int(name) > 0):
                yield f"{at}: field {name!r} must be the number of a field, from 1"
            elif fields is not None and name not in fields:
                yield f"{at}: the frame has no field {name!r} (has {', '.join(fields) or 'none'})"
