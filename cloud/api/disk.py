"""GET /api/disk: what the database takes on the disk. POST /api/disk/compact: writes its file anew."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cloud.store.duck_care import DuckCare
from cloud.store.duck_disk import disk_use
from wire.errors import ConfigError

SERVER = (
    "the samples are in InfluxDB, which compacts by itself; ask its own tools what it takes (`influx_inspect report`)"
)


def router(care: DuckCare | None) -> APIRouter:
    api = APIRouter(prefix="/disk", tags=["disk"])

    def there() -> DuckCare:
        if care is None:
            raise ConfigError(SERVER)
        return care

    @api.get("")
    async def disk() -> dict[str, Any]:
        """bytes: of the file; empty_bytes: of it used again by samples to come; rows: stored samples."""
        return (await disk_use(there().file)).as_json()

    @api.post("/compact")
    async def compacted() -> dict[str, Any]:
        """Nothing is stored meanwhile; gateways keep what they have. before and after, as GET gives them."""
        before, after = await there().compact()
        return {"before": before.as_json(), "after": after.as_json()}

    return api
