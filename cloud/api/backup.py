"""POST /api/backup: the running host copies its state and store into a folder of its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.backup.make import Backups
from wire.errors import ConfigError


class Target(BaseModel):
    folder: str = Field(min_length=1, description="absolute, on the host's machine; new or empty")


def router(backups: Backups) -> APIRouter:
    api = APIRouter(tags=["backup"])

    @api.post("/backup")
    async def backup(target: Target) -> dict[str, Any]:
        """The backup's manifest; `also`: what belongs to a backup besides."""
        folder = Path(target.folder)
        if not folder.is_absolute():
            raise ConfigError(f"{target.folder}: give an absolute path")
        return await backups.make(folder)

    return api
