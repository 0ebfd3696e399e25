"""A device that is nothing but a table of signals: any device, from YAML alone, with ten tags or ten thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from firmware_sim.devices.device import DeviceSettings, Window
from firmware_sim.devices.sources import AnySource, Constant, Counter, CsvColumn, course
from firmware_sim.register_map import collisions
from firmware_sim.replay import Replay, ReplaySettings
from firmware_sim.signals import Order, RawType, Signal, Table, Value


class SignalRow(BaseModel):
    """One row of the table, or `count` rows: `name` gets a number then, and addresses rise by `stride`
    (default: the signal's own width). `source` may be a plain value. `words_long`: registers of a string.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    table: Table = "holding"
    address: Annotated[int, Field(ge=0, le=65535, strict=True)]
    type: RawType = "uint16"
    order: Order = "ABCD"
    scale: Annotated[float, Field(gt=0)] = 1.0
    offset: float = 0.0
    bit: Annotated[int, Field(ge=0, le=15)] = 0
    words_long: Annotated[int, Field(ge=1, le=125)] = 8
    unit: str = "1"
    writable: bool = False
    count: Annotated[int, Field(ge=1, le=65536)] = 1
    stride: Annotated[int, Field(ge=1)] | None = None
    source: AnySource = Constant(kind="constant")

    @field_validator("source", mode="before")
    @classmethod
    def _plain_value(cls, given: object) -> object:
        return {"kind": "constant", "value": given} if isinstance(given, bool | int | float | str) else given

    @model_validator(mode="after")
    def _fits_its_table(self) -> Self:
        if self.table in ("coil", "discrete") and self.type != "bool":
            raise ValueError(f"a {self.table} is a bool, not {self.type}")
        if self.writable and self.table not in ("coil", "holding"):
            raise ValueError(f"only coils and holding registers can be written, not {self.table}")
        text = self.source.value if isinstance(self.source, Constant) else None
        if self.type == "string" and not isinstance(text, str):
            raise ValueError("a string needs a constant source that is a text")
        if isinstance(text, str) and self.type != "string":
            raise ValueError(f"the constant {text!r} does not fit the type {self.type}")
        return self

    def signals(self) -> Iterator[Signal]:
        first = Signal(
            self.name,
            self.unit,
            "table",
            self.table,
            self.address,
            self.type,
            self.scale,
            self.order,
            self.offset,
            self.bit,
            self.words_long,
            counter=isinstance(self.source, Counter),
            writable=self.writable,
        )
        if self.count == 1:
            yield first
            return
        digits, stride = len(str(self.count)), self.stride or first.width
        for at in range(self.count):
            yield replace(first, name=f"{self.name}{at + 1:0{digits}d}", address=self.address + at * stride)


class RegistersSettings(DeviceSettings):
    """`step_s`: simulated seconds for which values hold."""

    model: Literal["registers"]
    step_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    replay: ReplaySettings | None = None
    signals: Annotated[tuple[SignalRow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_place_once(self) -> Self:
        told = collisions([signal for row in self.signals for signal in row.signals()])
        if told:
            more = f" (and {len(told) - 3} more)" if len(told) > 3 else ""
            raise ValueError("; ".join(told[:3]) + more)
        if self.replay is None:
            wanting = [row.name for row in self.signals if isinstance(row.source, CsvColumn)]
            if wanting:
                raise ValueError(f"{', '.join(wanting)}: a csv source needs the device's replay")
        return self


class Registers:
    """Values are computed when they are read, and only those that are."""

    steps = None

    def __init__(self, settings: RegistersSettings, seed: int) -> None:
        self.step_s = settings.step_s
        self._replay = Replay(settings.replay) if settings.replay is not None else None
        signals: list[Signal] = []
        self._courses: dict[str, Callable[[float], Value]] = {}
        for row in settings.signals:
            for signal in row.signals():
                signals.append(signal)
                names = (settings.id, signal.name)
                self._courses[signal.name] = course(row.source, names, seed, self._replay)
        self.signals = tuple(signals)
        self.end_s = self._replay.end_s if self._replay is not None else None

    def at(self, step: int) -> Mapping[str, Value]:
        return _Computed(self._courses, step * self.step_s)

    def recorded(self) -> Iterator[Window]:
        if self.end_s is not None:
            yield Window("recording ended", self.end_s, float("inf"))


class _Computed(Mapping[str, Value]):
    def __init__(self, courses: Mapping[str, Callable[[float], Value]], t_s: float) -> None:
        self._courses, self._t_s = courses, t_s

    def __getitem__(self, name: str) -> Value:
        return self._courses[name](self._t_s)

    def __iter__(self) -> Iterator[str]:
        return iter(self._courses)

    def __len__(self) -> int:
        return len(self._courses)
