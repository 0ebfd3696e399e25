"""GET /api/balance: what became of every sample. GET /api/window: of a time. POST /api/refill: ask for it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from cloud.api.series import LATEST_MS, Stamp
from cloud.desk import Desk
from cloud.host_view import HostView
from wire.ids import NodeId

Gateway = Annotated[str | None, Query(description="group/gateway; all when it is left out")]


class Refill(BaseModel):
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

    @api.get("/balance")
    async def balance(gateway: Gateway = None) -> dict[str, Any]:
        """ok: nothing is lost: produced = stored + dead_letters + dropped + in_flight + collided + expired."""
        found = await host.audit()
        node = _node(gateway, set(found.gateways))
        return (found.only(node) if node else found).as_json()

    return api


def desk_router(desk: Desk) -> APIRouter:
    api = APIRouter(tags=["balance"])

    @api.get("/window")
    async def window(from_ms: Stamp, to_ms: Stamp, gateway: Gateway = None) -> dict[str, Any]:
        """What the ledger says was stored in this time, against the rows in the database. ok: none lost or missing."""
        _forwards(from_ms, to_ms)
        return (await desk.window(from_ms, to_ms, _node(gateway, set(desk.nodes.known)))).as_json()

    @api.post("/refill")
    async def refill(wanted: Refill) -> dict[str, list[str]]:
        """Asks gateways to send again what they kept of this time. asked and away: their names."""
        _forwards(wanted.from_ms, wanted.to_ms)
        node = _node(wanted.gateway, set(desk.nodes.known))
        return await desk.refill(wanted.from_ms, wanted.to_ms, node)

    @api.get("/nodes")
    async def nodes() -> list[dict[str, Any]]:
        """Every edge node that is known: alive or stale, since when, what of it is left out."""
        return desk.all_nodes()

    return api


def _forwards(from_ms: int, to_ms: int) -> None:
    if from_ms > to_ms:
        raise HTTPException(422, f"from_ms {from_ms} is later than to_ms {to_ms}")
