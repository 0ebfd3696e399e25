"""The host's care for its DuckDB file: how large it is, and when it is worth writing it anew."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from cloud.stats import Stats
from cloud.store.duck_disk import DiskUse, compact, disk_use, sweep
from cloud.store.duck_file import DuckFile
from wire.errors import StoreDown

log = logging.getLogger(__name__)

LOOK_S = 60.0
COMPACT_EVERY_S = 3600.0  # at most; deleting goes on for a while, and what is empty is used again first


@dataclass(slots=True)
class DuckCare:
    """`run` until cancelled. last: as it was found a minute ago at most, None before."""

    file: DuckFile
    stats: Stats
    last: DiskUse | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        sweep(self.file.path)
        rest_s = 0.0
        while True:
            try:
                self.last = await disk_use(self.file)
                if self.last.worth_it and rest_s <= 0:
                    rest_s = COMPACT_EVERY_S
                    await self.compact()
                self.stats.problems.pop("compacting", None)
            except StoreDown as fault:
                if self.last is not None and self.last.worth_it:  # else the store is not open, which others tell
                    self.stats.problems["compacting"] = f"the database's file is mostly empty: {fault}"
                log.debug("disk use", extra={"error": str(fault)})
            await asyncio.sleep(LOOK_S)
            rest_s -= LOOK_S

    async def compact(self) -> tuple[DiskUse, DiskUse]:
        """Before and after. Raises StoreDown."""
        async with self._one:
            before, self.last = await compact(self.file)
            return before, self.last
