"""The port to a database of samples, and what travels through it.

A sample is (group, edge node, device, tag, ts_ms). Every row holds a quality; a BAD one has no value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from wire.block import Sample
from wire.ids import NodeId

if TYPE_CHECKING:
    from cloud.store.whole_rows import DayId, Of
    from cloud.store.window_port import WindowStore


class DeviceId(NamedTuple):
    """One device of one edge node; device '' is the edge node itself."""

    node: NodeId
    device: str


class BatchKey(NamedTuple):
    """What makes a batch the same batch. epoch '' belongs to nodes that send no keys."""

    node: NodeId
    epoch: str
    number: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One message's samples, in time order: what is written as a whole.

    samples: what goes into the database, a tuple or Columns. first_ms and last_ms cover the whole message. dead and
    collided: samples of the message that do not go there, counted in the ledger; restored: those that the archive put
    there. number, digest: as the gateway said; a third-party node's batch has epoch ''.
    """

    node: NodeId
    device: str
    samples: Sequence[Sample]
    epoch: str = ""
    number: int = 0
    digest: str = ""
    historical: bool = False
    dead: int = 0
    collided: int = 0
    restored: int = 0
    first_ms: int = 0
    last_ms: int = 0

    @property
    def key(self) -> BatchKey:
        return BatchKey(self.node, self.epoch, self.number)


class Refused(NamedTuple):
    """A sample that the database will never take, and why."""

    batch: Batch
    sample: Sample
    why: str


class LastValue(NamedTuple):
    node: NodeId
    device: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class Series:
    """One tag between two times, oldest first.

    t: UTC epoch ms. v: the value as a number (booleans 0 and 1), None where BAD or a text. q: Quality codes.
    source: 'raw', or which roll-up ('1m', '15m', '1h') the points come from. When there are more rows than points
    wanted, each slice of time keeps its lowest and its highest value: a spike is never smoothed away.
    """

    t: list[int] = field(default_factory=list)
    v: list[float | None] = field(default_factory=list)
    q: list[int] = field(default_factory=list)
    source: str = "raw"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What the rows of one window come to. mean, min, max, last: None where no row has a number (num is 0)."""

    start_ms: int
    count: int
    num: int
    good: int
    mean: float | None
    min: float | None
    max: float | None
    last: float | None


class StoredTag(NamedTuple):
    """A tag that has rows. datatype: Sparkplug code of the newest one."""

    node: NodeId
    device: str
    tag: str
    datatype: int
    first_ms: int
    last_ms: int


class TelemetryStore(Protocol):
    """A database of samples. Raises StoreDown when it cannot be reached, or refuses for reasons that pass."""

    @property
    def about(self) -> str:
        """Product and version, for people."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Around write and ledger entries: where the database has transactions, both are committed at its end."""
        ...

    async def write(self, batches: Sequence[Batch]) -> list[Refused]:
        """Stores all samples but those that it returns."""
        ...

    async def known(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> set[tuple[str, int]]:
        """(tag, ts_ms) of the device's stored samples between two times, both included."""
        ...

    async def count(self) -> Mapping[DeviceId, int]:
        """Rows per device, counted in the database."""
        ...

    async def rows(self, node: NodeId, device: str, from_ms: int, to_ms: int) -> int:
        """Rows of one device between two times, both included, counted in the database."""
        ...

    async def last_values(self) -> list[LastValue]:
        """The newest stored sample of every tag."""
        ...

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int = 1000) -> Series:
        """The tag's samples from from_ms (included) to to_ms (not included), about `points` of them at most."""
        ...

    async def aggregates(
        self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, step_ms: int
    ) -> list[Aggregate]:
        """The rows from from_ms (included) to to_ms (not included) by windows that begin at multiples of step_ms since
        1970 (UTC), those without rows left out, oldest first. Raises ConfigError when they would be too many."""
        ...

    async def tags(self) -> list[StoredTag]:
        """Every tag that has rows, in order."""
        ...

    @property
    def windows(self) -> WindowStore:
        """What roll-ups are made with."""
        ...

    def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        """Whole rows from from_ms (included) to to_ms (not included) as Arrow record batches of whole_rows.ROWS.

        Sorted by edge node, device, tag and time, in bounded memory.
        """
        ...

    async def days(self) -> Mapping[DayId, int]:
        """Rows of every group and UTC day, counted in the database."""
        ...
