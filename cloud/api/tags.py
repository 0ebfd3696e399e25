"""GET /api/tags: the catalogue of everything that was born. GET /api/values: the newest value of each tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import After, Item, Limit, Only, Page, place, token
from cloud.host_view import HostView
from cloud.live import LiveTag, LiveValues

Value = bool | int | float | str | None


class LastValue(BaseModel):
    """group, node, device and tag are what /api/series and /api/export ask for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"group": "plant-1", "node": "gw-1", "device": "pump-1", "tag": "flow", "value": 41.5, "quality": 192,
                 "reason": "", "ts_ms": 1_700_000_000_000, "unit": "m3/h"}
            ]
        }
    )  # fmt: skip

    group: str = Field(description="the site")
    node: str = Field(description="the gateway, or another edge node")
    device: str = Field(description="'': the edge node itself")
    tag: str
    value: Value = Field(description="null when there never was one, or when the newest sample is BAD")
    quality: int = Field(description="OPC: 0 BAD, 64 UNCERTAIN, 192 GOOD")
    reason: str = Field(description="why it is not good; 'stale': device or gateway is gone")
    ts_ms: int | None = Field(description="UTC epoch ms, when the device answered; null: never")
    unit: str = Field(description="as it was born; '' when it has none")


class Tag(LastValue):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"group": "plant-1", "node": "gw-1", "device": "pump-1", "tag": "flow", "value": 41.5, "quality": 192,
                 "reason": "", "ts_ms": 1_700_000_000_000, "unit": "m3/h", "datatype": "FLOAT", "asset": "pump",
                 "measures": ""}
            ]
        }
    )  # fmt: skip

    datatype: str = Field(description="of Sparkplug: FLOAT, DOUBLE, INT64, BOOLEAN, STRING, ...")
    asset: str = Field(description="the asset that it belongs to; '' when none is named")
    measures: str = Field(description="'energy', 'score', ...; '' when nothing is said")


class Wanted(NamedTuple):
    """Which tags; None: all. name: a part of it, in any case of letters."""

    group: str | None = None
    node: str | None = None
    device: str | None = None
    asset: str | None = None
    name: str | None = None

    def place_fits(self, group: str, node: str, device: str) -> bool:
        mine = (self.group, self.node, self.device)
        return all(a in (None, b) for a, b in zip(mine, (group, node, device), strict=True))

    def fits(self, tag: LiveTag) -> bool:
        return (
            self.place_fits(*tag.node, tag.device)
            and self.asset in (None, tag.asset)
            and (self.name is None or self.name.casefold() in tag.name.casefold())
        )


def wanted(
    group: Annotated[Only, Query(description="only this site")] = None,
    node: Annotated[Only, Query(description="only this gateway")] = None,
    device: Annotated[Only, Query(description="only this device; empty: the gateway's own tags")] = None,
    asset: Annotated[Only, Query(description="only this asset")] = None,
    name: Annotated[Only, Query(description="only tags with this in their name, in any case of letters")] = None,
) -> Wanted:
    return Wanted(group, node, device, asset, name)


Which = Annotated[Wanted, Depends(wanted)]


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["tags"])

    @api.get("/tags", summary="Everything that was born, with unit, datatype and newest value")
    async def tags(which: Which, limit: Limit = 100, after: After = None) -> Page[Tag]:
        """Sorted by group, node, device and tag. A tag that its device no longer names in its birth is not here."""
        return _page(host.live, which, limit, after, _tag)

    @api.get("/values", summary="The newest value of each tag")
    async def values(which: Which, limit: Limit = 100, after: After = None) -> Page[LastValue]:
        """As /api/tags, with less beside each value. From memory: also while the database does not answer."""
        return _page(host.live, which, limit, after, last_value)

    return api


def _page(
    live: LiveValues, which: Wanted, limit: int, after: str | None, shape: Callable[[LiveTag], Item]
) -> Page[Item]:
    found: list[LiveTag] = []
    for tag in _behind(live, which, place(after, (str, str, str, str))):
        if len(found) == limit:
            last = found[-1]
            return Page(items=[shape(t) for t in found], next=token((*last.node, last.device, last.name)))
        found.append(tag)
    return Page(items=[shape(t) for t in found], next=None)


def _behind(live: LiveValues, which: Wanted, after: tuple[str | int, ...] | None) -> Iterator[LiveTag]:
    for node, device in live.places():
        here = (*node, device)
        if not which.place_fits(*here) or (after is not None and here < after[:3]):
            continue
        for name, tag in sorted(live.at(node, device).items()):
            if (after is None or (*here, name) > after) and which.fits(tag):
                yield tag


def last_value(tag: LiveTag) -> LastValue:
    return LastValue.model_construct(**_facts(tag))


def _tag(tag: LiveTag) -> Tag:
    more: dict[str, Any] = {
        "datatype": tag.datatype.name,
        "asset": tag.asset,
        "measures": tag.measures,
    }
    return Tag.model_construct(**_facts(tag), **more)


def _facts(tag: LiveTag) -> dict[str, Any]:
    return {
        "group": tag.node.group,
        "node": tag.node.node,
        "device": tag.device,
        "tag": tag.name,
        "value": tag.value,
        "unit": tag.unit,
        "quality": int(tag.quality),
        "reason": tag.reason.name.lower() if tag.reason else "",
        "ts_ms": tag.ts_ms,
    }
