"""GET /api/retention and /api/retention/plan: what was removed, what is due. POST /api/retention/run: now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cloud.retention.retention import Retention
from wire.errors import ConfigError

OFF = "this host removes nothing: write `retention: {hot_days: 400}` into its cloud.yaml (docs/retention.md)"


def router(retention: Retention | None) -> APIRouter:
    api = APIRouter(prefix="/retention", tags=["retention"])

    def there() -> Retention:
        if retention is None:
            raise ConfigError(OFF)
        return retention

    @api.get("")
    async def status() -> dict[str, Any]:
        """What was removed so far, per site, device and class; the newest runs: results, what was held, problems."""
        return await there().status()

    @api.get("/plan")
    async def plan() -> dict[str, Any]:
        """Days that are older than their class is kept, oldest first. bytes: in the database, about; null: unknown.

        held: why a day would stay; '' when it would go.
        """
        found, size = await there().plan(), await there().removal.bytes_a_row()
        days = [
            {
                "site": one.day.group,
                "day": one.day.date,
                "class": one.one.name,
                "hot_days": one.one.hot_days,
                "rows": one.rows,
                "bytes": None if size is None else round(size * one.rows),
                "devices": len(one.parts),
                "held": await there().why_held(one),
            }
            for one in found
        ]
        return {"days": days, "rows": sum(one.rows for one in found)}

    @api.post("/run")
    async def run() -> dict[str, Any]:
        """The run as it begins; look for its number in GET /api/retention."""
        return there().ask().as_json()

    return api
