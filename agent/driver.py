"""The Driver protocol: one open line, and what is asked of it and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.spec import Illegal, Table

Clock = Callable[[], int]
"""UTC epoch milliseconds; may step back."""

WordArray = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Span:
    """One read request: count registers (or bits) of a table from a zero-based address."""

    table: Table
    address: int
    count: int

    @property
    def bits(self) -> bool:
        """True for the tables of single bits."""
        return self.table in ("coil", "discrete")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device answered to a Span. words: shape (span.count,), registers as they came, or bits as 0 and 1.

    ts_ms: when the last byte of the answer was heard.
    """

    ts_ms: int
    words: WordArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame of a device: a text line without its delimiter, or bytes. None: meant as a frame, but none."""

    ts_ms: int
    content: str | bytes | None


class Memory(Protocol):
    """What was learned of devices before this start. place: where the device is asked; another one there is new."""

    def illegal(self, device: str, place: str) -> Sequence[Illegal]: ...

    def learned(self, device: str, place: str, illegal: Sequence[Illegal]) -> None:
        """All that is known now. Never raises, and never blocks for long."""
        ...


class NoMemory:
    """A Memory for one run."""

    def illegal(self, device: str, place: str) -> Sequence[Illegal]:
        return ()

    def learned(self, device: str, place: str, illegal: Sequence[Illegal]) -> None:
        return


class Driver(Protocol):
    """One line. open raises LineDown; read and stream raise LineDown, DeviceSilent, DeviceGarbled, DeviceRefused.

    After LineDown open may be called again. A cancelled call leaves the line usable.
    """

    @property
    def is_open(self) -> bool:
        """False when a request would meet a closed line."""
        ...

    @property
    def late(self) -> int:
        """Answers so far that came too late and were kept away from the values."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, unit_id: int, span: Span) -> Answer:
        """One request, one answer. A driver that only streams raises LineDown."""
        ...

    def stream(self) -> AsyncIterator[Frame]:
        """Frames as they come, until LineDown. Waiting for one may be cancelled; call stream() once per open()."""
        ...
