"""What can go wrong, as the scenario says it: by schedule or at random."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

AnswerKind = Literal[
    "silent", "late", "overtaking", "refused", "garbled", "split", "merged", "wrong_unit", "restart"
]  # fmt: skip
ValueKind = Literal["stuck", "drift", "spike", "noise", "step"]
LinkKind = Literal["dropped", "half_open", "one_connection"]
WriteKind = Literal["write_ignored", "write_clamped"]
ANSWER_KINDS, VALUE_KINDS = frozenset(get_args(AnswerKind)), frozenset(get_args(ValueKind))
LINK_KINDS, WRITE_KINDS = frozenset(get_args(LinkKind)), frozenset(get_args(WriteKind))

Positive = Annotated[float, Field(gt=0)]


class FaultSettings(BaseModel):
    """One fault: from `at_s` for `for_s`, and again every `every_s` when that is given; or at random,
    `rate_per_h` times in an hour on average, and never begins after `until_s`. These are simulated seconds; `delay_s`
    and `gap_s` are real ones.

    Answers, each with probability `chance`:
    silent: none. late: `delay_s` later, or anything between that and `delay_max_s`; the answers of one unit of a bus
    keep their order. overtaking: late, but later answers may come first. refused: Modbus exception `exception`.
    garbled: a wrong CRC or checksum (text: broken characters). split: in two pieces, `gap_s` apart. merged: held back
    and sent together with the next one. wrong_unit: under the unit id after the right one. restart: silent, and the
    connections of the line are dropped; counters start at 0 afterwards and what was written is forgotten.

    Values of `signals` (all numbers, unless named; stuck: all signals):
    stuck: as at the begin. step: `size` is added. drift: `size` per simulated hour is added. noise: `size` is the
    standard deviation. spike: `size` is added in single steps, each with probability `chance`.

    Connections of the whole line of the device: dropped: closed at the begin and at each request. half_open: accepted
    and never answered. one_connection: a second one is refused (reset).

    Writes: write_ignored: confirmed and not done. write_clamped: held between `low` and `high`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    kind: AnswerKind | ValueKind | LinkKind | WriteKind
    at_s: Annotated[float, Field(ge=0)] | None = None
    for_s: Positive
    every_s: Positive | None = None
    rate_per_h: Positive | None = None
    until_s: Positive | None = None
    chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    delay_s: Positive = 1.0
    delay_max_s: Positive | None = None
    gap_s: Positive = 0.05
    exception: Annotated[int, Field(ge=1, le=11)] = 4  # 4: server device failure
    size: float | None = None
    signals: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.at_s is None) == (self.rate_per_h is None):
            raise ValueError("give either at_s (by schedule) or rate_per_h (at random)")
        if self.rate_per_h is not None and self.every_s is not None:
            raise ValueError("every_s goes with at_s, not with rate_per_h")
        if self.until_s is not None and self.rate_per_h is None:
            raise ValueError("until_s goes with rate_per_h, not with at_s")
        if self.every_s is not None and self.every_s <= self.for_s:
            raise ValueError(f"every_s ({self.every_s:g}) must be longer than for_s ({self.for_s:g})")
        if self.delay_max_s is not None and self.delay_max_s < self.delay_s:
            raise ValueError(f"delay_max_s ({self.delay_max_s:g}) must be at least delay_s ({self.delay_s:g})")
        if self.kind in VALUE_KINDS - {"stuck"} and self.size is None:
            raise ValueError(f"{self.kind} needs size")
        if self.kind == "write_clamped" and self.low is None and self.high is None:
            raise ValueError("write_clamped needs low, high or both")
        return self
