"""Running hosts for tests: in this loop, or as a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.app import Kept, remembered, removal_of
from cloud.archive.marks import DayMarks
from cloud.audit import Audit
from cloud.balance import Balance
from cloud.broker import Broker
from cloud.collector import Collector
from cloud.config import EXAMPLE_TARIFF, InfluxV1
from cloud.costs.tariff_file import load_tariff
from cloud.counters import EpochSaid
from cloud.dead_letters import DeadLetters
from cloud.desk import Desk
from cloud.duty import Duty
from cloud.forgetting import Forgetting
from cloud.hearing import Hearing
from cloud.host import Host, wall_ms
from cloud.live import LiveValues
from cloud.retention.own import Expiry, own_retention_ms
from cloud.retention.port import Removal
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.state.ledger import SqlLedger
from cloud.stats import Stats
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import Batch
from cloud.window import WindowAuditor
from tests.cloud.small_gateway import SmallGateway
from tests.servers import free_port, wait_for_port
from wire.host_session import REORDER_MS

ROOT = Path(__file__).parents[2]
STARTED: list[subprocess.Popen[bytes]] = []
"""Hosts of this process: what a failed test leaves running ends with the last test."""


async def until(true: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Returns once the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.02)


@dataclass
class Running:
    """A host in this loop, without its web server."""

    host: Host
    kept: Kept
    letters: DeadLetters
    state: HostState
    collector: Collector
    db: StateDb
    desk: Desk
    forgetting: Forgetting
    removal: Removal
    marks: list[DayMarks]  # those that are to hear of what is written

    @property
    def stats(self) -> Stats:
        return self.host.statistics

    async def balance(self) -> Balance:
        return await self.host.audit()

    async def balance_after(self, gateway: SmallGateway, counters: dict[str, Any] | None = None) -> Balance:
        """The balance once the host has heard what the gateway counts now."""
        said = counters or json.loads(json.dumps(gateway.epoch_counters()))
        await gateway.say_counters(json.dumps({"epochs": [said]}))
        wanted = EpochSaid.model_validate(said)
        async with asyncio.timeout(60):
            while True:
                heard = {c.epoch: EpochSaid.model_validate(c.content) for c in await self.state.counters()}
                if heard.get(gateway.epoch) == wanted:
                    return await self.balance()
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    folder: Path,
    port: int,
    influx: InfluxV1 | None = None,
    clock: Callable[[], int] = wall_ms,
    online: bool = True,
    broker: Broker | None = None,
    reorder_ms: int = REORDER_MS,
    duty: Duty | None = None,
) -> AsyncIterator[Running]:
    db = StateDb(folder / "state.db")
    await db.open()
    if influx is None:
        embedded = EmbeddedStore(folder / "samples.duckdb")
        kept = Kept(embedded, EmbeddedLedger(embedded.file))
    else:
        kept = Kept(InfluxStore(InfluxHttp(influx.url, influx.database, timeout_s=5)), SqlLedger(db))
    state, letters, live = HostState(db), DeadLetters(db), LiveValues()
    stats = Stats(started_s=clock() / 1000)
    hearing = Hearing(live, stats)
    for (node, device), born in (await state.births()).items():
        live.born(node, device, born)
    known = await state.nodes()
    hearing.nodes.restore(known)

    async def restore() -> None:
        await host.restore()

    broker = broker or Broker("127.0.0.1", port)
    removal = removal_of(kept, db, duty or Duty())

    marks: list[DayMarks] = []

    async def about_to_write(batches: Sequence[Batch]) -> None:
        await removal.settle()
        for one in marks:
            await one.touch(batches)

    collector = Collector(
        broker,
        "gaugeline",
        kept.store,
        kept.ledger,
        state,
        letters,
        hearing,
        stats,
        clock,
        restore,
        lambda: 0.0,
        reorder_ms,
        duty,
        about_to_write,
    )
    collector.remember(remembered(known))
    expiry = Expiry(kept.store, kept.ledger, state.restored, removal, lambda: own_retention_ms(kept.store), clock)
    audit = Audit(kept.store, kept.ledger, state, letters, collector.writing, removal, expiry)
    host = Host(kept.store, live, state, hearing, audit, stats, load_tariff(EXAMPLE_TARIFF), str(broker), clock)
    windows = WindowAuditor(kept.store, kept.ledger, state, letters, collector.writing, removal, expiry)
    desk = Desk("gaugeline", collector, hearing.nodes, hearing.twins, windows, clock)
    forgetting = Forgetting(hearing.nodes, state, collector, host.audit, 86_400_000, clock)
    task = asyncio.create_task(collector.run())
    try:
        if online:
            await until(lambda: collector.online)
        yield Running(host, kept, letters, state, collector, db, desk, forgetting, removal, marks)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        failed = None if task.cancelled() else task.exception()
        await kept.store.close()
        await db.close()
        if failed is not None:
            raise failed


@dataclass
class HostProcess:
    """`gaugeline cloud run` as a process of its own."""

    folder: Path
    options: list[str]
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def log(self) -> str:
        return (self.folder / "host.log").read_text()

    def start(self, wait: bool = True) -> None:
        command = [sys.executable, "-m", "gaugeline", "cloud", "run", "--http", f"127.0.0.1:{self.http}"]
        with (self.folder / "host.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.options],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        STARTED.append(self.process)
        if wait:
            wait_for_port(self.http, self.process)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self, timeout_s: float = 60.0) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)
