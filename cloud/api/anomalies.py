"""GET /api/anomalies: when the models said that something is off."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from cloud.api.series import Stamp
from cloud.host_view import HostView


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["anomalies"])

    @api.get("/anomalies")
    async def anomalies(from_ms: Stamp, to_ms: Stamp) -> dict[str, Any]:
        return {"detected": [asdict(a) for a in await host.anomalies(from_ms, to_ms)]}

    return api
