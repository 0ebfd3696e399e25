"""What every simulated device has: signals, a step, and values that depend on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from firmware_sim.signals import Signal, Value

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class DeviceSettings(BaseModel):
    """What the scenario says of every device. Unit id 0 is broadcast and 248-255 are reserved on a serial line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    line: str
    unit_id: Annotated[int, Field(ge=1, le=247, strict=True)] = 1


class Window(NamedTuple):
    """A stretch of simulated time in which something is wrong with a device."""

    name: str
    from_s: float
    to_s: float


class Device(Protocol):
    """Seeded and free of clocks: the same seed and step always give the same values."""

    @property
    def signals(self) -> tuple[Signal, ...]: ...

    @property
    def step_s(self) -> float:
        """Simulated seconds for which the values of one step hold."""
        ...

    @property
    def steps(self) -> int | None:
        """Steps until a recording starts again; None when nothing repeats."""
        ...

    def at(self, step: int) -> Mapping[str, Value]:
        """Exact values of all signals in this step, before any register rounds them."""
        ...

    def recorded(self) -> Iterator[Window]:
        """Labelled windows of the recording in the order of simulated time, without end where it loops."""
        ...


class Said(NamedTuple):
    """A frame and the values that its bytes say."""

    frame: bytes
    values: Mapping[str, Value]


@runtime_checkable
class StreamingDevice(Device, Protocol):
    """A device that sends frames by itself."""

    def frames(self, step: int, values: Mapping[str, Value]) -> list[Said]:
        """What it sends at the begin of this step: none, one or several frames."""
        ...


@runtime_checkable
class PolledDevice(Device, Protocol):
    """A device that answers requests over a serial line, with frames of its own."""

    def take(self, heard: bytearray) -> bytes | None:
        """Cuts the next whole request out of what was heard, or None; drops what can begin none."""
        ...

    def answer(self, request: bytes, values: Mapping[str, Value]) -> Said | None:
        """The answer to a request, or None when it is not for this device or broken."""
        ...

    def refusal(self, request: bytes) -> bytes:
        """The frame that says no to this request."""
        ...

    def misaddressed(self, frame: bytes) -> bytes:
        """The same answer as if another device had given it."""
        ...


def looped(windows: list[tuple[int, int]], start: int, rows: int, step_s: float, name: str) -> Iterator[Window]:
    """Windows given in rows of a recording, as its replay from `start` to `rows` meets them again and again."""
    ahead = [(max(first, start) - start, after - start) for first, after in windows if after > start]
    lap = 0
    while ahead:
        for first, after in ahead:
            yield Window(name, (lap + first) * step_s, (lap + after) * step_s)
        lap += rows - start


__all__ = ["Device", "DeviceSettings", "Name", "PolledDevice", "Said", "StreamingDevice", "Value", "Window", "looped"]
