"""GET /api/disk: what the database takes on the disk. POST /api/disk/compact: writes its file anew."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from cloud.store.duck_care import DuckCare
from cloud.store.duck_disk import DiskUse, disk_use
from wire.errors import ConfigError

SERVER = (
    "the samples are in InfluxDB, which compacts by itself; ask its own tools what it takes (`influx_inspect report`)"
)
_USE: JsonDict = {
    "bytes": 94_371_840,
    "empty_bytes": 3_145_728,
    "rows": 10_000_000,
    "bytes_per_million_samples": 9_122_611,
}


class Use(BaseModel):
    """Of the host's DuckDB file."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USE]})

    bytes: int = Field(description="of the file and its log")
    empty_bytes: int = Field(description="of blocks that hold nothing; samples to come use them again")
    rows: int = Field(description="stored samples")
    bytes_per_million_samples: int | None = Field(description="with their share of the ledger; null without samples")


class Compacted(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"before": _USE, "after": _USE | {"empty_bytes": 0}}]})

    before: Use
    after: Use


def router(care: DuckCare | None) -> APIRouter:
    api = APIRouter(prefix="/disk", tags=["disk"])

    def there() -> DuckCare:
        if care is None:
            raise ConfigError(SERVER)
        return care

    @api.get("", summary="What the database takes on the disk")
    async def disk() -> Use:
        """Of a host with DuckDB."""
        return _use(await disk_use(there().file))

    @api.post("/compact", summary="Writes the database's file anew, without what is empty")
    async def compacted() -> Compacted:
        """Nothing is stored meanwhile; gateways keep what they have."""
        before, after = await there().compact()
        return Compacted(before=_use(before), after=_use(after))

    return api


def _use(found: DiskUse) -> Use:
    return Use(
        bytes=found.of_file,
        empty_bytes=found.empty,
        rows=found.rows,
        bytes_per_million_samples=found.per_million,
    )
