"""GET /api/sites: the sites (groups) with their gateways: online, last heard, the balance in short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import After, Limit, Page, place, token
from cloud.balance import Balance, Counts
from cloud.desk import Desk
from cloud.host_view import HostView
from wire.errors import StoreDown
from wire.ids import NodeId

_SHORT: dict[str, Any] = {
    "ok": True, "produced": 1000, "stored": 990, "in_flight": 9, "dead_letters": 1, "dropped": 0, "collided": 0,
    "lost": 0,
}  # fmt: skip


class InShort(BaseModel):
    """In samples: produced = stored + dead_letters + dropped + in_flight + collided + lost."""

    ok: bool = Field(description="nothing is lost")
    produced: int
    stored: int
    in_flight: int
    dead_letters: int
    dropped: int
    collided: int
    lost: int


class Gateway(BaseModel):
    id: str
    online: bool
    since_ms: int = Field(description="UTC epoch ms: online or gone since then; 0 when that is not known")
    heard_ms: int = Field(description="UTC epoch ms; 0: never")
    devices: int
    tags: int
    protocol: str = Field(description="'' for edge nodes that are not ours")
    duplicate_id: bool = Field(description="two gateways use this id now")
    balance: InShort | None = Field(description="null: it counts nothing, was not asked for, or the database is down")


class Site(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "plant-1", "online": 1, "heard_ms": 1_700_000_000_000, "tags": 12, "balance": _SHORT,
                 "gateways": [{"id": "gw-1", "online": True, "since_ms": 1_690_000_000_000,
                               "heard_ms": 1_700_000_000_000, "devices": 3, "tags": 12, "protocol": "gaugeline/1",
                               "duplicate_id": False, "balance": _SHORT}]}
            ]
        }
    )  # fmt: skip

    id: str = Field(description="the Sparkplug group")
    online: int = Field(description="gateways that are there now")
    heard_ms: int = Field(description="UTC epoch ms: when the last word of any of them came")
    tags: int
    gateways: list[Gateway]
    balance: InShort | None


def router(host: HostView, desk: Desk) -> APIRouter:
    api = APIRouter(tags=["sites"])

    @api.get("/sites", summary="Sites with their gateways: online, last heard, the balance in short")
    async def sites(
        balance: Annotated[
            bool, Query(description="false: without it, for counting takes the database a moment")
        ] = True,
        limit: Limit = 100,
        after: After = None,
    ) -> Page[Site]:
        """Sorted by id. While the database does not answer the balance is null and the rest is true."""
        behind = place(after, (str,))
        nodes: dict[str, list[Mapping[str, Any]]] = {}
        for seen in desk.all_nodes():
            nodes.setdefault(str(seen["node"]).partition("/")[0], []).append(seen)
        wanted = [name for name in sorted(nodes) if behind is None or (name,) > behind]
        counted = await _counted(host) if balance else None
        sizes = _sizes(host)
        items = [_site(name, nodes[name], sizes, counted) for name in wanted[:limit]]
        return Page(items=items, next=token((items[-1].id,)) if len(wanted) > limit else None)

    return api


async def _counted(host: HostView) -> Balance | None:
    try:
        return await host.audit()
    except StoreDown:
        return None  # what is wrong with it stands in /api/health


def _sizes(host: HostView) -> dict[NodeId, tuple[int, int]]:
    """Devices and tags of each edge node; its own metrics are no device."""
    found: dict[NodeId, tuple[int, int]] = {}
    for node, device in host.live.places():
        devices, tags = found.get(node, (0, 0))
        found[node] = (devices + (device != ""), tags + len(host.live.at(node, device)))
    return found


def _site(
    name: str, nodes: list[Mapping[str, Any]], sizes: Mapping[NodeId, tuple[int, int]], counted: Balance | None
) -> Site:
    of_gateways = counted.gateways if counted is not None else {}
    gateways, total = [], Counts()
    known = False
    for seen in nodes:
        node = NodeId(*str(seen["node"]).split("/", 1))
        counts = of_gateways.get(node)
        if counts is not None:
            known = True
            total.add(counts)
        devices, tags = sizes.get(node, (0, 0))
        gateways.append(
            Gateway(
                id=node.node, online=seen["state"] == "alive", since_ms=seen["since_ms"], heard_ms=seen["heard_ms"],
                devices=devices, tags=tags, protocol=seen["protocol"], duplicate_id=seen["duplicate_id"],
                balance=_short(counts, counts.lost == 0) if counts is not None else None,
            )
        )  # fmt: skip
    ok = all(c.lost == 0 for (node, _), c in (counted.devices if counted else {}).items() if node.group == name)
    return Site(
        id=name, online=sum(g.online for g in gateways), heard_ms=max(g.heard_ms for g in gateways),
        tags=sum(g.tags for g in gateways), gateways=gateways, balance=_short(total, ok) if known else None,
    )  # fmt: skip


def _short(counts: Counts, ok: bool) -> InShort:
    return InShort(ok=ok, **{name: n for name, n in counts.as_json().items() if name in InShort.model_fields})
