"""GET /api/dead-letters: what could not be stored, newest first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import After, Limit, Page, place, token
from cloud.dead_letters import DeadLetters

Kind = Literal["sample", "conflict", "record", "message"]
_EXAMPLE: dict[str, Any] = {
    "id": 17, "group": "plant-1", "node": "gw-1", "epoch": "9f2c", "number": 4, "position": 0, "digest": "",
    "kind": "sample", "device": "pump-1", "tag": "flow", "ts_ms": 12, "samples": 1,
    "why": "timestamp is before 2000", "content": "{\"tag\": \"flow\"}", "at_ms": 1_700_000_000_000,
}  # fmt: skip


class Letter(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: int
    group: str
    node: str
    epoch: str = Field(description="'': nothing is known of its batch")
    number: int
    position: int = Field(description="the sample's place in its batch; -1: the whole batch; -2: stands for all of it")
    digest: str
    kind: Kind
    device: str
    tag: str
    ts_ms: int | None
    samples: int = Field(description="of the balance, that it stands for")
    why: str
    content: str = Field(description="the first 200 bytes as text")
    at_ms: int = Field(description="UTC epoch ms: when it came")


class WholeLetter(Letter):
    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "content_hex": "7b7d", "bytes": 2}]})

    content: str = Field(description="all that is kept of it, as text")
    content_hex: str
    bytes: int


class Kept(BaseModel):
    """Letters of one kind. left_out: those that there was no room for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kept": 2, "bytes": 9, "samples": 0, "left_out": 0}]})

    kept: int
    bytes: int
    samples: int
    left_out: int


def router(letters: DeadLetters) -> APIRouter:
    api = APIRouter(prefix="/dead-letters", tags=["dead letters"])

    @api.get("", summary="What could not be stored, newest first")
    async def dead_letters(limit: Limit = 100, kind: Kind | None = None, after: After = None) -> Page[Letter]:
        """content: its first 200 bytes as text; the whole of it at /api/dead-letters/ID."""
        behind = place(after, (int,))
        found = await letters.newest(limit + 1, kind, None if behind is None else int(behind[0]))
        items = [Letter.model_validate(row) for row in found[:limit]]
        return Page(items=items, next=token((items[-1].id,)) if len(found) > limit else None)

    @api.get("/summary", summary="How many of each kind")
    async def summary() -> dict[Kind, Kept]:
        """Per kind: kept, bytes, samples, and left_out: letters that there was no room for."""
        return {kind: Kept.model_validate(n) for kind, n in (await letters.summary()).items()}  # type: ignore[misc]

    @api.get("/{letter}", summary="One of them with its content")
    async def one(letter: Annotated[int, Path(ge=1, lt=2**63)]) -> WholeLetter:
        found = await letters.one(letter)
        if found is None:
            raise HTTPException(404, f"no dead letter {letter}; `gaugeline cloud dead-letters` lists them")
        return WholeLetter.model_validate(found)

    return api
