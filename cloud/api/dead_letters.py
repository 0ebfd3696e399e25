"""GET /api/dead-letters: what could not be stored, newest first."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from cloud.dead_letters import DeadLetters


def router(letters: DeadLetters) -> APIRouter:
    api = APIRouter(tags=["dead letters"])

    @api.get("/dead-letters")
    async def dead_letters(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> list[dict[str, Any]]:
        return await letters.newest(limit)

    return api
