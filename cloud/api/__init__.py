"""The HTTP API: one router a noun. OpenAPI at /docs is the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI

from cloud.api import (
    aggregates,
    anomalies,
    assets,
    balance,
    dead_letters,
    document,
    energy,
    events,
    health,
    problems,
    records,
    series,
    sites,
    stats,
    tags,
)
from cloud.api.document import ABOUT as ABOUT
from cloud.dead_letters import DeadLetters
from cloud.desk import Desk
from cloud.host_view import HostView
from cloud.state.host import HostState


def add(
    app: FastAPI,
    host: HostView,
    letters: DeadLetters,
    state: HostState,
    closing: asyncio.Event,
    desk: Desk | None = None,
    turns: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """All routes below /api. closing: set when the host stops, so that open event streams end.

    desk: what needs a collector; without one there are no routes for it.
    turns: this host's part among several of which one is active.
    """
    if desk is not None:
        app.include_router(sites.router(host, desk), prefix="/api")
        app.include_router(balance.desk_router(desk), prefix="/api")
    problems.add(app)
    document.describe(app)
    for router in (
        health.router(host, turns),
        assets.router(host),
        tags.router(host),
        series.router(host),
        aggregates.router(host),
        balance.router(host),
        anomalies.router(host),
        energy.router(host),
        stats.router(host),
        dead_letters.router(letters),
        records.router(state),
        events.router(host, closing),
    ):
        app.include_router(router, prefix="/api")


def add_keeping(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Routes to what is kept: ledger, archive, retention, export, backup, roll-ups, disk."""
    for router in routers:
        app.include_router(router, prefix="/api")
