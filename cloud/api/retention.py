"""GET /api/retention and /api/retention/plan: what was removed, what is due. POST /api/retention/run: now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cloud.retention.retention import Retention
from wire.errors import ConfigError

OFF = "this host removes nothing: write `retention: {hot_days: 400}` into its cloud.yaml (docs/retention.md)"
_DAY: dict[str, Any] = {"site": "plant-1", "day": "2026-05-01", "class": "vibration", "rows": 86_400}
_RUN: dict[str, Any] = {
    "number": 1, "done": True, "at": "", "finished": 2, "total": 2, "rows": 86_400, "results": [_DAY],
    "held": [{**_DAY, "day": "2026-05-02", "why": "it is not archived as it is now"}], "problems": [],
}  # fmt: skip
_STATUS: dict[str, Any] = {
    "classes": [{"name": "vibration", "hot_days": 30}, {"name": "default", "hot_days": 400}],
    "archive_first": True, "removed": 86_400, "sites": {"plant-1": 86_400},
    "devices": [
        {"gateway": "plant-1/gw-1", "device": "pump-1", "class": "vibration", "rows": 86_400, "from": "2026-05-01",
         "to": "2026-05-01"}
    ],
    "runs": [_RUN],
}  # fmt: skip


class OfClass(BaseModel):
    """One class of tags on one UTC day of one site."""

    site: str
    day: str
    class_: str = Field(alias="class")
    rows: int = Field(description="samples")


class Held(OfClass):
    why: str = Field(description="why it stays although it is due")


class RetentionRun(BaseModel):
    """One look through everything that is due."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    number: int
    done: bool
    at: str = Field(description="the day that is being worked on")
    finished: int
    total: int
    rows: int = Field(description="samples that were removed")
    results: list[OfClass] = Field(description="what was removed")
    held: list[Held] = Field(description="what stays although it is due")
    problems: list[str]


class KeptFor(BaseModel):
    name: str
    hot_days: int | None = Field(description="null: for ever")


class RemovedOf(BaseModel):
    """What was removed so far of one device and class."""

    gateway: str
    device: str
    class_: str = Field(alias="class")
    rows: int
    from_: str = Field(alias="from", description="the oldest day")
    to: str = Field(description="the newest day")


class RetentionStatus(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_STATUS]})

    classes: list[KeptFor]
    archive_first: bool = Field(description="removed is only what the archive has")
    removed: int = Field(description="samples that were removed so far")
    sites: dict[str, int] = Field(description="of them, by site")
    devices: list[RemovedOf]
    runs: list[RetentionRun] = Field(description="the newest ones")


class DueDay(OfClass):
    hot_days: int | None
    bytes: int | None = Field(description="in the database, about; null: unknown")
    devices: int = Field(description="how many devices have such samples on that day")
    held: str = Field(description="why it would stay; '' when it would go")


class Plan(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"days": [{**_DAY, "hot_days": 30, "bytes": 1_100_000, "devices": 1, "held": ""}], "rows": 86_400}
            ]
        }
    )  # fmt: skip

    days: list[DueDay] = Field(description="oldest first")
    rows: int = Field(description="samples of all of them")


def router(retention: Retention | None) -> APIRouter:
    api = APIRouter(prefix="/retention", tags=["retention"])

    def there() -> Retention:
        if retention is None:
            raise ConfigError(OFF)
        return retention

    @api.get("", summary="What retention has removed so far, and its newest runs")
    async def status() -> RetentionStatus:
        """How long each class of tags stays, what was removed of each device, and what the newest runs did."""
        return RetentionStatus.model_validate(await there().status())

    @api.get("/plan", summary="What retention would remove now")
    async def plan() -> Plan:
        """Days that are older than their class is kept."""
        found, size = await there().plan(), await there().removal.bytes_a_row()
        days = [
            {
                "site": one.day.group,
                "day": one.day.date,
                "class": one.one.name,
                "hot_days": one.one.hot_days,
                "rows": one.rows,
                "bytes": None if size is None else round(size * one.rows),
                "devices": len(one.parts),
                "held": await there().why_held(one),
            }
            for one in found
        ]
        return Plan.model_validate({"days": days, "rows": sum(one.rows for one in found)})

    @api.post("/run", summary="Remove what is due now")
    async def run() -> RetentionRun:
        """The run as it begins; look for its number in GET /api/retention."""
        return RetentionRun.model_validate(there().ask().as_json())

    return api
