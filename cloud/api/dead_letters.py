"""GET /api/dead-letters: what could not be stored, newest first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query

from cloud.dead_letters import DeadLetters

Kind = Literal["sample", "conflict", "record", "message"]


def router(letters: DeadLetters) -> APIRouter:
    api = APIRouter(prefix="/dead-letters", tags=["dead letters"])

    @api.get("")
    async def dead_letters(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100, kind: Kind | None = None
    ) -> list[dict[str, Any]]:
        """content: its first 200 bytes as text; the whole of it at /api/dead-letters/ID."""
        return await letters.newest(limit, kind)

    @api.get("/summary")
    async def summary() -> dict[str, dict[str, int]]:
        """Per kind: kept, bytes, samples, and left_out: letters that there was no room for."""
        return await letters.summary()

    @api.get("/{letter}")
    async def one(letter: Annotated[int, Path(ge=1, lt=2**63)]) -> dict[str, Any]:
        found = await letters.one(letter)
        if found is None:
            raise HTTPException(404, f"no dead letter {letter}; `gaugeline cloud dead-letters` lists them")
        return found

    return api
