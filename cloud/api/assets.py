"""GET /api/assets: every asset with its tags and their newest values."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import Only
from cloud.api.tags import Value
from cloud.host_view import HostView
from cloud.live import LiveAsset, LiveTag


class AssetTag(BaseModel):
    device: str = Field(description="'': the gateway itself")
    name: str
    datatype: str
    unit: str
    measures: str
    value: Value
    quality: int = Field(description="OPC: 0 BAD, 64 UNCERTAIN, 192 GOOD")
    reason: str = Field(description="why it is not good; '' when it is")
    ts_ms: int | None


class Asset(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "pump", "name": "Feed pump", "kind": "machine", "group": "plant-1", "node": "gw-1", "tags": [
                    {"device": "pump-1", "name": "flow", "datatype": "FLOAT", "unit": "m3/h", "measures": "",
                     "value": 41.5, "quality": 192, "reason": "", "ts_ms": 1_700_000_000_000}]}
            ]
        }
    )  # fmt: skip

    id: str
    name: str
    kind: str = Field(description="'other' for a device that belongs to no asset: it is one of its own")
    group: str
    node: str
    tags: list[AssetTag]


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["assets"])

    @api.get("/assets", summary="Assets with their tags and newest values")
    async def assets(
        group: Annotated[Only, Query(description="only of this site")] = None,
        node: Annotated[Only, Query(description="only of this gateway")] = None,
        asset: Annotated[Only, Query(description="only this one")] = None,
    ) -> list[Asset]:
        """Sorted by edge node and id. All at once; for many tags page by page see /api/tags."""
        return [
            _asset(a)
            for a in host.live.assets()
            if group in (None, a.node.group) and node in (None, a.node.node) and asset in (None, a.id)
        ]

    return api


def _asset(a: LiveAsset) -> Asset:
    return Asset(
        id=a.id, name=a.name, kind=a.kind, group=a.node.group, node=a.node.node, tags=[_tag(t) for t in a.tags]
    )


def _tag(tag: LiveTag) -> AssetTag:
    return AssetTag.model_construct(
        device=tag.device, name=tag.name, datatype=tag.datatype.name, unit=tag.unit, measures=tag.measures,
        value=tag.value, quality=int(tag.quality), reason=tag.reason.name.lower() if tag.reason else "",
        ts_ms=tag.ts_ms,
    )  # fmt: skip
