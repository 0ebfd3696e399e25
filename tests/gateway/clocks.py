"""A machine whose clocks the test sets: the true time runs, the wall clock is what it is set to."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.outbox.file import OutboxFile
from wire.block import Quality, Reason
from wire.delivery import BATCH, RECORD
from wire.payload import decode

NOON_MS = 1_800_000_000_000
"""A true time well after every build of this program."""


@dataclass
class World:
    """The second adapter of gateway.clock.Clocks. true_ms: what the time really is."""

    true_ms: int = NOON_MS
    error_ms: int = 0  # of the wall clock
    ntp: bool = False
    chip: bool = True
    booted_ms: int = NOON_MS - 20_000
    boots: int = 1
    reads: int = field(default=0)

    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def boot_ms(self) -> int:
        return self.true_ms - self.booted_ms

    def wall_ms(self) -> int:
        return max(0, self.true_ms + self.error_ms)  # Linux lets nobody set it before 1970

    def synchronised(self) -> bool:
        return self.ntp

    def keeps_time(self) -> bool:
        return self.chip

    def set_wall(self, wall_ms: int) -> None:
        self.error_ms = wall_ms - self.true_ms

    def reboot(self, off_ms: int, wall_ms: int | None = None) -> None:
        """wall_ms: what the wall clock says afterwards; None: what is true."""
        self.true_ms += off_ms
        self.booted_ms, self.boots, self.ntp = self.true_ms, self.boots + 1, False
        self.true_ms += 5_000
        self.set_wall(self.true_ms if wall_ms is None else wall_ms + 5_000)


@dataclass(frozen=True)
class Found:
    """One committed sample."""

    device: str
    name: str
    ts_ms: int
    value: object
    quality: Quality
    reason: Reason


def committed(file: OutboxFile) -> list[Found]:
    """Every sample that waits for the host, in the order of the batches; records are left out."""
    names = {
        alias: (device, name, datatype)
        for alias, device, name, datatype in file.db.execute("SELECT alias, device, tag, datatype FROM alias")
    }
    found: list[Found] = []
    for batch in file.unconfirmed(0, 2**62, 10**6, 10**12):
        for m in decode(batch.body, {alias: datatype for alias, (_, _, datatype) in names.items()}).metrics:
            assert m.alias is not None and m.ts_ms is not None
            device, name, _ = names[m.alias]
            if name not in (BATCH, RECORD):
                found.append(Found(device, name, m.ts_ms, m.value, m.quality, m.reason))
    return found
