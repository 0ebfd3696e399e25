"""The whole edge flow on one screen: poll > decode > score > report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.driver import Clock
from agent.score import Scorers
from agent.spec import LineSpec
from agent.status import LineStatus
from wire.block import Block


@dataclass(frozen=True, slots=True)
class Taken:
    """What one poll (or one frame) gave. suppressed: device -> samples held back by report by exception."""

    line: str
    polled_ms: int
    blocks: tuple[Block, ...]
    suppressed: Mapping[str, int]


class Sink(Protocol):
    """Where Taken go. append never blocks long; it is also called when everything was suppressed."""

    async def append(self, taken: Taken) -> None: ...

    async def device_state(self, device: str, alive: bool) -> None:
        """A device was lost, or came back. Not called while nothing changes: a device counts as alive at start."""
        ...


async def run_line(
    line: LineSpec,
    sink: Sink,
    clock: Clock,
    high_water: Mapping[tuple[str, str], int],
    scorers: Scorers,
    status: LineStatus,
) -> None:
    """Runs until cancelled. high_water: (device, tag name) -> the newest stamp told before this start.

    Raises ConfigError when the line cannot be planned; an error of the sink passes through.
    """
    raise NotImplementedError


def read_cycles(lines: Sequence[LineSpec], cycles: int, clock: Clock) -> AsyncIterator[tuple[LineSpec, Block]]:
    """Every device's Blocks of so many polls, unfiltered and unscored; ends by itself. For `gateway read`."""
    raise NotImplementedError
