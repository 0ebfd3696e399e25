"""A scenario: which devices run on which lines, with which seed and which faults. One YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firmware_sim import yaml_lines
from firmware_sim.contradictions import contradictions
from firmware_sim.devices import AnySettings
from firmware_sim.devices.device import Name
from firmware_sim.errors import ScenarioError
from firmware_sim.faults import FaultSettings
from firmware_sim.lines import AnyLine


class Scenario(BaseModel):
    """`speed`: simulated seconds that pass in one real one. Times in faults are simulated seconds since start."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    about: str = ""
    seed: Annotated[int, Field(ge=0, strict=True)] = 1
    speed: Annotated[float, Field(gt=0, le=100_000)] = 1.0
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
        scenario = Scenario.model_validate(document, context={"folder": path.parent})
    except ValidationError as fault:
        # A list whose members are all wrong is called too short as well: that would be a second word for one fault.
        real = [each for each in fault.errors() if each["type"] != "too_short" or not each["input"]]
        raise ScenarioError(list(dict.fromkeys(_message(path, document, error) for error in _kinds(real)))) from fault
    problems = list(contradictions(scenario.lines, scenario.devices, scenario.faults))
    if problems:
        raise ScenarioError([f"{path}:{_where(document, keys)}: {text}" for keys, text in problems])
    return scenario


def _kinds(errors: Sequence[Any]) -> Iterator[Any]:
    """A kind of fault that does not exist fits none of the groups of kinds: one error with all of them, not four."""
    groups = [error for error in errors if str(error["loc"][-1]).startswith("literal[")]
    known = dict.fromkeys(re.findall("'([^']+)'", " ".join(error["ctx"]["expected"] for error in groups)))
    for error in errors:
        yield error if error not in groups else {**error, "loc": error["loc"][:-1], "msg": f"must be {'|'.join(known)}"}


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
