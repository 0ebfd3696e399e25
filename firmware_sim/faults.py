"""What goes wrong by schedule: silence, late replies, refusals and garbled bytes."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firmware_sim.clock import SimClock
from firmware_sim.devices.device import Window
from firmware_sim.truth import Truth

Positive = Annotated[float, Field(gt=0)]


class FaultSettings(BaseModel):
    """One fault: from `at_s` for `for_s`, and again every `every_s` when that is given.

    silent: no answer. late: the answer comes `delay_s` later. refused: Modbus exception `exception`.
    garbled: a wrong CRC (RTU) or broken characters (text).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    kind: Literal["silent", "late", "refused", "garbled"]
    at_s: Annotated[float, Field(ge=0)]
    for_s: Positive
    every_s: Positive | None = None
    delay_s: Positive = 1.0
    exception: Annotated[int, Field(ge=1, le=11)] = 4  # 4: server device failure

    @model_validator(mode="after")
    def _pauses_between(self) -> Self:
        if self.every_s is not None and self.every_s <= self.for_s:
            raise ValueError(f"every_s ({self.every_s:g}) must be longer than for_s ({self.for_s:g})")
        return self

    def active(self, t_s: float) -> bool:
        since = t_s - self.at_s
        if self.every_s is not None and since >= 0:
            since %= self.every_s
        return 0 <= since < self.for_s

    def windows(self) -> Iterator[Window]:
        for lap in count() if self.every_s is not None else range(1):
            begin = self.at_s + lap * (self.every_s or 0.0)
            yield Window(self.kind, begin, begin + self.for_s)


class FaultPlan:
    """All faults of one device."""

    def __init__(self, faults: Sequence[FaultSettings]) -> None:
        self._faults = faults

    def now(self, t_s: float) -> FaultSettings | None:
        """The fault that holds; of several the first of the scenario."""
        return next((fault for fault in self._faults if fault.active(t_s)), None)


async def keep_diary(windows: Iterable[tuple[str, Iterator[Window]]], clock: SimClock, truth: Truth) -> None:
    """Writes each window's begin when it begins and its end when it ends; ends open ones when cancelled."""
    merged = heapq.merge(*(_named(device, each) for device, each in windows), key=lambda item: item[1])
    async with asyncio.TaskGroup() as tasks:
        for device, begins_s, window in merged:
            await asyncio.sleep(begins_s - clock.t_s())
            tasks.create_task(_one(device, window, clock, truth), name=f"fault[{device}:{window.name}]")


def _named(device: str, windows: Iterator[Window]) -> Iterator[tuple[str, float, Window]]:
    return ((device, window.from_s, window) for window in windows)


async def _one(device: str, window: Window, clock: SimClock, truth: Truth) -> None:
    begin_ms, end_ms = clock.wall_ms(window.from_s), clock.now_ms()
    truth.fault(device, window.name, begin_ms, None)
    try:
        await asyncio.sleep(window.to_s - clock.t_s())
        end_ms = clock.wall_ms(window.to_s)
    except asyncio.CancelledError:
        end_ms = max(begin_ms, clock.now_ms())
        raise
    finally:
        truth.fault(device, window.name, begin_ms, end_ms)
