"""GET /api/energy/today: a meter's energy since midnight, and what it costs so far."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException

from cloud.host_view import HostView


def router(host: HostView) -> APIRouter:
    api = APIRouter(prefix="/energy", tags=["energy"])

    @api.get("/today")
    async def today(asset: str) -> dict[str, Any]:
        try:
            return asdict(await host.energy_today(asset))
        except KeyError as fault:
            raise HTTPException(404, str(fault.args[0])) from fault

    return api
