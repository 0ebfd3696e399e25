"""GET /api/health: the host answers; what is wrong stands in the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter

from cloud.host_view import HostView


def router(host: HostView, turns: Callable[[], Mapping[str, Any]] | None = None) -> APIRouter:
    api = APIRouter(tags=["health"])

    @api.get("/health")
    async def health() -> dict[str, Any]:
        """Of several hosts also role, name, and lease: who is active, until when. A standby answers here too."""
        problems = host.stats().problems
        return {
            "status": "degraded" if problems else "ok",
            "problems": list(problems),
            **(turns() if turns is not None else {}),
        }

    return api
