"""The training file (M.yaml): what a model is to be, checked, with all faults at once and their lines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.detectors import DETECTORS, SINGLE_SERIES, check_inputs, checked, parameters
from wire.errors import ConfigError
from wire.ids import check_id, check_tag_name

# Temperatures: hours of sun are no fault of the machine.
THERMAL_UNITS = frozenset({"Cel", "K", "[degF]"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InputSetting(_Frozen):
    """A column of the data, and later a tag of the asset. unit: UCUM, '' for a pure number."""

    name: str
    unit: str = ""

    @field_validator("name")
    @classmethod
    def _legal(cls, name: str) -> str:
        return _legal_name(check_tag_name, name)


class AlarmSetting(_Frozen):
    """See alarm_logic.AlarmRule."""

    raise_rows: int = Field(default=5, ge=1)
    hold_rows: int = Field(default=10, ge=0)
    release_rows: int = Field(default=10, ge=1)
    clear_ratio: float = Field(default=0.9, gt=0, le=1)
    peak_ratio: float = Field(default=0.0, ge=0, lt=1)
    settle_rows: int = Field(default=0, ge=0)
    settle_ratio: float = Field(default=0.0, ge=0, le=1)

    def rule(self) -> AlarmRule:
        return AlarmRule(**self.model_dump())


class BaselineSetting(_Frozen):
    """See baseline.BaselineRule. slow: None for the inputs with a unit of temperature, where slow_follow_rows is
    given."""

    follow_rows: float = Field(ge=1, allow_inf_nan=False)
    slow: tuple[str, ...] | None = Field(default=None, strict=False)
    slow_follow_rows: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    settle_follow_rows: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    spread_rows: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    spread_most: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    reach: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    drift_notice: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    own_rows: int = Field(default=0, ge=0)
    own_reach: float = Field(default=20.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _sensible(self) -> BaselineSetting:
        self.rule(())  # its own checks, in its own words
        return self

    def rule(self, inputs: Sequence[InputSetting]) -> BaselineRule:
        """Raises ValueError."""
        slow = self.slow
        if slow is None:
            thermal = [each.name for each in inputs if each.unit in THERMAL_UNITS]
            slow = tuple(thermal) if self.slow_follow_rows else ()
        return BaselineRule(**{**self.model_dump(), "slow": slow})


class Settings(_Frozen):
    """One training file.

    period_s: of the rows as the gateway will see them; the data must have the same. only_where: a column of the data
    that is 1 in rows to learn from ('' takes all), so that a standstill is not learnt as normal. detector_settings: the
    detector's own. seed: of what a detector draws at random. time_zone: in which a detector that judges by the hour
    sees the data; '' as it is written. hold_s: how long a value of the store, or of a table with one value a row,
    stands for itself until the next one comes (None: one and a half periods); tags with a deadband need more.
    """

    name: str
    version: str = "1"
    detector: str = "robust_distance"
    detector_settings: dict[str, Any] = {}
    source: str = Field(min_length=1)
    time_column: str = "t_s"
    only_where: str = ""
    inputs: tuple[InputSetting, ...] = Field(min_length=1, max_length=200, strict=False)
    period_s: float = Field(gt=0, allow_inf_nan=False)
    false_alarm_every_rows: int = Field(ge=100)
    seed: int = Field(default=0, ge=0)
    time_zone: str = ""
    hold_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    warm_up_rows: int = Field(default=20, ge=0)
    alarm: AlarmSetting = AlarmSetting()
    baseline: BaselineSetting | None = None

    @property
    def rule(self) -> AlarmRule:
        """When an alarm is raised. A single series' detector tells an anomaly once, in one row: that row raises it,
        unless the file says otherwise, which is refused."""
        if self.detector in SINGLE_SERIES and "raise_rows" not in self.alarm.model_fields_set:
            return replace(self.alarm.rule(), raise_rows=1)
        return self.alarm.rule()

    @property
    def baseline_rule(self) -> BaselineRule | None:
        return None if self.baseline is None else self.baseline.rule(self.inputs)

    @field_validator("name")
    @classmethod
    def _legal(cls, name: str) -> str:
        return _legal_name(lambda said: check_id(said, "model"), name)

    @field_validator("detector")
    @classmethod
    def _known_detector(cls, name: str) -> str:
        if name not in DETECTORS:
            raise ValueError(f"must be one of {', '.join(DETECTORS)}")
        return name

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as fault:
            raise ValueError("must be a time zone such as Europe/Berlin") from fault
        return name

    @field_validator("inputs")
    @classmethod
    def _no_twins(cls, inputs: tuple[InputSetting, ...]) -> tuple[InputSetting, ...]:
        names = [each.name for each in inputs]
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins:
            raise ValueError(f"named twice: {', '.join(twins)}")
        return inputs


def _legal_name(check: Any, name: str) -> str:
    try:
        return str(check(name))
    except ConfigError as fault:
        raise ValueError(str(fault)) from fault


def read_settings(path: Path) -> Settings:
    """Raises ConfigError with one `file:line: key: message` per fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    try:
        tree = YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {fault.problem}") from fault
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: expected `key: value` lines, beginning with `name: my_model`")
    try:
        settings = Settings.model_validate(_plain(tree))
    except ValidationError as faults:
        raise ConfigError(
            [
                f"{path}:{_line(tree, fault['loc'])}: {'.'.join(map(str, fault['loc']))}: {_words(fault)}"
                for fault in faults.errors()
            ]
        ) from faults
    _check_detector(settings, path, tree)
    _check_together(settings, path, tree)
    return settings


