"""YAML with the line of every key, for messages that say where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from firmware_sim.errors import ScenarioError


def load(path: Path) -> Any:
    """The document, with ruamel's line numbers on every mapping and list. Raises ScenarioError."""
    try:
        return YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot read it: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ScenarioError(f"{path}: is not UTF-8 text") from fault
    except MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark is not None else 1
        raise ScenarioError(f"{path}:{line}: not YAML: {fault.problem}") from fault


def parse_value(text: str) -> Any:
    """A value given on the command line, read as YAML reads it. Raises ScenarioError."""
    try:
        return YAML(typ="safe").load(text)
    except MarkedYAMLError as fault:
        raise ScenarioError(f"--set: {text!r} is not a value: {fault.problem}") from fault


def locate(document: Any, keys: Sequence[int | str]) -> tuple[int, str]:
    """Line (from 1) and readable path of a key; list members are called by their `name` or `id`.

    Keys that the document does not hold (a missing one, or the name of a variant) keep the line above them.
    """
    line, words, here = 1, [], document
    for at, key in enumerate(keys):
        found = (isinstance(here, dict) and key in here) or (
            isinstance(here, list) and isinstance(key, int) and key < len(here)
        )
        if found:
            line = _line_of(here, key, line)
            here = here[key]
            words.append(_called(here, key))
        elif at == len(keys) - 1:
            words.append(str(key))
    return line, ".".join(words)


def _line_of(holder: Any, key: int | str, otherwise: int) -> int:
    """A value set from the command line has no line of its own."""
    positions = getattr(holder, "lc", None)
    position = positions.data.get(key) if positions is not None and positions.data is not None else None
    return otherwise if position is None else int(position[0]) + 1


def _called(member: Any, key: int | str) -> str:
    if isinstance(key, int) and isinstance(member, dict):
        return str(member.get("name") or member.get("id") or key)
    return str(key)
