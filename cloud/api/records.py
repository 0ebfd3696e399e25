"""GET /api/records: gaps and drops as the gateways told them, oldest first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from cloud.state.host import HostState

Kind = Literal[
    "gap", "drop", "thin", "refused", "outbox_set_aside", "outbox_wal_missing", "epoch_closed", "clock", "clock_step"
]


def router(state: HostState) -> APIRouter:
    api = APIRouter(tags=["records"])

    @api.get("/records")
    async def records(kind: Annotated[Kind, Query()] = "gap") -> list[dict[str, Any]]:
        """A gap: per line the last poll before and the first stamp after. A drop: what left the outbox unconfirmed.

        Thin: what was left out of batches for want of space. Refused: what was not taken. Set aside: a damaged outbox.
        A clock: samples of a boot that did not know the time, and where they were placed. A clock_step: by how much.
        """
        return [
            {"group": r.key.node.group, "node": r.key.node.node, "number": r.key.number, **r.content}
            for r in await state.records(kind)
        ]

    return api
