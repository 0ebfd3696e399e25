"""What goes into the outbox and what comes out of it, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gateway.time_news import News
from wire.block import Block
from wire.tag import Datatype

JsonObject = dict[str, Any]

NUMBERS = 1 << 32
"""Batch numbers of one epoch are below this; id = epoch id * NUMBERS + number."""

ROW_OVERHEAD = 150
"""Bytes that a small batch takes on disk besides its body: keys, digest, page slack (measured: 90 to 160)."""


def json_rows(text: object) -> list[JsonObject]:
    """JSON that the outbox keeps: objects, or a list of them. What the disk has changed gives none."""
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        return []
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


class Batch(NamedTuple):
    """One message: metrics encoded, with its Delivery/Batch; device '' for records of the node.

    thinned: made just now in place of an older one: it goes out as backlog, never as live values.
    """

    id: int
    epoch: str
    device: str
    samples: int
    last_ms: int
    digest: str
    body: bytes
    thinned: bool = False

    @property
    def number(self) -> int:
        return self.id % NUMBERS


class AliasRow(NamedTuple):
    """One alias and what it stands for, for ever."""

    alias: int
    device: str
    tag: str
    datatype: Datatype
    unit: str


@dataclass(slots=True)
class Window:
    """What waits for one commit. Mutable until it is taken; refused are samples that found no room."""

    blocks: list[Block] = field(default_factory=list)
    suppressed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    refused_span: dict[str, tuple[int, int]] = field(default_factory=dict)  # device -> first, last ts_ms
    first_poll: dict[str, int] = field(default_factory=dict)  # line -> ts_ms
    last_poll: dict[str, int] = field(default_factory=dict)
    states: dict[str, bool] = field(default_factory=dict)  # device -> alive, as last told
    samples: int = 0
    # What has no time yet: Blocks in ms since the boot, what found no room (device -> samples, first, last), news.
    boot_id: str = ""
    unstamped: list[Block] = field(default_factory=list)
    unstamped_refused: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    clock: list[News] = field(default_factory=list)

    def without_blocks(self) -> Window:
        """The same without its samples, which were refused: what was polled and suppressed still counts."""
        return replace(self, blocks=[], samples=0)

    @property
    def empty(self) -> bool:
        return not (self.blocks or self.suppressed or self.refused or self.last_poll or self.states or self.timeless)

    def refusals(self, epoch: str) -> list[JsonObject]:
        """A record for each device of which something found no room."""
        return [
            {"kind": "refused", "epoch": epoch, "device": device, "from_ms": self.refused_span[device][0],
             "to_ms": self.refused_span[device][1], "samples": count, "why": "disk"}
            for device, count in self.refused.items()
        ]  # fmt: skip

    @property
    def timeless(self) -> bool:
        """True when the outbox must look at its queue of samples without a time."""
        return bool(self.unstamped or self.unstamped_refused or self.clock)


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit: batches in order, and the device states told in the same window."""

    batches: tuple[Batch, ...]
    states: Mapping[str, bool]


class Confirmed(NamedTuple):
    """What a confirmation did: ids that it confirmed for good, ids already confirmed before, ranges not believed."""

    ids: tuple[int, ...]
    known: int
    refused: int


@dataclass(frozen=True, slots=True)
class GapLine:
    line: str
    last_poll_ms: int | None
    first_new_ms: int | None
    reason: str
