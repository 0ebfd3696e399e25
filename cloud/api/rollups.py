"""GET /api/rollups: how far the roll-ups are. POST /api/rollups: compute a time anew."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.series import LATEST_MS
from cloud.rollups.roller import Roller
from wire.errors import ConfigError


class Time(BaseModel):
    """Whole UTC days that it touches are computed anew."""

    from_ms: int = Field(0, ge=0, le=LATEST_MS)
    to_ms: int = Field(LATEST_MS, ge=0, le=LATEST_MS)


def router(roller: Roller) -> APIRouter:
    api = APIRouter(prefix="/rollups", tags=["rollups"])

    @api.get("")
    async def status() -> dict[str, Any]:
        """hours_due: hours of devices; days_due: days of sites; oldest_due_s: how far back the oldest of them lies;
        rows: written since the process started; windows_left: not computed, because the store lacks rows of them."""
        return roller.status()

    @api.post("")
    async def rebuild(time: Time) -> dict[str, Any]:
        """days: so many will be computed anew, newest first."""
        if time.to_ms <= time.from_ms:
            raise ConfigError("to must be later than from")
        return {"days": await roller.rebuild(time.from_ms, time.to_ms), **roller.status()}

    return api
