"""GET /api/series: one tag between two times, for charts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from cloud.host_view import HostView
from wire.ids import NodeId

LATEST_MS = 4_102_444_800_000  # 2100-01-01: later stamps are never stored

Stamp = Annotated[int, Query(ge=0, le=LATEST_MS, description="UTC epoch ms")]


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["series"])

    @api.get("/series")
    async def series(
        group: str,
        node: str,
        tag: str,
        from_ms: Stamp,
        to_ms: Stamp,
        device: str = "",
        points: Annotated[int, Query(ge=2, le=20_000)] = 1_000,
    ) -> dict[str, Any]:
        """t: stamps; v: values, null where there is none; q: quality codes; source: 'raw' or which roll-up."""
        return asdict(await host.store.series(NodeId(group, node), device, tag, from_ms, to_ms, points))

    return api
