"""GET /api/health: the host answers; what is wrong stands in the answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cloud.host_view import HostView


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["health"])

    @api.get("/health")
    async def health() -> dict[str, Any]:
        problems = host.stats().problems
        return {"status": "degraded" if problems else "ok", "problems": list(problems)}

    return api
