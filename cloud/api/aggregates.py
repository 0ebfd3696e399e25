"""GET /api/aggregates: one tag by windows of time, exactly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from cloud.api.series import Stamp
from cloud.host_view import HostView
from wire.ids import NodeId

LONGEST_STEP_S = 366 * 86_400


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["series"])

    @api.get("/aggregates")
    async def aggregates(
        group: str,
        node: str,
        tag: str,
        from_ms: Stamp,
        to_ms: Stamp,
        device: str = "",
        step_s: Annotated[int, Query(ge=1, le=LONGEST_STEP_S, description="length of a window")] = 3600,
    ) -> dict[str, Any]:
        """Windows begin at multiples of the step since 1970 (UTC); those without rows are left out. count: rows;
        num: those with a number, which mean, min, max and last (the newest) are of; good: those of quality GOOD. The
        first and the last window hold only what lies between the two times; where rows are removed they are whole."""
        step_ms = step_s * 1000
        found = await host.store.aggregates(NodeId(group, node), device, tag, from_ms, to_ms, step_ms)
        return {"step_ms": step_ms, "windows": [asdict(one) for one in found]}

    return api
