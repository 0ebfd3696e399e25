"""The balance: what became of every sample that a gateway produced. Types and arithmetic; no I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from wire.ids import NodeId

DUPLICATES = "duplicates"
"""The figure of a gateway; `duplicates/<device>` is that of one of its devices."""


@dataclass(slots=True)
class Counts:
    """Samples of one device, one gateway or all. Each figure is counted where it happened; none is a remainder.

    stored: rows in the database and those that retention removed. expired: rows that the database deleted by its own
    retention, as far as that can be; the ledger says how many there must have been.
    lost is the check: produced - stored - dead_letters - dropped - in_flight - collided - expired, and must be 0.
    """

    produced: int = 0
    suppressed: int = 0
    refused: int = 0
    stored: int = 0
    dead_letters: int = 0
    dropped: int = 0
    in_flight: int = 0
    collided: int = 0
    expired: int = 0

    @property
    def lost(self) -> int:
        accounted = self.stored + self.dead_letters + self.dropped + self.in_flight + self.collided + self.expired
        return self.produced - accounted

    def add(self, other: Counts) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    def as_json(self) -> dict[str, int]:
        return {**asdict(self), "lost": self.lost}


@dataclass(slots=True)
class Balance:
    """The audit's result.

    devices: (edge node, device) -> counts. duplicates: batches that came again and were not stored again; repeated:
    those of each device (the rest were records of the gateway itself).
    gaps: gap records, one per start of a gateway that had run before. strangers: rows of nodes that send no counters.
    removed: of the stored ones those that retention took out. expired_surely: of the expired ones those that a batch
    brought of which all is older than the database keeps; the others lie in batches across that line.
    """

    devices: dict[tuple[NodeId, str], Counts] = field(default_factory=dict)
    duplicates: dict[NodeId, int] = field(default_factory=dict)
    repeated: dict[tuple[NodeId, str], int] = field(default_factory=dict)
    gaps: dict[NodeId, int] = field(default_factory=dict)
    strangers: int = 0
    removed: dict[tuple[NodeId, str], int] = field(default_factory=dict)
    expired_surely: dict[tuple[NodeId, str], int] = field(default_factory=dict)
    database_keeps_days: float | None = None

    def only(self, node: NodeId) -> Balance:
        """The share of one gateway."""
        return Balance(
            devices={place: counts for place, counts in self.devices.items() if place[0] == node},
            duplicates={n: count for n, count in self.duplicates.items() if n == node},
            repeated={place: count for place, count in self.repeated.items() if place[0] == node},
            gaps={n: count for n, count in self.gaps.items() if n == node},
            removed={place: count for place, count in self.removed.items() if place[0] == node},
            expired_surely={place: count for place, count in self.expired_surely.items() if place[0] == node},
            database_keeps_days=self.database_keeps_days,
        )

    @property
    def total(self) -> Counts:
        total = Counts()
        for counts in self.devices.values():
            total.add(counts)
        return total

    @property
    def gateways(self) -> dict[NodeId, Counts]:
        found: dict[NodeId, Counts] = {}
        for (node, _), counts in self.devices.items():
            found.setdefault(node, Counts()).add(counts)
        return found

    @property
    def ok(self) -> bool:
        """True when no device's balance is off, in either direction."""
        return all(counts.lost == 0 for counts in self.devices.values())

    def as_json(self) -> dict[str, object]:
        gateways: dict[str, dict[str, object]] = {}
        for node, counts in sorted(self.gateways.items()):
            gateways[str(node)] = {
                **counts.as_json(),
                "duplicates": self.duplicates.get(node, 0),
                "gaps": self.gaps.get(node, 0),
                "removed": sum(n for (of, _), n in self.removed.items() if of == node),
            }
        return {
            "ok": self.ok,
            **self.total.as_json(),
            "duplicates": sum(self.duplicates.values()),
            "gaps": sum(self.gaps.values()),
            "strangers": self.strangers,
            "removed": sum(self.removed.values()),
            "expired_at_least": sum(self.expired_surely.values()),
            "database_keeps_days": self.database_keeps_days,
            "devices": {
                f"{node}/{device}": {
                    **counts.as_json(),
                    "duplicates": self.repeated.get((node, device), 0),
                    "removed": self.removed.get((node, device), 0),
                }
                for (node, device), counts in sorted(self.devices.items())
            },
            "gateways": gateways,
        }
