"""GET /api/anomalies: when the models said that something is off."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from cloud.api.paging import wrong_order
from cloud.api.series import Stamp
from cloud.host_view import Anomaly, HostView


class Anomalies(BaseModel):
    """to_ms of one: the last such sample so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"detected": [{"asset": "pump", "from_ms": 1_700_000_000_000, "to_ms": 1_700_000_060_000}]}]
        }
    )

    detected: list[Anomaly]


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["anomalies"])

    @api.get("/anomalies", summary="When the models said that something is off")
    async def anomalies(from_ms: Stamp, to_ms: Stamp) -> Anomalies:
        """Per asset with a model, of samples from from_ms (included) to to_ms (not included)."""
        wrong_order(from_ms, to_ms)
        return Anomalies(detected=await host.anomalies(from_ms, to_ms))

    return api
