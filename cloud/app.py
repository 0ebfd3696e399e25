"""The composition root: which store, the collector, the web, and how all of it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI

from cloud import api, web
from cloud.audit import Audit
from cloud.collector import Collector
from cloud.config import Config, DuckDbFile, InfluxBucket, InfluxV1
from cloud.costs.tariff_file import load_tariff
from cloud.dead_letters import DeadLetters
from cloud.desk import Desk
from cloud.forgetting import Forgetting
from cloud.hearing import Hearing
from cloud.host import Host, wall_ms
from cloud.ledger import Ledger
from cloud.live import LiveValues
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.state.ledger import SqlLedger
from cloud.stats import Stats
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_client import InfluxServer
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import TelemetryStore
from cloud.window import WindowAuditor
from wire.errors import ConfigError, PayloadError, StoreDown
from wire.host_node import Node, remembered_node
from wire.ids import NodeId

log = logging.getLogger(__name__)

TRY_AGAIN_S = 2.0
WEB_GRACE_S = 2  # open event streams end by themselves; whoever else is served has so long


class Kept(NamedTuple):
    store: TelemetryStore
    ledger: Ledger


def stores(config: Config, state: StateDb) -> Kept:
    """The store that the configuration chose, with the ledger that goes with it."""
    choice = config.store
    if isinstance(choice, DuckDbFile):
        embedded = EmbeddedStore(choice.path)
        return Kept(embedded, EmbeddedLedger(embedded.file))
    return Kept(InfluxStore(influx_server(choice)), SqlLedger(state))


def influx_server(choice: InfluxV1 | InfluxBucket) -> InfluxServer:
    if isinstance(choice, InfluxV1):
        return InfluxHttp(
            choice.url, choice.database, choice.username, choice.password,
            ca_file=choice.ca_file, retention_days=choice.retention_days,
        )  # fmt: skip
    from cloud.store.influx_v2 import Bucket, InfluxV2  # its library takes half a second to load

    bucket = Bucket(choice.url, choice.bucket, choice.org, choice.token, choice.ca_file)
    return InfluxV2(bucket, retention_days=choice.retention_days)


def listening(address: tuple[str, int]) -> socket.socket:
    """A bound socket. Raises ConfigError naming --http when that cannot be."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen(128)
    except OSError as fault:
        found.close()
        if fault.errno == errno.EADDRINUSE:
            why = "another program listens there; choose another port with --http 127.0.0.1:PORT"
        else:
            why = f"{fault.strerror or fault}; choose an address of this machine with --http ADDRESS:PORT"
        raise ConfigError(f"http address {host}:{port}: {why}") from fault
    return found


class _Web(uvicorn.Server):
    """uvicorn in our loop: signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(config: Config) -> None:
    """The whole host, until SIGTERM or SIGINT. Raises ConfigError before anything is opened."""
    tariff = load_tariff(config.tariff)
    sock = listening(config.http)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    db = StateDb(config.state)
    kept = stores(config, db)
    state, letters = HostState(db), DeadLetters(db)
    live, stats = LiveValues(), Stats(started_s=wall_ms() / 1000)
    hearing = Hearing(live, stats)
    try:
        if not await _opened(db, stop):
            return
        for (node, device), tags in (await state.births()).items():
            live.born(node, device, tags)
        known = await state.nodes()
        hearing.nodes.restore(known)

        async def restore() -> None:
            await host.restore()

        collector = Collector(
            config.broker, config.host_id, kept.store, kept.ledger, state, letters, hearing, stats, wall_ms, restore,
            reorder_ms=round(config.reorder_s * 1000),
        )  # fmt: skip
        collector.remember(remembered(known))
        audit = Audit(kept.store, kept.ledger, state, letters, collector.writing)
        windows = WindowAuditor(kept.store, kept.ledger, state, letters, collector.writing)
        desk = Desk(config.host_id, collector, hearing.nodes, hearing.twins, windows, wall_ms)
        host = Host(kept.store, live, state, hearing, audit, stats, tariff, str(config.broker), wall_ms)
        after_ms = config.forget_after_days * 86_400_000
        forgetting = Forgetting(hearing.nodes, state, collector, host.audit, after_ms, wall_ms)
        await _serve(application(host, letters, state, stop, desk), sock, collector, forgetting, stop)
    finally:
        sock.close()
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
    host: Host, letters: DeadLetters, state: HostState, closing: asyncio.Event, desk: Desk | None = None
) -> FastAPI:
    app = FastAPI(title="Gaugeline", description="What the gateways measured, and what became of every sample.")
    api.add(app, host, letters, state, closing, desk)
    web.mount(app, host)
    return app


async def _opened(db: StateDb, stop: asyncio.Event) -> bool:
    """Waits until the state can be opened; False when the host is told to stop before."""
    told = False
    while not stop.is_set():
        try:
            await db.open()
            return True
        except StoreDown as fault:
            if not told:
                log.warning("the state cannot be opened, trying again", extra={"error": str(fault)})
            told = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TRY_AGAIN_S)
    return False


async def _serve(
    app: FastAPI, sock: socket.socket, collector: Collector, forgetting: Forgetting, stop: asyncio.Event
) -> None:
    settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=WEB_GRACE_S)
    server = _Web(settings)
    host, port = sock.getsockname()[:2]
    log.info("page and API", extra={"url": f"http://{host}:{port}"})

    async def until_stopped() -> None:
        await stop.wait()
        server.should_exit = True
        collecting.cancel()
        housekeeping.cancel()

    async with asyncio.TaskGroup() as tasks:
        collecting = tasks.create_task(collector.run(), name="collector")
        housekeeping = tasks.create_task(forgetting.run(), name="forgetting")
        serving = tasks.create_task(server.serve(sockets=[sock]), name="web")
        stopping = tasks.create_task(until_stopped(), name="stop")
        await asyncio.wait([collecting, serving, housekeeping], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():  # one of them ended by a fault of ours: the other one must not go on alone
            stop.set()
        await stopping
