"""The HTTP API: one router a noun. OpenAPI at /docs is the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI

from cloud.api import (
    anomalies,
    archive,
    assets,
    backup,
    balance,
    dead_letters,
    energy,
    events,
    export,
    health,
    problems,
    records,
    retention,
    series,
    stats,
)
from cloud.archive.archiver import Archiver
from cloud.backup.make import Backups
from cloud.dead_letters import DeadLetters
from cloud.desk import Desk
from cloud.host_view import HostView
from cloud.retention.retention import Retention
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
        app.include_router(balance.desk_router(desk), prefix="/api")
    problems.add(app)
    for router in (
        health.router(host, turns),
        assets.router(host),
        series.router(host),
        balance.router(host),
        anomalies.router(host),
        energy.router(host),
        stats.router(host),
        dead_letters.router(letters),
        records.router(state),
        events.router(host, closing),
    ):
        app.include_router(router, prefix="/api")


def add_keeping(
    app: FastAPI, host: HostView, archiver: Archiver | None, backups: Backups, kept: Retention | None = None
) -> None:
    """Routes that take samples out of the store and back: archive, retention, export, backup."""
    app.include_router(retention.router(kept), prefix="/api")
    for router in (archive.router(archiver), export.router(host.store), backup.router(backups)):
        app.include_router(router, prefix="/api")