def _check_together(settings: Settings, path: Path, tree: Any) -> None:
    """Raises ConfigError where two sections do not go together."""
    problems: list[tuple[tuple[str, ...], str]] = []
    try:
        check_inputs(settings.detector, len(settings.inputs))
    except ValueError as fault:
        problems.append((("inputs",), str(fault)))
    if settings.detector in SINGLE_SERIES and settings.rule.raise_rows > 1:
        words = f"must be 1: {settings.detector} tells an anomaly once, in one row (got {settings.rule.raise_rows})"
        problems.append((("alarm", "raise_rows"), words))
    baseline = settings.baseline
    if baseline is not None:
        names = [each.name for each in settings.inputs]
        unknown = sorted(set(baseline.slow or ()) - set(names))
        if unknown:
            words = f"names no input: {', '.join(unknown)}; there are: {', '.join(names)}"
            problems.append((("baseline", "slow"), words))
        if settings.detector in SINGLE_SERIES:
            problems.append((("baseline",), f"{settings.detector} follows its series by itself: leave this out"))
    if problems:
        raise ConfigError([f"{path}:{_line(tree, where)}: {'.'.join(where)}: {words}" for where, words in problems])


def _check_detector(settings: Settings, path: Path, tree: Any) -> None:
    """Raises ConfigError for settings that the detector does not know."""
    try:
        checked(settings.detector, settings.detector_settings)
    except ValidationError as faults:
        problems = []
        for fault in faults.errors():
            where = ("detector_settings", *fault["loc"])
            known = f"; {settings.detector} knows {', '.join(parameters(settings.detector)) or 'none'}"
            words = _words(fault) + (known if fault["type"] == "extra_forbidden" else "")
            problems.append(f"{path}:{_line(tree, where)}: {'.'.join(map(str, where))}: {words}")
        raise ConfigError(problems) from faults


def _words(fault: Any) -> str:
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    return f"{fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r})"


def _line(node: Any, where: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `where` that stands in the file, counted from 1."""
    line = int(node.lc.line) + 1
    for key in where:
        if not hasattr(node, "lc") or (key not in node if isinstance(node, dict) else int(key) >= len(node)):
            break
        line = int(node.lc.data[key][0]) + 1
        node = node[key]
    return line


def _plain(node: Any) -> Any:
    """ruamel's containers and numbers as Python's own."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
