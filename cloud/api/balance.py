"""GET /api/balance: what became of every sample. GET /api/window: of a time. POST /api/refill: ask for it again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.balance_shapes import BalanceFound, NodeSeen, RefillAsked, WindowFound
from cloud.api.paging import wrong_order
from cloud.api.series import LATEST_MS, Stamp
from cloud.desk import Desk
from cloud.host_view import HostView
from wire.ids import NodeId

Gateway = Annotated[
    str | None,
    Query(max_length=200, description="group/gateway; all when it is left out", examples=["plant-1/gw-1"]),
]


class Refill(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"from_ms": 1_700_000_000_000, "to_ms": 1_700_003_600_000, "gateway": "plant-1/gw-1"}]
        }
    )

    from_ms: int = Field(ge=0, le=LATEST_MS)
    to_ms: int = Field(ge=0, le=LATEST_MS)
    gateway: str | None = None


def _node(text: str | None, known: set[NodeId]) -> NodeId | None:
    """Also the gateway's name alone, where no other group has one of that name. Raises HTTPException."""
    if text is None:
        return None
    group, _, name = text.rpartition("/")
    found = sorted(n for n in known if n.node == name and group in ("", n.group))
    if len(found) != 1:
        names = ", ".join(map(str, found or sorted(known)[:20])) or "none"
        raise HTTPException(404, f"{'more than one' if found else 'no'} gateway {text!r}; there are: {names}")
    return found[0]


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["balance"])

    @api.get("/balance", summary="What became of every sample")
    async def balance(gateway: Gateway = None) -> BalanceFound:
        """ok: nothing is lost: produced = stored + dead_letters + dropped + in_flight + collided + expired."""
        found = await host.audit()
        node = _node(gateway, set(found.gateways))
        return BalanceFound.model_validate((found.only(node) if node else found).as_json())

    return api


def desk_router(desk: Desk) -> APIRouter:
    api = APIRouter(tags=["balance"])

    @api.get("/window", summary="What became of what was measured in a time")
    async def window(from_ms: Stamp, to_ms: Stamp, gateway: Gateway = None) -> WindowFound:
        """What the ledger says was stored in this time, against the rows in the database. ok: none lost or missing."""
        wrong_order(from_ms, to_ms)
        found = await desk.window(from_ms, to_ms, _node(gateway, set(desk.nodes.known)))
        return WindowFound.model_validate(found.as_json())

    @api.post("/refill", summary="Ask gateways to send again what they kept of a time")
    async def refill(wanted: Refill) -> RefillAsked:
        """Asks gateways to send again what they kept of this time. asked and away: their names."""
        wrong_order(wanted.from_ms, wanted.to_ms)
        node = _node(wanted.gateway, set(desk.nodes.known))
        return RefillAsked.model_validate(await desk.refill(wanted.from_ms, wanted.to_ms, node))

    @api.get("/nodes", summary="Every edge node that is known")
    async def nodes() -> list[NodeSeen]:
        """Every edge node that is known: alive or stale, since when, what of it is left out."""
        return [NodeSeen.model_validate(one) for one in desk.all_nodes()]

    return api
