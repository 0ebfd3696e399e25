"""The composition root: which store, the collector, the web, and how all of it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from fastapi import FastAPI

from cloud import api, web
from cloud.api import archive, backup, disk, export, ledger, rollups
from cloud.api import retention as retentions
from cloud.archive.folder import open_folder
from cloud.archive.marks import DayMarks
from cloud.audit import Audit
from cloud.backup.make import Backups
from cloud.collector import Collector
from cloud.config import Config, DuckDbFile, InfluxBucket, InfluxV1
from cloud.costs.tariff import Tariff
from cloud.costs.tariff_file import load_tariff
from cloud.dead_letters import DeadLetters
from cloud.desk import Desk
from cloud.duty import Duty
from cloud.forgetting import Forgetting
from cloud.front import Front, Shown, listening
from cloud.hearing import Hearing
from cloud.host import Host, wall_ms
from cloud.lease import Lease, Term, refuse_beside
from cloud.ledger import Ledger
from cloud.ledger_pages import ledger_pages
from cloud.live import LiveValues
from cloud.old_days import Around, old_days
from cloud.retention.embedded import EmbeddedRemoval
from cloud.retention.influx import InfluxRemoval
from cloud.retention.own import Expiry, own_retention_ms
from cloud.retention.port import Removal, raw_since_ms
from cloud.rollups.marks import WindowMarks
from cloud.standby import Turns, waiting_room
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.state.ledger import SqlLedger
from cloud.state.place import PostgresDb
from cloud.stats import Stats
from cloud.store.duck_care import DuckCare
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_client import InfluxServer
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch, TelemetryStore
from cloud.store.window_port import Rolled
from cloud.window import WindowAuditor
from wire.errors import PayloadError, StoreDown
from wire.host_node import Node, remembered_node
from wire.ids import NodeId

log = logging.getLogger(__name__)

TRY_AGAIN_S = 2.0


class Kept(NamedTuple):
    store: TelemetryStore
    ledger: Ledger


def stores(config: Config, state: StateDb, rolled: Rolled | None = None) -> Kept:
    """The store that the configuration chose, with the ledger that goes with it. rolled: which roll-ups are right."""
    choice = config.store
    if isinstance(choice, DuckDbFile):
        embedded = EmbeddedStore(choice.path, rolled)
        return Kept(embedded, EmbeddedLedger(embedded.file))
    return Kept(InfluxStore(influx_server(choice), rolled=rolled), SqlLedger(state))


def removal_of(kept: Kept, state: StateDb, duty: Duty) -> Removal:
    """What takes old samples out of the store, and counts them where its ledger is."""
    if isinstance(kept.store, EmbeddedStore):
        return EmbeddedRemoval(kept.store.file)
    assert isinstance(kept.store, InfluxStore)
    return InfluxRemoval(state, kept.store.server, duty.still)


def influx_server(choice: InfluxV1 | InfluxBucket) -> InfluxServer:
    if isinstance(choice, InfluxV1):
        return InfluxHttp(
            choice.url, choice.database, choice.username, choice.password,
            ca_file=choice.ca_file, retention_days=choice.retention_days,
        )  # fmt: skip
    from cloud.store.influx_v2 import Bucket, InfluxV2  # its library takes half a second to load

    bucket = Bucket(choice.url, choice.bucket, choice.org, choice.token, choice.ca_file)
    return InfluxV2(bucket, retention_days=choice.retention_days)


async def run(config: Config) -> None:
    """The whole host, until SIGTERM or SIGINT. Raises ConfigError before anything is opened, or when the state cannot
    be used."""
    tariff = load_tariff(config.tariff)
    if config.archive is not None:
        open_folder(config.archive.place).check()
    sock = listening(config.http)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    front = Front()
    working = asyncio.create_task(_work(config, tariff, front), name="work")
    serving = asyncio.create_task(front.serve(sock), name="web")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    tasks = (working, serving, stopping)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:  # told to stop, or one of them ended by a fault of ours: the other one must not go on alone
        front.end()
        working.cancel()
        stopping.cancel()
        await asyncio.wait([working])
        if not front.serving:
            serving.cancel()
        await asyncio.wait([serving])
        sock.close()
    for task in tasks:
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise fault


async def _work(config: Config, tariff: Tariff, front: Front) -> None:
    if config.standby is None or not isinstance(config.state, PostgresDb):
        await _collect(config, tariff, front, StateDb(config.state), Duty(config.groups), None)
        return
    standby = config.standby
    turns = Turns(Lease(config.state, config.host_id, standby.name, standby.lease_s, config.groups))
    waiting = Shown()
    waiting.app = waiting_room(turns)

    async def duty(term: Term) -> None:
        try:
            await _collect(config, tariff, front, StateDb(config.state, term), term, turns)
        finally:
            front.show(waiting)

    front.show(waiting)
    try:
        await turns.run(duty)
    finally:
        await turns.close()


async def _collect(config: Config, tariff: Tariff, front: Front, db: StateDb, duty: Duty, turns: Turns | None) -> None:
    """Collects and shows, until cancelled."""
    windows = WindowMarks(db, wall_ms)
    kept = stores(config, db, windows)
    state, letters = HostState(db), DeadLetters(db)
    live, stats = LiveValues(), Stats(started_s=wall_ms() / 1000)
    hearing = Hearing(live, stats)
    shown = Shown()
    try:
        await _opened(db)
        if turns is None and isinstance(config.state, PostgresDb):
            await refuse_beside(db, config.host_id)
        await windows.open()  # charts ask what is marked from the first moment on
        for (node, device), tags in (await state.births()).items():
            if duty.covers(node):
                live.born(node, device, tags)
        known = {node: content for node, content in (await state.nodes()).items() if duty.covers(node)}
        hearing.nodes.restore(known)

        async def restore() -> None:
            async with collector.writing:
                await removal.settle()  # charts ask what has been removed
            await host.restore()

        marks, removal = DayMarks(db), removal_of(kept, db, duty)
        windows.raw_since = partial(raw_since_ms, removal)

        async def about_to_write(batches: Sequence[Batch]) -> None:
            await removal.settle()
            await marks.touch(batches)
            await windows.touch(batches)

        collector = Collector(
            config.broker, config.host_id, kept.store, kept.ledger, state, letters, hearing, stats, wall_ms, restore,
            reorder_ms=round(config.reorder_s * 1000), duty=duty, about_to_write=about_to_write,
        )  # fmt: skip
        collector.remember(remembered(known))
        expiry = Expiry(kept.store, kept.ledger, state.restored, removal, lambda: own_retention_ms(kept.store), wall_ms)
        audit = Audit(kept.store, kept.ledger, state, letters, collector.writing, removal, expiry)
        auditor = WindowAuditor(kept.store, kept.ledger, state, letters, collector.writing, removal, expiry)
        desk = Desk(config.host_id, collector, hearing.nodes, hearing.twins, auditor, wall_ms)
        host = Host(kept.store, live, state, hearing, audit, stats, tariff, str(config.broker), wall_ms)
        after_ms = config.forget_after_days * 86_400_000
        forgetting = Forgetting(hearing.nodes, state, collector, host.audit, after_ms, wall_ms)
        shown.app = application(host, letters, state, shown.closing, desk, turns.as_json if turns is not None else None)
        old = old_days(
            config, Around(*kept, state, removal, marks, windows, collector.writing, stats, duty, wall_ms)
        )  # fmt: skip
        care = DuckCare(kept.store.file, stats) if isinstance(kept.store, EmbeddedStore) else None
        api.add_keeping(
            shown.app,
            (
                ledger.router(ledger_pages(kept.store, db)),
                archive.router(old.archiver),
                retentions.router(old.retention),
                export.router(kept.store),
                backup.router(Backups(config, kept.store, db, collector.writing, wall_ms)),
                disk.router(care),
                rollups.router(old.roller),
            ),
        )
        front.show(shown)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collector.run(), name="collector")
            tasks.create_task(forgetting.run(), name="forgetting")
            tasks.create_task(old.run(), name="old days")
            if care is not None:
                tasks.create_task(care.run(), name="disk")
    finally:
        await shown.end()
        await kept.store.close()
        await db.close()


def remembered(known: Mapping[NodeId, Mapping[str, Any]]) -> dict[NodeId, Node]:
    """Confirming nodes with the births that an earlier process heard; a memory that cannot be read is left out."""
    found = {}
    for node, content in known.items():
        if content.get("memory") is not None:
            try:
                found[node] = remembered_node(node, content["memory"])
            except PayloadError as fault:
                log.warning("births must be asked for", extra={"node": str(node), "error": str(fault)[:200]})
    return found


def application(
    host: Host,
    letters: DeadLetters,
    state: HostState,
    closing: asyncio.Event,
    desk: Desk | None = None,
    turns: Callable[[], Mapping[str, Any]] | None = None,
) -> FastAPI:
    app = FastAPI(title="Gaugeline", description=api.ABOUT)
    api.add(app, host, letters, state, closing, desk, turns)
    web.mount(app, host)
    return app


async def _opened(db: StateDb) -> None:
    """Waits until the state can be opened."""
    told = False
    while True:
        try:
            await db.open()
            return
        except StoreDown as fault:
            if not told:
                log.warning("the state cannot be opened, trying again", extra={"error": str(fault)})
            told = True
            await asyncio.sleep(TRY_AGAIN_S)
