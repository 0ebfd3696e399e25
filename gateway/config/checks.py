"""What the keys of a site.yaml mean to each other: unknown lines, duplicates, registers that do not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.spec import REGISTERS_OF
from gateway.config.frame_checks import check_framed, check_place, check_server, is_modbus
from gateway.config.site import DeviceConfig, FrameConfig, LineConfig, TagConfig
from gateway.config.write_checks import check_writable
from gateway.config.yaml_lines import Loc, YamlFile

# What the serial drivers of Linux offer as plain termios speeds; anything else needs a custom divisor.
BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
_BY_SOCKET = ("modbus-tcp", "modbus-rtu-tcp")
_SERIAL_KEYS = ("baud", "parity", "stop_bits")
_BIT_TABLES = ("coil", "discrete")
_LAST_ADDRESS = 65_535


def check_line(file: YamlFile, loc: Loc, line: LineConfig) -> None:
    """A line has what its driver needs and nothing that its driver does not know."""
    if line.rts is not None and line.driver != "modbus-rtu":
        file.problem((*loc, "rts"), "only a modbus-rtu line on a port of this machine switches RTS", shown=False)
    if line.driver in _BY_SOCKET:
        if line.host is None:
            whose = "device" if line.driver == "modbus-tcp" else "converter"
            what = f"is missing: {line.driver} needs the {whose}'s host name or address"
            file.problem((*loc, "host"), what, shown=False)
        if line.port is not None and (type(line.port) is not int or not 1 <= line.port <= 65_535):
            file.problem((*loc, "port"), "must be a TCP port, 1 to 65535")
        for key in _SERIAL_KEYS:
            if getattr(line, key) is not None and line.driver == "modbus-tcp":
                file.problem((*loc, key), "only a serial line has this; modbus-tcp has host and port")
        _check_baud(file, loc, line)
        return
    if line.host is not None and not is_modbus(line):
        check_server(file, loc, line)
        return
    if line.host is not None:
        file.problem((*loc, "host"), f"a {line.driver} line has no host; its port is a path such as /dev/ttyUSB0")
    if not isinstance(line.port, str) or not line.port:
        file.problem((*loc, "port"), "must be the path of a serial port, such as /dev/ttyUSB0", line.port is not None)
    _check_baud(file, loc, line)


def _check_baud(file: YamlFile, loc: Loc, line: LineConfig) -> None:
    if line.baud is not None and line.baud not in BAUD_RATES and line.driver != "modbus-tcp":
        possible = ", ".join(str(rate) for rate in BAUD_RATES)
        file.problem((*loc, "baud"), f"impossible baud rate; possible are {possible}")


def check_lines_differ(file: YamlFile, lines: Mapping[int, LineConfig]) -> None:
    """No two lines share a name or a port: a port has one owner."""
    names: dict[str, int] = {}
    ports: dict[tuple[str | None, Any], str] = {}
    for i, line in lines.items():
        if line.name in names:
            file.problem(("lines", i, "name"), "duplicate line")
        names.setdefault(line.name, i)
        place = (line.host, line.port if line.driver not in _BY_SOCKET else line.port or 502)
        if place in ports:
            file.problem(("lines", i), f"line {ports[place]} has the same port already; put both devices on it", False)
        ports.setdefault(place, line.name)


def check_device(file: YamlFile, loc: Loc, device: DeviceConfig, line: LineConfig | None) -> None:
    """A device fits its line; line is None when that line itself is wrong."""
    if line is None:
        return
    check_framed(file, loc, device, line)
    if line.driver in ("modbus-rtu", "modbus-rtu-tcp") and not 1 <= device.unit_id <= 247:
        file.problem((*loc, "unit_id"), "must be 1 to 247 on a serial line (Modbus over serial line V1.02, 2.2)")


def check_devices_differ(file: YamlFile, devices: Mapping[int, DeviceConfig], lines: Mapping[str, LineConfig]) -> None:
    """No two devices share an id, or an address on a line."""
    ids: set[str] = set()
    units: dict[tuple[str, str], str] = {}
    for i, device in devices.items():
        if device.id in ids:
            file.problem(("devices", i, "id"), "duplicate device")
        ids.add(device.id)
        line = lines.get(device.line)
        if line is None:
            continue
        unit = str(device.unit_id) if is_modbus(line) else device.meter or f"device {device.id}"
        other = units.setdefault((device.line, unit), device.id)
        if other != device.id:
            file.problem(("devices", i, "unit_id"), f"unit {unit} of line {line.name} is {other} already", False)


def check_tag(file: YamlFile, loc: Loc, tag: TagConfig, frame: FrameConfig | None, line: LineConfig | None) -> None:
    """A tag can be found in its device; frame and line are None when there is none or it is wrong itself."""
    if tag.scale == 0:
        file.problem((*loc, "scale"), "must not be 0: every value would be the offset")
    if tag.low is not None and tag.high is not None and tag.low >= tag.high:
        file.problem((*loc, "low"), f"must be below high, which is {tag.high:g}")
    if tag.min_silence_s is not None and tag.max_silence_s is not None and tag.min_silence_s > tag.max_silence_s:
        file.problem((*loc, "min_silence_s"), f"must not be above max_silence_s, which is {tag.max_silence_s:g}")
    if tag.expression is None:
        check_writable(file, loc, tag, line)
    if tag.type in ("bool", "string"):
        check_no_range(file, loc, tag, f"a {tag.type}")
        for key in ("scale", "offset", "low", "high"):
            if file.given((*loc, key)):
                file.problem((*loc, key), f"a {tag.type} has none")
    for i, marker in enumerate(tag.invalid):
        if isinstance(marker, bool) or not isinstance(marker, int | float | str):
            file.problem((*loc, "invalid", i), "must be a number or text by which the device says 'no value'")
    if tag.type == "string" and tag.length is None and (line is None or line.driver not in ("serial-text", "dlt645")):
        file.problem((*loc, "length"), "is missing: how many bytes the string has", shown=False)
    if tag.type != "string" and tag.length is not None:
        file.problem((*loc, "length"), "only a string has a length")
    if line is None or tag.expression is not None:
        return
    check_place(file, loc, tag, frame, line)
    if is_modbus(line):
        _check_register(file, loc, tag)


def check_no_range(file: YamlFile, loc: Loc, tag: TagConfig, what: str) -> None:
    """What is no number has no deadband but 0: it is told when it changes."""
    if tag.deadband is not None and tag.deadband > 0:
        file.problem((*loc, "deadband"), f"{what} has none but 0: told when it changes")
    if tag.deadband_percent is not None:
        file.problem((*loc, "deadband_percent"), f"{what} has none; deadband: 0 tells it when it changes")


def _check_register(file: YamlFile, loc: Loc, tag: TagConfig) -> None:
    for key in ("table", "address"):
        if getattr(tag, key) is None:
            file.problem((*loc, key), "is missing", shown=False)
    if tag.table is None:
        return
    kind = tag.type if tag.type is not None else ("bool" if tag.table in _BIT_TABLES else "uint16")
    if tag.table in _BIT_TABLES and kind != "bool":
        file.problem((*loc, "type"), f"a {tag.table} is a single bit: bool is its only type")
    if tag.table not in _BIT_TABLES and kind == "bool" and tag.bit is None:
        file.problem((*loc, "bit"), f"is missing: which bit (0 to 15) of the {tag.table} register", shown=False)
    if tag.bit is not None and (kind != "bool" or tag.table in _BIT_TABLES):
        file.problem((*loc, "bit"), "only a bool in an input or holding register has a bit")
    if tag.order is not None and kind == "bool":
        file.problem((*loc, "order"), f"a {kind} has no byte order")
    for i, marker in enumerate(tag.invalid):
        _check_marker(file, (*loc, "invalid", i), marker, kind)
    if tag.address is None:
        return
    width = -(-(tag.length or 1) // 2) if kind == "string" else REGISTERS_OF.get(kind, 1)
    if not 0 <= tag.address <= _LAST_ADDRESS:
        file.problem((*loc, "address"), "must be 0 to 65535, counted from zero; 40001 in a manual is holding 0")
    elif tag.address + width - 1 > _LAST_ADDRESS:
        file.problem((*loc, "address"), f"a {kind} takes {width} registers and would reach beyond 65535")


def _check_marker(file: YamlFile, loc: Loc, marker: Any, kind: str) -> None:
    """What a register can hold: else it would never be met, or another value would."""
    if kind in ("bool", "string"):
        file.problem(loc, f"a {kind} has no invalid marker")
    elif isinstance(marker, str):
        file.problem(loc, "an invalid marker of a register is a number")
    elif isinstance(marker, int | float) and not isinstance(marker, bool) and not kind.startswith("float"):
        bits = 16 * REGISTERS_OF.get(kind, 1)
        if not float(marker).is_integer() or not -(1 << (bits - 1)) <= marker < 1 << bits:
            usual = f"0x8{'0' * (bits // 4 - 1)}"
            file.problem(loc, f"no {kind} is ever this; a whole number of {bits} bits, such as {usual}")
