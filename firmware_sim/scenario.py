"""A scenario: which devices run on which lines, with which seed and which faults. One YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firmware_sim import yaml_lines
from firmware_sim.devices import TEXT_MODELS, AnySettings
from firmware_sim.devices.device import Name
from firmware_sim.errors import ScenarioError
from firmware_sim.faults import FaultSettings

Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]


class TcpLine(BaseModel):
    """Port 0 takes a free one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    kind: Literal["modbus-tcp"]
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, strict=True)] = 0


class SerialLine(BaseModel):
    """A pseudo-terminal, linked at `port` (default: in a temporary folder)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    port: Path | None = None
    parity: Literal["N", "E", "O"]
    stop_bits: Literal[1, 2] = 1

    @property
    def bits_per_char(self) -> int:
        return 1 + 8 + (self.parity != "N") + self.stop_bits


class RtuLine(SerialLine):
    kind: Literal["modbus-rtu"]
    baud: Baud = 19200
    parity: Literal["N", "E", "O"] = "E"
    turnaround_s: Annotated[float, Field(ge=0, le=5)] = 0.004


class TextLine(SerialLine):
    kind: Literal["serial-text"]
    baud: Baud = 9600
    parity: Literal["N", "E", "O"] = "N"


AnyLine = Annotated[TcpLine | RtuLine | TextLine, Field(discriminator="kind")]


class Scenario(BaseModel):
    """Times in faults are seconds since start."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    about: str = ""
    seed: Annotated[int, Field(ge=0, strict=True)] = 1
    lines: Annotated[tuple[AnyLine, ...], Field(min_length=1)]
    devices: Annotated[tuple[AnySettings, ...], Field(min_length=1)]
    faults: tuple[FaultSettings, ...] = ()

    def device(self, name: str) -> AnySettings:
        """Raises ScenarioError when the scenario has no such device."""
        for device in self.devices:
            if device.id == name:
                return device
        known = ", ".join(each.id for each in self.devices)
        raise ScenarioError(f"no device {name!r} in scenario {self.name!r}; there are: {known}")


def packaged() -> dict[str, Path]:
    """The scenarios that come with the simulator."""
    folder = Path(str(files("firmware_sim") / "scenarios"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(name: str, changes: Sequence[str] = ()) -> Scenario:
    """Reads a file, or a packaged scenario by its name; `changes` are KEY=VALUE. Raises ScenarioError."""
    path = packaged().get(name, Path(name))
    if not path.exists():
        raise ScenarioError(f"no scenario {name!r}: neither a file nor one of: {', '.join(packaged())}")
    document = yaml_lines.load(path)
    if not isinstance(document, dict):
        raise ScenarioError(f"{path}:1: a scenario is a mapping with name, lines and devices")
    for change in changes:
        _change(document, change)
    try:
        scenario = Scenario.model_validate(document)
    except ValidationError as fault:
        # A list whose members are all wrong is called too short as well: that would be a second word for one fault.
        real = [each for each in fault.errors() if each["type"] != "too_short" or not each["input"]]
        raise ScenarioError([_message(path, document, error) for error in real]) from fault
    problems = list(_contradictions(scenario))
    if problems:
        raise ScenarioError([f"{path}:{_where(document, keys)}: {text}" for keys, text in problems])
    return scenario


def _change(document: Any, change: str) -> None:
    """Sets one key, such as lines.plc-tcp.port=5020; list members are called by name, id or position."""
    key, equals, text = change.partition("=")
    if not equals:
        raise ScenarioError(f"--set {change}: write KEY=VALUE, for example lines.plc-tcp.port=5020")
    *way, last = key.split(".")
    here = document
    for step in way:
        if isinstance(here, list):
            named = {str(each.get("name", each.get("id"))): each for each in here if isinstance(each, dict)}
            by_position = {str(at): each for at, each in enumerate(here)}
            here = named.get(step, by_position.get(step))
        else:
            here = here.get(step) if isinstance(here, dict) else None
        if here is None:
            raise ScenarioError(f"--set {change}: the scenario has no {step!r} in {key!r}")
    if not isinstance(here, dict):
        raise ScenarioError(f"--set {change}: {'.'.join(way)} holds no keys")
    here[last] = yaml_lines.parse_value(text)


def _where(document: Any, keys: Sequence[int | str]) -> str:
    line, called = yaml_lines.locate(document, keys)
    return f"{line}: {called}"


def _message(path: Path, document: Any, error: Any) -> str:
    """One problem that pydantic found, as `file:line: key: what to write instead (got what)`."""
    keys, given, text = error["loc"], error["input"], str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = "unknown key"
    elif error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        # The key that chooses among variants, such as a line's kind or a device's model.
        chooser = error["ctx"]["discriminator"].strip("'")
        keys, given = (*keys, chooser), given.get(chooser)
        variants = error["ctx"].get("expected_tags", "").replace("'", "").replace(", ", "|")
        text = f"must be {variants}" if variants else "is missing"
    shown = f" (got {given!r})" if isinstance(given, str | int | float) else ""
    return f"{path}:{_where(document, keys)}: {text}{shown}"


def _contradictions(scenario: Scenario) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What no single key shows: names twice, lines that are not there, devices that do not fit their line."""
    yield from _twice("lines", "name", [line.name for line in scenario.lines])
    yield from _twice("devices", "id", [device.id for device in scenario.devices])
    ports = [f"{line.host}:{line.port}" if isinstance(line, TcpLine) and line.port else None for line in scenario.lines]
    paths = [str(line.port) if isinstance(line, SerialLine) and line.port else None for line in scenario.lines]
    yield from _twice("lines", "port", ports)
    yield from _twice("lines", "port", paths)
    lines = {line.name: line for line in scenario.lines}
    taken: Counter[tuple[str, int]] = Counter()
    for at, device in enumerate(scenario.devices):
        line = lines.get(device.line)
        if line is None:
            yield ("devices", at, "line"), f"no line {device.line!r}; there are: {', '.join(lines)}"
            continue
        if (device.model in TEXT_MODELS) != isinstance(line, TextLine):
            kinds = "a serial-text line" if device.model in TEXT_MODELS else "a Modbus line"
            yield ("devices", at, "line"), f"{device.model} needs {kinds}; {line.name!r} is {line.kind}"
        unit = 0 if isinstance(line, TextLine) else device.unit_id
        taken[device.line, unit] += 1
        if taken[device.line, unit] == 2:
            yield ("devices", at, "unit_id"), f"{device.line!r} has another device at this place"
    yield from _fault_contradictions(scenario, lines)


def _fault_contradictions(
    scenario: Scenario, lines: dict[str, TcpLine | RtuLine | TextLine]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    kinds = {device.id: lines[device.line].kind for device in scenario.devices if device.line in lines}
    for at, fault in enumerate(scenario.faults):
        kind = kinds.get(fault.device)
        if fault.device not in {device.id for device in scenario.devices}:
            yield ("faults", at, "device"), f"no device {fault.device!r}"
        elif (fault.kind, kind) in {("garbled", "modbus-tcp"), ("refused", "serial-text")}:
            yield ("faults", at, "kind"), f"{fault.kind!r} does not exist on a {kind} line"


def _twice(section: str, key: str, values: Sequence[str | None]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    seen: set[str] = set()
    for at, value in enumerate(values):
        if value is not None and value in seen:
            yield (section, at, key), f"{value!r} is used twice"
        seen.update(() if value is None else (value,))
