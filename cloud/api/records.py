"""GET /api/records: gaps and drops as the gateways told them, oldest first."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from cloud.state.host import HostState

Kind = Literal[
    "gap", "drop", "thin", "refused", "outbox_set_aside", "outbox_wal_missing", "epoch_closed", "clock", "clock_step"
]


class NodeRecord(BaseModel):
    """And what the gateway told, which is of its kind: see docs/delivery.md."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"group": "plant-1", "node": "gw-1", "number": 3, "kind": "drop", "epoch": "9f2c", "numbers": [[1, 2]],
                 "device": "pump-1", "samples": 200}
            ]
        },
    )  # fmt: skip

    group: str
    node: str
    number: int


def router(state: HostState) -> APIRouter:
    api = APIRouter(tags=["records"])

    @api.get("/records", summary="Gaps, drops and other records of the gateways, oldest first")
    async def records(kind: Annotated[Kind, Query()] = "gap") -> list[NodeRecord]:
        """A gap: per line the last poll before and the first stamp after. A drop: what left the outbox unconfirmed.

        Thin: what was left out of batches for want of space. Refused: what was not taken. Set aside: a damaged outbox.
        A clock: samples of a boot that did not know the time, and where they were placed. A clock_step: by how much.
        """
        return [
            NodeRecord.model_validate(
                {"group": r.key.node.group, "node": r.key.node.node, "number": r.key.number, **r.content}
            )
            for r in await state.records(kind)
        ]

    return api
