"""GET /api/stats: how the host is doing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from cloud.host_view import HostView


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["stats"])

    @api.get("/stats")
    async def stats() -> dict[str, Any]:
        """latency_ms: from a live sample's stamp to the commit, over the time that the process runs."""
        return asdict(host.stats())

    return api
