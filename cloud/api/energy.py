"""GET /api/energy/today: a meter's energy since midnight, and what it costs so far."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from cloud.api.paging import Name
from cloud.costs.energy import EnergyToday
from cloud.host_view import HostView

EXAMPLE = {
    "kwh": 12.5, "cost": 3.1, "currency": "EUR", "tariff": "example", "band_now": "day", "price_now": 0.31,
    "by_band": [{"band": "night", "kwh": 10.0, "price": 0.2, "cost": 2.0}], "resets": 0,
    "since_ms": 1_699_999_200_000, "until_ms": 1_700_000_000_000, "day_from_ms": 1_699_999_200_000,
    "time_zone": "Europe/Berlin", "next_band": "night", "next_price": 0.2,
    "next_from_ms": 1_700_002_800_000,
}  # fmt: skip


def router(host: HostView) -> APIRouter:
    api = APIRouter(prefix="/energy", tags=["energy"])

    @api.get(
        "/today",
        summary="A meter's energy since midnight, and what it costs so far",
        responses={200: {"content": {"application/json": {"example": EXAMPLE}}}},
    )
    async def today(asset: Name) -> EnergyToday:
        """cost: null when the tariff does not hold for all of it. day_from_ms: midnight of the tariff's time zone."""
        try:
            return await host.energy_today(asset)
        except KeyError as fault:
            raise HTTPException(404, str(fault.args[0])) from fault

    return api
