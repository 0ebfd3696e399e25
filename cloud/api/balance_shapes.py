"""What the routes of the balance answer: `Balance`, `WindowAudit` and the desk's nodes as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_COUNTS: dict[str, Any] = {
    "produced": 1000, "suppressed": 0, "refused": 0, "stored": 990, "dead_letters": 1, "dropped": 0, "in_flight": 9,
    "collided": 0, "expired": 0, "lost": 0,
}  # fmt: skip
_WINDOW: dict[str, Any] = {
    "batches": 10, "samples": 1000, "stored": 999, "dead_letters": 1, "collided": 0, "restored": 0, "rows": 900,
    "removed": 99, "expired": 0, "lost": 0, "first_ms": 1_700_000_000_000, "last_ms": 1_700_000_099_000,
}  # fmt: skip


class Counted(BaseModel):
    """Samples; lost = produced - stored - dead_letters - dropped - in_flight - collided - expired, and must be 0."""

    produced: int
    suppressed: int
    refused: int
    stored: int = Field(description="rows in the database, and those that retention removed")
    dead_letters: int
    dropped: int
    in_flight: int
    collided: int
    expired: int = Field(description="deleted by the database's own retention, as far as that can be")
    lost: int
    duplicates: int = Field(description="batches that came again and were not stored again")
    removed: int = Field(description="of the stored ones those that retention removed")


class GatewayCounted(Counted):
    gaps: int = Field(description="gap records, one per start of a gateway that had run before")


class BalanceFound(GatewayCounted):
    """strangers: rows of edge nodes that count nothing. Keys: group/gateway/device, group/gateway."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ok": True, **_COUNTS, "duplicates": 0, "gaps": 0, "strangers": 0, "removed": 90,
                 "expired_at_least": 0, "database_keeps_days": 730.0,
                 "devices": {"plant-1/gw-1/pump-1": {**_COUNTS, "duplicates": 0, "removed": 90}},
                 "gateways": {"plant-1/gw-1": {**_COUNTS, "duplicates": 0, "gaps": 0, "removed": 90}}}
            ]
        }
    )  # fmt: skip

    ok: bool
    strangers: int
    expired_at_least: int = Field(
        description="of the expired ones those of batches that are wholly older than the database keeps"
    )
    database_keeps_days: float | None = Field(description="by its own retention; null: for ever")
    devices: dict[str, Counted]
    gateways: dict[str, GatewayCounted]


class InWindow(BaseModel):
    """samples = stored + dead_letters + collided; lost = stored + restored - rows - removed - expired, and must
    be 0."""

    batches: int
    samples: int
    stored: int
    dead_letters: int
    collided: int
    restored: int
    rows: int
    removed: int = Field(description="by retention")
    expired: int = Field(description="deleted by the database's own retention, as far as that can be")
    lost: int
    first_ms: int
    last_ms: int


class GatewayInWindow(InWindow):
    missing: int = Field(description="batches that are neither stored nor accounted for, and must be 0")


class WindowFound(GatewayInWindow):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ok": True, "from_ms": 1_700_000_000_000, "to_ms": 1_700_003_600_000, **_WINDOW, "missing": 0,
                 "gateways": {"plant-1/gw-1": {**_WINDOW, "missing": 0}}, "devices": {"plant-1/gw-1/pump-1": _WINDOW}}
            ]
        }
    )  # fmt: skip

    ok: bool
    from_ms: int
    to_ms: int
    gateways: dict[str, GatewayInWindow]
    devices: dict[str, InWindow]


class RefillAsked(BaseModel):
    """Names of gateways: those that were asked, and those that are not there to be asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"asked": ["plant-1/gw-1"], "away": []}]})

    asked: list[str]
    away: list[str]


class NodeSeen(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"node": "plant-1/gw-1", "state": "alive", "since_ms": 1_690_000_000_000, "heard_ms": 1_700_000_000_000,
                 "heard_s": 0.4, "born_ms": 1_690_000_000_000, "bd_seq": 3, "protocol": "gaugeline/1",
                 "duplicate_id": False, "left_out": {}}
            ]
        }
    )  # fmt: skip

    node: str = Field(description="group/node")
    state: str = Field(description="alive or stale")
    since_ms: int
    heard_ms: int
    heard_s: float = Field(description="seconds since it was heard last")
    born_ms: int
    bd_seq: int | None
    protocol: str
    duplicate_id: bool = Field(description="two gateways use its id")
    left_out: dict[str, int] = Field(description="metrics of datatypes that are not stored, and how often they came")
