"""GET /api/series: one tag between two times, for charts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.api.paging import Name, wrong_order
from cloud.host_view import HostView
from cloud.store.port import Series
from wire.ids import NodeId

LATEST_MS = 4_102_444_800_000  # 2100-01-01: later stamps are never stored

Stamp = Annotated[int, Query(ge=0, le=LATEST_MS, description="UTC epoch ms", examples=[1_700_000_000_000])]
MaybeStamp = Annotated[int | None, Query(ge=0, le=LATEST_MS, description="UTC epoch ms")]
EXAMPLE = {"t": [1_700_000_000_000, 1_700_000_001_000], "v": [41.5, None], "q": [192, 0], "source": "raw"}


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["series"])

    @api.get(
        "/series",
        summary="One tag between two times, with no more points than a chart can show",
        responses={200: {"content": {"application/json": {"example": EXAMPLE}}}},
    )
    async def series(
        group: Annotated[Name, Query(description="the site")],
        node: Annotated[Name, Query(description="the gateway")],
        tag: Name,
        from_ms: Stamp,
        to_ms: Stamp,
        device: Annotated[Name, Query(description="empty: a tag of the gateway itself")] = "",
        points: Annotated[int, Query(ge=2, le=20_000, description="about so many at most")] = 1_000,
    ) -> Series:
        """From from_ms (included) to to_ms (not included), oldest first. t: stamps in UTC epoch ms; v: numbers (false
        and true: 0 and 1), null where none is; q: quality (0 BAD, 64 UNCERTAIN, 192 GOOD); source: raw or roll-up.

        Where there are more rows than points, each slice of time keeps its lowest and its highest value. A tag that
        nobody knows has no points. Every single row: /api/export.
        """
        wrong_order(from_ms, to_ms)
        return await host.store.series(NodeId(group, node), device, tag, from_ms, to_ms, points)

    return api
