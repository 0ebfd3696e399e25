"""Where a value of the `registers` device comes from. Every source gives its value at any second for the same cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from firmware_sim.errors import ScenarioError
from firmware_sim.noise import Scatter
from firmware_sim.replay import Replay
from firmware_sim.signals import Value

Positive = Annotated[float, Field(gt=0)]


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Source):
    kind: Literal["constant"]
    value: Value = 0


class Ramp(_Source):
    """From `low` to `high` within `period_s`, then again from `low`."""

    kind: Literal["ramp"]
    low: float = 0.0
    high: float = 100.0
    period_s: Positive = 60.0


class Sine(_Source):
    kind: Literal["sine"]
    mean: float = 0.0
    amplitude: float = 1.0
    period_s: Positive = 60.0


class RandomWalk(_Source):
    """A smooth random course within `mean` plus or minus `amplitude`, which turns about once per `period_s`."""

    kind: Literal["random_walk"]
    mean: float = 0.0
    amplitude: float = 1.0
    period_s: Positive = 60.0


class Counter(_Source):
    """`start`, and `rate_per_s` more every second; an even number stays whole. Starts again after `wraps_at`."""

    kind: Literal["counter"]
    start: float = 0.0
    rate_per_s: float = 1.0
    wraps_at: Positive | None = None


class CsvColumn(_Source):
    """A column of the device's `replay` file."""

    kind: Literal["csv"]
    column: str


AnySource = Annotated[
    Constant | Ramp | Sine | RandomWalk | Counter | CsvColumn, Field(discriminator="kind")
]  # fmt: skip


def course(source: AnySource, names: tuple[str, ...], seed: int, replay: Replay | None) -> Callable[[float], Value]:
    """The value at a simulated second. `names` keep random courses of several signals apart."""
    match source:
        case Constant():
            fixed = source.value
            return lambda _: fixed
        case Ramp():
            low, rise, period = source.low, source.high - source.low, source.period_s
            return lambda t_s: low + rise * (t_s % period / period)
        case Sine():
            mean, amplitude, turn = source.mean, source.amplitude, 2.0 * math.pi / source.period_s
            return lambda t_s: mean + amplitude * math.sin(turn * t_s)
        case RandomWalk():
            scatter = Scatter(seed, *names)
            return lambda t_s: source.mean + source.amplitude * scatter.wander(t_s / source.period_s)
        case Counter():
            start, rate, wraps = source.start, source.rate_per_s, source.wraps_at
            whole = start.is_integer() and rate.is_integer()

            def counted(t_s: float) -> Value:
                value = start + rate * t_s
                value = value if wraps is None else value % wraps
                return int(value) if whole else value

            return counted
        case CsvColumn():
            if replay is None:
                raise ScenarioError(f"{names[0]}: {names[-1]} wants a CSV column, and the device has no replay")
            column = replay.column(source.column)
            return lambda t_s: column[replay.row(t_s)]
