"""GET /api/health: the host answers; what is wrong stands in the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cloud.host_view import HostView


class Holder(BaseModel):
    """Who is active among several hosts."""

    holder: str
    token: int
    since_ms: int
    expires_s: float


class Health(BaseModel):
    """Of several hosts also role, name, lease. A standby says `standby`, here and as its status."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "problems": []}]})

    status: str = Field(description="ok, degraded (see problems), standby, leaving")
    problems: list[str]
    role: str | None = None
    name: str | None = None
    lease: Holder | None = None


def router(host: HostView, turns: Callable[[], Mapping[str, Any]] | None = None) -> APIRouter:
    api = APIRouter(tags=["health"])

    @api.get("/health", summary="Is the host well?", response_model_exclude_unset=True)
    async def health() -> Health:
        """Of several hosts also role, name, and lease: who is active, until when. A standby answers here too."""
        problems = host.stats().problems
        found: dict[str, Any] = {
            "status": "degraded" if problems else "ok",
            "problems": list(problems),
            **(turns() if turns is not None else {}),
        }
        return Health.model_validate(found)

    return api
