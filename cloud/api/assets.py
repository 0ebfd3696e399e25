"""GET /api/assets: every asset with its tags and their newest values."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cloud.host_view import HostView
from cloud.live import LiveAsset, LiveTag


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["assets"])

    @api.get("/assets")
    async def assets() -> list[dict[str, Any]]:
        return [_asset(a) for a in host.live.assets()]

    return api


def _asset(asset: LiveAsset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "name": asset.name,
        "kind": asset.kind,
        "group": asset.node.group,
        "node": asset.node.node,
        "tags": [_tag(t) for t in asset.tags],
    }


def _tag(tag: LiveTag) -> dict[str, Any]:
    """quality: the OPC code (0, 64, 192); reason: why it is not good, '' when it is."""
    return {
        "device": tag.device,
        "name": tag.name,
        "datatype": tag.datatype.name,
        "unit": tag.unit,
        "measures": tag.measures,
        "value": tag.value,
        "quality": int(tag.quality),
        "reason": tag.reason.name.lower() if tag.reason else "",
        "ts_ms": tag.ts_ms,
    }
