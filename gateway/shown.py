"""What the host's screen may not show yet: newest values that went out only as historical, or were perhaps not heard.

Historical values do not change what a screen shows. A tag that has nothing newer is said again as live, without key: a
confirming gateway's unkeyed data changes the screen, never the store. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.births import BirthBook
from gateway.outbox.rows import Batch
from wire.block import Sample
from wire.errors import PayloadError
from wire.payload import decode
from wire.tag import Tag


class Shown:
    """Per device: up to which stamp it was sent as historical, and what its last birth already said."""

    def __init__(self, book: BirthBook) -> None:
        self._book = book
        self._owed_ms: dict[str, int] = {}
        self._born: dict[str, Mapping[str, int]] = {}
        self._kept: dict[str, dict[str, Sample]] = {}

    def __bool__(self) -> bool:
        return bool(self._owed_ms)

    def born(self, device: str) -> None:
        """A birth with the newest values was said: nothing older has to be said again."""
        self._owed_ms.pop(device, None)
        self._kept.pop(device, None)
        self._born[device] = {name: s.ts_ms for name, s in self._book.newest(device).items()}

    def gone(self, device: str) -> None:
        """The device is dead, or born only to drain: its values are not shown."""
        for of_device in (self._owed_ms, self._born, self._kept):
            of_device.pop(device, None)

    def historical(self, batch: Batch) -> None:
        """A batch went out as historical. Only what was read before this process began is looked up in it."""
        device = batch.device
        if not device or device not in self._born:
            return
        self._owed_ms[device] = max(batch.last_ms, self._owed_ms.get(device, 0))
        if unread := self._book.unread(device):
            self._keep(batch, unread)

    def _keep(self, batch: Batch, unread: Mapping[int, Tag]) -> None:
        kept = self._kept.setdefault(batch.device, {})
        try:
            metrics = decode(batch.body, {alias: tag.datatype for alias, tag in unread.items()}).metrics
        except PayloadError:
            return  # changed by the disk: the host refuses it too
        for m in metrics:
            tag = unread.get(m.alias) if m.alias is not None else None
            if tag is None or m.ts_ms is None:
                continue
            before = kept.get(tag.name)
            if before is None or before.ts_ms <= m.ts_ms:
                kept[tag.name] = Sample(tag.name, tag.datatype, m.ts_ms, m.quality, m.value, m.reason)

    @property
    def owed(self) -> tuple[str, ...]:
        """Devices of which something may have to be said again."""
        return tuple(self._owed_ms)

    def again(self, only: str = "") -> dict[str, list[Sample]]:
        """device -> samples to say as live now; they are owed no more. only: this device alone."""
        found: dict[str, list[Sample]] = {}
        for device in [only] if only else self.owed:
            owed_ms = self._owed_ms.pop(device, None)
            if owed_ms is None:
                continue  # a birth has said it meanwhile
            born = self._born.get(device, {})
            newest = {**self._kept.get(device, {}), **self._book.newest(device)}
            samples = [s for s in newest.values() if s.ts_ms <= owed_ms and born.get(s.name) != s.ts_ms]
            if samples:
                found[device] = samples
        return found
