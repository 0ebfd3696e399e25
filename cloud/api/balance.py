"""GET /api/balance: what became of every sample."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cloud.host_view import HostView


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["balance"])

    @api.get("/balance")
    async def balance() -> dict[str, Any]:
        """ok is true when nothing is lost: produced = stored + dead_letters + dropped + in_flight + collided."""
        return (await host.audit()).as_json()

    return api
