"""What no single key of a scenario shows: names twice, lines that are not there, faults that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from firmware_sim.devices import SERIAL_MODELS, AnySettings
from firmware_sim.faults import LINK_KINDS, VALUE_KINDS, WRITE_KINDS, FaultSettings
from firmware_sim.lines import AnyLine, BinaryLine, FramedLine, NetworkLine, SerialLine

Problem = tuple[tuple[int | str, ...], str]
_MODBUS = frozenset(("modbus-tcp", "rtu-over-tcp", "modbus-rtu"))
_RTU = frozenset(("rtu-over-tcp", "modbus-rtu"))
_NETWORK = frozenset(("modbus-tcp", "rtu-over-tcp"))
_EVERY = _MODBUS | {"serial-text", "serial-binary"}
# Where a kind of fault can be; those that are not named can be everywhere.
_WHERE: dict[str, frozenset[str]] = {
    "garbled": _EVERY - {"modbus-tcp"},
    "refused": _MODBUS | {"serial-binary"},
    "wrong_unit": _MODBUS | {"serial-binary"},
    "overtaking": _RTU,
    **dict.fromkeys(LINK_KINDS, _NETWORK),
    **dict.fromkeys(WRITE_KINDS, _MODBUS),
}


def contradictions(
    lines: Sequence[AnyLine], devices: Sequence[AnySettings], faults: Sequence[FaultSettings]
) -> Iterator[Problem]:
    """(keys, sentence) of each."""
    yield from _twice("lines", "name", [line.name for line in lines])
    yield from _twice("devices", "id", [device.id for device in devices])
    ports = [f"{line.host}:{line.port}" if isinstance(line, NetworkLine) and line.port else None for line in lines]
    paths = [str(line.port) if isinstance(line, SerialLine) and line.port else None for line in lines]
    yield from _twice("lines", "port", ports)
    yield from _twice("lines", "port", paths)
    by_name = {line.name: line for line in lines}
    yield from _places(by_name, devices)
    yield from _impossible(by_name, devices, faults)


def _places(lines: dict[str, AnyLine], devices: Sequence[AnySettings]) -> Iterator[Problem]:
    taken: Counter[tuple[str, object]] = Counter()
    models: dict[str, str] = {}
    for at, device in enumerate(devices):
        line = lines.get(device.line)
        if line is None:
            yield ("devices", at, "line"), f"no line {device.line!r}; there are: {', '.join(lines)}"
            continue
        wanted = SERIAL_MODELS.get(device.model)
        if (wanted or "modbus") != (line.kind if isinstance(line, FramedLine) else "modbus"):
            kind = f"a {wanted} line" if wanted else "a Modbus line"
            yield ("devices", at, "line"), f"{device.model} needs {kind}; {line.name!r} is {line.kind}"
            continue
        if models.setdefault(line.name, device.model) != device.model and wanted:
            yield ("devices", at, "line"), f"{line.name!r} speaks the language of {models[line.name]}"
        taken[device.line, _place(line, device)] += 1
        if taken[device.line, _place(line, device)] == 2:
            key = "address" if hasattr(device, "address") else "unit_id"
            yield ("devices", at, key), f"{device.line!r} has another device at this place"


def _place(line: AnyLine, device: AnySettings) -> object:
    """What must differ between devices of one line; a text line has room for one."""
    if isinstance(line, BinaryLine):
        return getattr(device, "address", device.unit_id)
    return 0 if isinstance(line, FramedLine) else device.unit_id


def _impossible(
    lines: dict[str, AnyLine], devices: Sequence[AnySettings], faults: Sequence[FaultSettings]
) -> Iterator[Problem]:
    known = {device.id: device for device in devices}
    for at, fault in enumerate(faults):
        device = known.get(fault.device)
        if device is None:
            yield ("faults", at, "device"), f"no device {fault.device!r}"
            continue
        line = lines.get(device.line)
        if line is not None and line.kind not in _WHERE.get(fault.kind, _EVERY):
            yield ("faults", at, "kind"), f"{fault.kind!r} does not exist on a {line.kind} line"
        if fault.signals and fault.kind not in VALUE_KINDS:
            yield ("faults", at, "signals"), f"{fault.kind!r} is no fault of values"


def _twice(section: str, key: str, values: Sequence[str | None]) -> Iterator[Problem]:
    seen: set[str] = set()
    for at, value in enumerate(values):
        if value is not None and value in seen:
            yield (section, at, key), f"{value!r} is used twice"
        seen.update(() if value is None else (value,))
