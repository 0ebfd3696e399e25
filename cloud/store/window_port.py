"""The port to the windows of a store: computed from its rows, or kept as roll-ups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cloud.store.port import DeviceId
from cloud.store.windows import IntArray, Windows
from wire.block import FloatArray
from wire.ids import NodeId

if TYPE_CHECKING:
    from cloud.store.whole_rows import TagId

Range = tuple[int, int]
"""UTC epoch ms from (included) to (not included)."""


class Rolled(Protocol):
    """Which roll-ups can be relied on."""

    def pending(self, of: DeviceId, step_ms: int, from_ms: int, to_ms: int) -> list[Range]:
        """Times whose roll-ups of this step are missing or not right any more: in order, without overlap, cut off at
        the ends that are given (multiples of the step)."""
        ...

    def raw_since_ms(self, node: NodeId, device: str, tag: str) -> int:
        """Windows that begin before it lack rows in the store: their roll-ups are all that there is."""
        ...

    def kept_since_ms(self, level: str) -> int:
        """Roll-ups of windows that begin before it are forgotten."""
        ...


class NothingRolled:
    """Of a store that nobody rolls up."""

    def pending(self, of: DeviceId, step_ms: int, from_ms: int, to_ms: int) -> list[Range]:
        return [(from_ms, to_ms)]

    def raw_since_ms(self, node: NodeId, device: str, tag: str) -> int:
        return 0

    def kept_since_ms(self, level: str) -> int:
        return 0


class Rows(NamedTuple):
    """Rows of one tag, oldest first. v: NaN where there is no number. q: Quality codes."""

    t: IntArray
    v: FloatArray
    q: IntArray


class WindowStore(Protocol):
    """All raise StoreDown. Times are from (included) to (not included), and bound the rows that are looked at."""

    async def devices(self, group: str) -> list[DeviceId]:
        """All that have rows."""
        ...

    def computed(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, step_ms: int) -> AsyncIterator[Windows]:
        """All tags' windows from the rows themselves, by pieces of bounded size; each window is whole in its piece when
        the step is one of LEVELS and the times are multiples of an hour, or lie within one."""
        ...

    def rolled(self, of: Sequence[DeviceId], from_ms: int, to_ms: int, level: str) -> AsyncIterator[Windows]:
        """The same from roll-ups; an hour's windows of a tag stand in one piece."""
        ...

    async def put(self, level: str, found: Windows, token: int) -> None:
        """Windows take the place of those with the same tag and start, durable when it returns. token: of the lease;
        what was put with a lower one is never seen again, whenever it comes. Raises ConfigError for a token above
        HIGHEST_TOKEN."""
        ...

    async def forget(self, level: str, before_ms: int) -> None:
        """Roll-ups of windows that begin before it."""
        ...

    async def rows_of(self, tag: TagId, from_ms: int, to_ms: int, most: int) -> Rows:
        """At most `most` rows, the oldest."""
        ...

    async def computed_of(self, tag: TagId, from_ms: int, to_ms: int, step_ms: int) -> Windows:
        """In order."""
        ...

    async def rolled_of(self, tag: TagId, from_ms: int, to_ms: int, level: str) -> Windows:
        """In order."""
        ...
