"""A database's own retention, which deletes without counting: how much that can be, by the ledger.

Exact is what there must have been (the ledger), what there is (the database), and so what is missing. Whether a missing
row was deleted by the database's retention or lost before, nobody can say once it is older than that; a row that is
missing and younger was not deleted by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cloud.ledger import Held, Ledger
from cloud.retention.port import Removal
from cloud.state.restored import RestoredDays
from cloud.store.influx import InfluxStore
from cloud.store.influx_retention import DAY_MS
from cloud.store.port import DeviceId, TelemetryStore

_ALWAYS = 2**62


class Old(NamedTuple):
    """Rows of one device that are missing and older than the database keeps. They differ by the batches that lie across
    that line."""

    at_least: int
    at_most: int


@dataclass(slots=True)
class Expiry:
    """retention_ms: of the database, as it says itself; None: it keeps everything."""

    store: TelemetryStore
    ledger: Ledger
    restored: RestoredDays
    removal: Removal
    retention_ms: Callable[[], int | None]
    now_ms: Callable[[], int]

    @property
    def keeps_days(self) -> float | None:
        found = self.retention_ms()
        return None if found is None else found / DAY_MS

    async def old(self, devices: Iterable[DeviceId]) -> dict[DeviceId, Old]:
        """Over all times. Raises StoreDown."""
        return {of: await self.of(of, 0, _ALWAYS) for of in devices if self._line_ms() is not None}

    async def of(self, of: DeviceId, first_ms: int, last_ms: int) -> Old:
        """Of one device and a time, both ends included, that no batch reaches out of."""
        line_ms = self._line_ms()
        if line_ms is None or line_ms <= first_ms:
            return Old(0, 0)
        end_ms = min(line_ms, last_ms + 1)
        entries = await self.ledger.window(first_ms, end_ms, of)
        across = await self.ledger.window(end_ms - 1, end_ms, of) if end_ms == line_ms else []
        must = _stored(entries)
        for day, rows in (await self.restored.rows()).items():
            if (day.node, day.device) == of and first_ms <= day.day * DAY_MS < end_ms:
                must += rows
        there = await self.store.rows(*of, first_ms, end_ms - 1)
        for number, rows in (await self.removal.days(of)).items():
            if first_ms <= number * DAY_MS < end_ms:
                there += rows
        return Old(max(0, must - _stored(across) - there), max(0, must - there))

    def _line_ms(self) -> int | None:
        found = self.retention_ms()
        return None if found is None else max(0, self.now_ms() - found)


def _stored(entries: list[Held]) -> int:
    return sum(h.sums.stored for h in entries)


def own_retention_ms(store: TelemetryStore) -> int | None:
    """None: for ever, or nobody knows."""
    return store.server.retention_ms if isinstance(store, InfluxStore) else None
