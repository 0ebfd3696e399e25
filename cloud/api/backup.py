"""POST /api/backup: the running host copies its state and store into a folder of its machine."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cloud.backup.make import Backups
from wire.errors import ConfigError


class Target(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"folder": "/srv/backup/2026-05-01"}]})

    folder: str = Field(min_length=1, description="absolute, on the host's machine; new or empty")


class BackedUp(BaseModel):
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What was copied. also: what belongs to a backup besides, in words."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"format": 1, "made": "2026-05-01T00:00:00.000+00:00", "made_ms": 1_777_593_600_000,
                 "gaugeline": "0.1.0", "store": "DuckDB 2.0.0, gaugeline.duckdb", "also": [],
                 "files": {"state.db": {"bytes": 65536, "sha256": "9f86d081..."}}}
            ]
        },
    )  # fmt: skip

    made: str
    made_ms: int
    gaugeline: str
    store: str
    files: dict[str, BackedUp]
    also: list[str]


def router(backups: Backups) -> APIRouter:
    api = APIRouter(tags=["backup"])

    @api.post("/backup", summary="Copy state and store into a folder of the host's machine")
    async def backup(target: Target) -> Manifest:
        """The backup's manifest; `also`: what belongs to a backup besides."""
        folder = Path(target.folder)
        if not folder.is_absolute() or "\0" in target.folder:
            raise ConfigError(f"{target.folder}: give an absolute path")
        return Manifest.model_validate(await backups.make(folder))

    return api
