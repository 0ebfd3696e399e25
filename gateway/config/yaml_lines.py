"""YAML with line numbers: every problem becomes `file:line: key: message (got ...)`, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from wire.errors import ConfigError

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)
_NOTHING = object()

# pydantic's error types whose own words would name Python things; ctx values fill the gaps.
_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entry",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
}


class YamlFile:
    """A parsed YAML file that knows on which line each key stands, and collects what is wrong with it."""

    def __init__(self, path: Path, text: str, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data
        self._text = text
        self._problems: list[tuple[int, str]] = []

    @staticmethod
    def read(path: Path) -> YamlFile:
        """Raises ConfigError when the file cannot be read or is no YAML mapping."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as fault:
            raise ConfigError(f"{path}: no such file; give the path of a site.yaml") from fault
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"{path}: cannot be read: {fault}") from fault
        try:
            # Line numbers are asked for only where something is wrong: without them 10,000 tags load in a quarter of
            # the time, and the gateway keeps 60 MB less.
            found: Any = YAML(typ="safe").load(text)
        except YAMLError:
            found = _with_lines(path, text)
        if not isinstance(found, dict):
            raise ConfigError(f"{path}:1: must be a mapping of keys such as group, gateway, broker, lines, devices")
        return YamlFile(path, text, _plain(found))

    @cached_property
    def _root(self) -> CommentedMap:
        return _with_lines(self.path, self._text)

    def line(self, loc: Loc) -> int:
        """The line (from 1) on which the key stands; of its nearest parent when the key is missing."""
        node: Any = self._root
        line: int = node.lc.line
        for step in loc:
            in_map = isinstance(node, CommentedMap) and step in node
            in_list = isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node)
            if not in_map and not in_list:
                break
            line = node.lc.data[step][0]
            node = node[step]
        return line + 1

    def value(self, loc: Loc) -> Any:
        """What stands there; the marker for nothing when the key is missing."""
        node: Any = self.data
        for step in loc:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                return _NOTHING
        return node

    def given(self, loc: Loc) -> bool:
        """True when the key stands in the file."""
        return self.value(loc) is not _NOTHING

    def problem(self, loc: Loc, message: str, shown: bool = True) -> None:
        """Adds a problem of the key at loc; shown: also say what stands there, when it is short enough to help."""
        key = ".".join(str(step) for step in loc)
        got = self.value(loc)
        tail = f" (got {got!r})" if shown and isinstance(got, str | int | float | bool | None) else ""
        line = self.line(loc)
        self._problems.append((line, f"{self.path}:{line}: {key}: {message}{tail}"))

    def validated(self, model: type[M], loc: Loc, given: Any) -> M | None:
        """The model of what stands at loc; None, and problems, when it does not fit."""
        try:
            return model.model_validate(given)
        except ValidationError as fault:
            for error in fault.errors(include_url=False):
                self._add(model, loc, error)
            return None

    def _add(self, model: type[BaseModel], loc: Loc, error: Any) -> None:
        where: Loc = (*loc, *error["loc"])
        kind: str = error["type"]
        context = error.get("ctx", {})
        if kind == "extra_forbidden":
            self.problem(where, unknown_key(str(where[-1]), list(model.model_fields)), shown=False)
        elif kind == "literal_error":
            expected = str(context["expected"]).replace(" or ", ", ").replace("'", "").replace(", ", "|")
            self.problem(where, f"must be {expected}")
        elif kind in _WORDS:
            self.problem(where, _WORDS[kind].format(**context))
        else:
            self.problem(where, str(error["msg"]).removeprefix("Value error, "))

    def raise_problems(self) -> None:
        """Raises ConfigError with every problem, in the order of the lines."""
        if self._problems:
            raise ConfigError([text for _, text in sorted(self._problems, key=lambda p: p[0])])


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What to say of a key that nobody knows."""
    return f"unknown key{nearest(key, known) or '; possible are ' + ', '.join(known)}"


def _with_lines(path: Path, text: str) -> CommentedMap:
    """The same with the lines of its keys. Raises ConfigError when it is no YAML mapping."""
    try:
        root = YAML(typ="rt").load(text)
    except MarkedYAMLError as fault:
        mark = fault.problem_mark
        line = mark.line + 1 if mark is not None else 1
        reason = str(fault.problem).split("\n")[0]
        raise ConfigError(f"{path}:{line}: not valid YAML: {reason}") from fault
    except YAMLError as fault:
        raise ConfigError(f"{path}:1: not valid YAML: {str(fault).splitlines()[0]}") from fault
    if not isinstance(root, CommentedMap):
        raise ConfigError(f"{path}:1: must be a mapping of keys such as group, gateway, broker, lines, devices")
    return root


def _plain(node: Any) -> Any:
    """Plain dict, list, str, int, float, bool, None; keys are text."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean ...?` for a word close to a known one; '' else."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
