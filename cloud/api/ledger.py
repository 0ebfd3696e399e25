"""GET /api/ledger: the batches that are dealt with, one entry each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import After, Limit, Only, Page, place, token, wrong_order
from cloud.api.series import MaybeStamp
from cloud.ledger_pages import COLUMNS, Entries, LedgerPages

Number = Annotated[int | None, Query(ge=0, lt=2**63)]


class Entry(BaseModel):
    """One batch: samples = stored + dead_letters + collided."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"group": "plant-1", "node": "gw-1", "epoch": "9f2c", "number": 17, "device": "pump-1",
                 "digest": "5a0e8f0c3d5d4be19b0f3a4f1c2d3e4f", "samples": 100, "stored": 99, "dead_letters": 1,
                 "collided": 0, "first_ms": 1_700_000_000_000, "last_ms": 1_700_000_000_990}
            ]
        }
    )  # fmt: skip

    group: str
    node: str
    epoch: str = Field(description="of the gateway's process")
    number: int
    device: str = Field(description="'': a batch of the gateway's own records")
    digest: str = Field(description="BLAKE2b-128, as the gateway said and the host computed")
    samples: int
    stored: int = Field(description="of them in the database")
    dead_letters: int
    collided: int = Field(description="another batch had stored the same tag at the same time")
    first_ms: int = Field(description="UTC epoch ms of the oldest sample; 0 when the batch holds none")
    last_ms: int


def router(ledger: LedgerPages) -> APIRouter:
    api = APIRouter(tags=["ledger"])

    @api.get("/ledger", summary="Which batches are stored, with digests and counts")
    async def entries(
        group: Annotated[Only, Query(description="only this site")] = None,
        node: Annotated[Only, Query(description="only this gateway")] = None,
        device: Annotated[Only, Query(description="only this device; empty: the gateway's own records")] = None,
        epoch: Annotated[Only, Query(description="only this epoch")] = None,
        number_from: Annotated[Number, Query(description="only this number and higher ones")] = None,
        number_to: Annotated[Number, Query(description="only this number and lower ones")] = None,
        from_ms: MaybeStamp = None,
        to_ms: MaybeStamp = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Page[Entry]:
        """Sorted by group, node, epoch and number. With from_ms and to_ms: those that hold samples of this time.

        A page looks through 50,000 entries at most: with filters it may be short, or empty, and still have a next one.
        """
        wrong_order(from_ms, to_ms)
        which = Entries(group, node, device, epoch, number_from, number_to, from_ms, to_ms)
        rows, behind = await ledger.page(which, limit, place(after, (str, str, str, int)))
        return Page(items=[_entry(row) for row in rows], next=None if behind is None else token(behind))

    return api


def _entry(row: tuple[object, ...]) -> Entry:
    found = dict(zip(COLUMNS, row, strict=True))
    dead, collided, samples = (int(str(found[name])) for name in ("dead", "collided", "samples"))
    return Entry.model_validate({**found, "dead_letters": dead, "stored": samples - dead - collided})
