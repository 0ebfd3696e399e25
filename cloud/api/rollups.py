"""GET /api/rollups: how far the roll-ups are. POST /api/rollups: compute a time anew."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.series import LATEST_MS
from cloud.rollups.roller import Roller

_STATUS: dict[str, Any] = {
    "hours_due": 12, "days_due": 0, "oldest_due_s": 95, "rows": 1_200_000, "windows_left": 0, "problem": "",
}  # fmt: skip


class Time(BaseModel):
    """Whole UTC days that it touches are computed anew."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"from_ms": 1_700_000_000_000, "to_ms": LATEST_MS}]})

    from_ms: int = Field(0, ge=0, le=LATEST_MS)
    to_ms: int = Field(LATEST_MS, ge=0, le=LATEST_MS)


class RollupStatus(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_STATUS]})

    hours_due: int = Field(description="hours of devices that are to be computed")
    days_due: int = Field(description="days of sites that are to be computed")
    oldest_due_s: int = Field(description="how far back the oldest of them lies")
    rows: int = Field(description="windows that were written since the process started")
    windows_left: int = Field(description="not computed, because the store lacks rows of them")
    problem: str = Field(description="why none are made at the moment; '' when they are")


class Rebuilt(RollupStatus):
    model_config = ConfigDict(json_schema_extra={"examples": [{"days": 7, **_STATUS, "days_due": 7}]})

    days: int = Field(description="days of sites that are going to be computed anew, newest first")


def router(roller: Roller) -> APIRouter:
    api = APIRouter(prefix="/rollups", tags=["rollups"])

    @api.get("", summary="How far the roll-ups are that long charts are drawn from")
    async def status() -> RollupStatus:
        """What is due is computed in the background, newest first."""
        return RollupStatus.model_validate(roller.status())

    @api.post("", summary="Compute the roll-ups of a time anew")
    async def rebuild(time: Time) -> Rebuilt:
        """The host goes on by itself; GET /api/rollups says how far it is."""
        if time.to_ms <= time.from_ms:
            why = f"to_ms {time.to_ms} must be later than from_ms {time.from_ms}"
            raise RequestValidationError([{"loc": ("body", "to_ms"), "msg": why, "type": "value_error"}])
        days = await roller.rebuild(time.from_ms, time.to_ms)
        return Rebuilt(days=days, **roller.status())

    return api
