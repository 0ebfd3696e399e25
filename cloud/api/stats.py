"""GET /api/stats: how the host is doing."""

from __future__ import annotations

from fastapi import APIRouter

from cloud.host_view import HostStats, HostView

EXAMPLE = {
    "latency_ms": {"p50": 120.5, "p99": 410.0, "n": 1200}, "stored_per_s": 12.5, "store": "DuckDB 2.0.0, x.duckdb",
    "broker": "mqtt://127.0.0.1:1883", "versions": {"python": "3.11.2"}, "counters": {"samples_stored": 1200},
    "problems": [], "uptime_s": 3600.5,
}  # fmt: skip


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["stats"])

    @api.get(
        "/stats",
        summary="How the host is doing",
        responses={200: {"content": {"application/json": {"example": EXAMPLE}}}},
    )
    async def stats() -> HostStats:
        """latency_ms: from a live sample's stamp to the commit, over the time that the process runs."""
        return host.stats()

    return api
