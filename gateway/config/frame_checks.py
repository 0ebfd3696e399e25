"""What the keys of devices with frames, and of electricity meters, mean to each other."""

from __future__ import annotations

import re

from agent.dlt645 import ITEMS, meter_address
from agent.frames import BYTES_OF, fields_of, frame_problems
from agent.spec import FRAMED, REGISTERS_OF
from gateway.config.convert import frame_spec, raw_type
from gateway.config.site import DeviceConfig, FrameConfig, LineConfig, TagConfig
from gateway.config.yaml_lines import Loc, YamlFile, nearest

_REGISTER_KEYS = ("table", "address", "order", "bit", "length")
_FRAME_KEYS = ("frame", "request", "request_hex", "events")
_TEXT_ONLY = ("pattern", "separator", "fields", "columns", "starts")
_BINARY_ONLY = ("start", "end", "length", "length_field", "checksum")
_PLACES = ("field", "at", "item", "when")


def is_modbus(line: LineConfig) -> bool:
    return line.driver.startswith("modbus")


def check_server(file: YamlFile, loc: Loc, line: LineConfig) -> None:
    """A serial device server: host and TCP port instead of a serial port."""
    if type(line.port) is not int or not 1 <= line.port <= 65_535:
        file.problem((*loc, "port"), "must be the TCP port of the device server, 1 to 65535", line.port is not None)
    for key in ("baud", "parity", "stop_bits"):
        if getattr(line, key) is not None:
            file.problem((*loc, key), "is set in the device server when a line has a host")


def check_framed(file: YamlFile, loc: Loc, device: DeviceConfig, line: LineConfig) -> None:
    """A device has the keys of its driver: unit id, or frame and request, or meter."""
    if not is_modbus(line) and file.given((*loc, "unit_id")):
        file.problem((*loc, "unit_id"), f"a {line.driver} device has no unit id")
    if line.driver == "dlt645":
        if meter_address(device.meter or "") is None:
            file.problem(
                (*loc, "meter"), "must be the 12 digits printed on the meter, in quotes", device.meter is not None
            )
    elif device.meter is not None:
        file.problem((*loc, "meter"), f"only a dlt645 device has this; line {line.name} is {line.driver}")
    if line.driver not in FRAMED:
        for key in _FRAME_KEYS:
            if file.given((*loc, key)):
                what = "have frames" if key == "frame" else "have this"
                file.problem((*loc, key), f"only serial-text devices {what}; line {line.name} is {line.driver}")
        return
    if device.request is not None and device.request_hex is not None:
        file.problem((*loc, "request_hex"), "a device is asked with request or with request_hex, not with both")
    if device.events and (device.request is not None or device.request_hex is not None):
        file.problem((*loc, "events"), "a device that is asked answers: it has no events of its own")
    if device.frame is None:
        file.problem((*loc, "frame"), "is missing: say how a text line of the device reads", shown=False)
        return
    _check_frame(file, (*loc, "frame"), device.frame, line)


def _check_frame(file: YamlFile, loc: Loc, frame: FrameConfig, line: LineConfig) -> None:
    wrong = _BINARY_ONLY if line.driver == "serial-text" else _TEXT_ONLY
    found = [key for key in wrong if file.given((*loc, key))]
    for key in found:
        file.problem((*loc, key), f"a frame of a {line.driver} line has none")
    try:
        re.compile(frame.pattern or "")
    except re.error as fault:
        file.problem((*loc, "pattern"), f"not a regular expression: {fault}")
        return
    if not found:
        for problem in frame_problems(frame_spec(frame), line.driver):
            file.problem(loc, problem, shown=False)


def check_place(file: YamlFile, loc: Loc, tag: TagConfig, frame: FrameConfig | None, line: LineConfig) -> None:
    """A tag says where its value stands in the way of its driver."""
    wanted = {"serial-text": ("field", "when"), "serial-binary": ("at", "when"), "dlt645": ("item",)}.get(
        line.driver, ()
    )
    for key in _PLACES:
        if key not in wanted and file.given((*loc, key)):
            has = f"{' and '.join(wanted)}" if wanted else "table and address"
            file.problem((*loc, key), f"a tag of a {line.driver} line has {has}")
    if tag.type in ("bcd16", "bcd32") and not is_modbus(line):
        file.problem((*loc, "type"), "only registers hold BCD numbers")
    if line.driver == "serial-text":
        _check_field(file, loc, tag, frame)
    elif line.driver == "serial-binary":
        _check_bytes(file, loc, tag)
    elif line.driver == "dlt645":
        _check_item(file, loc, tag)
    elif tag.type in BYTES_OF and tag.type not in REGISTERS_OF:
        file.problem((*loc, "type"), "only a binary frame has values of one byte; a register has int16 or uint16")


def _check_field(file: YamlFile, loc: Loc, tag: TagConfig, frame: FrameConfig | None) -> None:
    for key in _REGISTER_KEYS:
        if getattr(tag, key) is not None and not (key == "length" and tag.type == "string"):
            file.problem((*loc, key), "a tag of a text line has a field instead")
    if tag.field is None:
        file.problem((*loc, "field"), "is missing: the group of the frame's pattern with the value", shown=False)
        return
    if frame is None:
        return
    try:
        fields = fields_of(frame_spec(frame))
    except re.error:
        return  # told already, at the pattern
    for key, name in [("field", tag.field), *(("when", str(name)) for name in tag.when)]:
        if fields is None:
            if not name.isdigit() or int(name) < 1:
                file.problem((*loc, key), "must be the number of a field, from 1")
        elif name not in fields:
            what = "pattern has no such group" if frame.pattern else "columns or fields have no such name"
            has = ", ".join(sorted(fields)) or "no named group; write (?P<name>...)"
            file.problem((*loc, key), f"the frame's {what}{nearest(name, fields)}; has {has}")


def _check_bytes(file: YamlFile, loc: Loc, tag: TagConfig) -> None:
    for key in ("table", "address"):
        if getattr(tag, key) is not None:
            file.problem((*loc, key), "a tag of a binary frame has `at` instead: the offset of its first byte")
    if tag.at is None:
        file.problem((*loc, "at"), "is missing: the offset of the value's first byte in the frame, from 0", shown=False)
    if raw_type(tag, "serial-binary") == "bool" and not 0 <= (tag.bit if tag.bit is not None else -1) <= 7:
        file.problem((*loc, "bit"), "is missing: which bit (0 to 7) of the byte", shown=tag.bit is not None)
    elif tag.bit is not None and tag.type != "bool":
        file.problem((*loc, "bit"), "only a bool has a bit")
    for offset, value in tag.when.items():
        if not (str(offset).isdigit() and str(value).isdigit() and int(value) <= 255):
            file.problem((*loc, "when"), "must be offset: value of the byte there, such as {3: 0x41}")


def _check_item(file: YamlFile, loc: Loc, tag: TagConfig) -> None:
    for key in (*_REGISTER_KEYS, "type"):
        if getattr(tag, key) is not None:
            file.problem((*loc, key), "a tag of a dlt645 meter has an item instead")
    if tag.item is None:
        file.problem((*loc, "item"), "is missing: what the meter is asked for, such as energy_import", shown=False)
    elif tag.item not in ITEMS:
        file.problem((*loc, "item"), f"no such item{nearest(tag.item, list(ITEMS))}; see docs/site-yaml.md")
