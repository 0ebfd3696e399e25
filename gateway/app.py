"""The composition root: one process, one outbox, one uplink, a supervised task per line."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import time
from collections import Counter
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from agent.derive import Deriver
from gateway.baselines import Baselines, baselines_path
from gateway.births import BirthBook, Latest
from gateway.clock import Clocks, MachineClocks
from gateway.config import Site
from gateway.illegal import IllegalFile, illegal_path
from gateway.lines import Lines, ended
from gateway.notify import Notifier
from gateway.outbox.store import Outbox
from gateway.problems import problems
from gateway.queue_figures import QueueFigures
from gateway.readings import reading_json
from gateway.reload import ConfigStatus, Reloader, site_tags
from gateway.resend import ResendWindow, TrustWindow
from gateway.scoring import TimedScorers
from gateway.scrape import Scrape
from gateway.sink import OutboxSink
from gateway.stamping import StampingSink
from gateway.status import listening, sole_owner
from gateway.supervise import supervised
from gateway.surroundings import surroundings
from gateway.time_watch import TimeWatch
from gateway.timekeeper import Timekeeper
from gateway.uplink import Uplink
from gateway.watchdog import Watchdog
from gateway.write import user, written
from wire.errors import ConfigError, StoreFull

log = logging.getLogger(__name__)

DRAIN_S = 10.0


async def run(site: Site, for_s: float | None = None) -> int:
    """Runs until SIGTERM, SIGINT or for_s; then drains and leaves. Raises Busy, StoreFull, ConfigError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        with sole_owner(site.outbox.path):
            gateway = Gateway(site, Notifier.of(os.environ, os.getpid()))
            await gateway.open()
            loop.add_signal_handler(signal.SIGHUP, gateway.reload_soon)
            async with listening(site.outbox.path, gateway.answer):
                await gateway.run(stop, for_s)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
    return 0


class Gateway:
    """Everything of one run. open, then run; answer serves the control socket meanwhile."""

    def __init__(self, site: Site, notifier: Notifier | None = None, clocks: Clocks | None = None) -> None:
        """clocks: of this machine, if none are given."""
        self._start = site
        self._notifier = notifier or Notifier()
        self._keeper = Timekeeper(clocks or MachineClocks(), site.clock)
        self._scorers = TimedScorers(site.assets, site.lines, surroundings(site, self._utc_ms))
        self._latest = Latest()
        self._outbox = Outbox(site.outbox, site.node, site.hosts, self._keeper.now_ms)
        self._sink = StampingSink(
            OutboxSink(self._outbox, self._latest), self._outbox, self._latest, self._keeper
        )  # fmt: skip
        self._baselines = Baselines(baselines_path(site.outbox.path), self._scorers, self._keeper.now_ms)
        self._restarts: Counter[str] = Counter()
        memory = IllegalFile(illegal_path(site.outbox.path))
        self._lines = Lines(
            [line.name for line in site.lines], self._sink, self._scorers, self._restarts, memory, self._keeper.agent_ms
        )  # fmt: skip
        self._started = time.monotonic()
        self._versions: dict[str, str] = {}
        self._uplink: Uplink | None = None
        self._book = BirthBook({}, {}, {}, self._latest)
        self._reloader: Reloader | None = None
        self._watchdog = Watchdog(
            self._notifier, self._outbox, self._sink.taken, self._restarts, self._lines.status, lambda: self.site,
            lambda: self._uplink.state if self._uplink is not None else "down",
        )  # fmt: skip
        self._figures = QueueFigures(self._outbox, site.outbox)
        self._scrape = None if site.metrics is None else Scrape(site.metrics, self._exposed)

    async def open(self) -> None:
        """Raises StoreFull, ConfigError."""
        for problem in self._scorers.problems():
            log.warning("not scored", extra={"problem": problem})
        self._versions = versions()
        site = self._start
        tags = site_tags(site, self._scorers.tags())
        await self._outbox.open(tags, [line.name for line in site.lines])
        self._book.replace(tags, {spec.id: spec.asset for spec in site.assets}, self._outbox.aliases)
        self._baselines.restore()
        self._keeper.begin(*await self._outbox.anchor(self._keeper.boot_id))
        await self._sink.begin()
        window = ResendWindow() if site.confirming else TrustWindow(max(b.keepalive_s for b in site.brokers))
        self._uplink = Uplink(
            site.brokers, site.node, site.hosts, self._outbox, self._book, window, self._keeper.now_ms, site.compress,
            self._keeper.host_said,
        )  # fmt: skip

    @property
    def site(self) -> Site:
        """The configuration that runs now."""
        return self._reloader.site if self._reloader is not None else self._start

    def reload_soon(self) -> None:
        if self._reloader is not None:
            self._reloader.soon()

    async def run(self, stop: asyncio.Event, for_s: float | None) -> None:
        """Until stop or for_s. Sampling ends first, then what it gave is committed and drained."""
        uplink = self._uplink
        if uplink is None:
            raise RuntimeError("open comes before run")
        deriver = Deriver(self._start.lines, {})
        watch = TimeWatch(self._keeper, self._sink, self._outbox, lambda: uplink.state == "online")
        clean = False
        try:
            async with asyncio.TaskGroup() as group:
                commits = group.create_task(supervised("outbox", self._outbox.run, self._restarts), name="outbox")
                up = group.create_task(supervised("uplink", uplink.run, self._restarts), name="uplink")
                clock = group.create_task(supervised("clock", watch.run, self._restarts), name="clock")
                self._lines.start(group, self._start.lines, deriver)
                self._reloader = Reloader(
                    self._start, self._lines, self._outbox, self._scorers, deriver, self._latest, self._book, group,
                    uplink.reborn, self._reloading,
                )  # fmt: skip
                reloads = group.create_task(supervised("reload", self._reloader.run, self._restarts), name="reload")
                watching = self._watch(group)
                log.info("gateway runs", extra={"node": str(self._start.node), "epoch": self._outbox.epoch})
                self._notifier.ready(self._watchdog.summary())
                await _wait(stop, for_s)
                log.info("gateway stops", extra={"drain_s": DRAIN_S})
                await self._reloader.close()
                self._notifier.stopping()
                await ended([reloads])
                await self._lines.stop_all()
                await ended([clock])
                await self._drain(uplink)
                await ended([up, *watching])
                await self._baselines.save()
                self._outbox.stop()
                await commits
            clean = True
        finally:
            await self._outbox.close(clean)

    def _watch(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        works = {"pulse": self._watchdog.pulse, "watchdog": self._watchdog.run}
        works |= {"baselines": self._baselines.run}
        works |= {"metrics": self._scrape.run} if self._scrape is not None else {}
        return [group.create_task(supervised(name, work, self._restarts), name=name) for name, work in works.items()]

    def _reloading(self, begins: bool) -> None:
        if begins:
            self._notifier.reloading()
        else:
            self._notifier.ready(self._watchdog.summary())

    async def _exposed(self) -> bytes:
        from gateway.metrics import exposition  # 2.5 MB that only those who want metrics pay

        return await asyncio.to_thread(exposition, await self.status())

    async def _drain(self, uplink: Uplink) -> None:
        try:
            await self._outbox.flush()
        except StoreFull as fault:
            log.error("the last samples cannot be committed", extra={"error": str(fault)})
        if not await uplink.drain(DRAIN_S):
            batches, _ = await self._outbox.pending()
            log.warning("not everything is confirmed, it is kept", extra={"pending_batches": batches})

    async def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The control socket's commands: status, outbox, latest, write, model, reload."""
        if asked.get("cmd") == "status":
            return await self.status()
        if asked.get("cmd") == "outbox":
            return await self._outbox.look(asked)
        if asked.get("cmd") == "latest":
            return {"readings": [reading_json(tag, sample) for tag, sample in self._latest.samples()]}
        if asked.get("cmd") == "write":
            return await self._write(str(asked.get("tag")), str(asked.get("value")), user(int(asked["uid"])))
        if asked.get("cmd") == "model":
            return await self._model(asked)
        if asked.get("cmd") == "reload" and self._reloader is not None:
            return await self._reloader.reload()
        return {"error": "commands are status, outbox, latest, write, model, reload"}

    async def _write(self, target: str, text: str, who: str) -> dict[str, Any]:
        try:
            entry = await written(self.site, target, text, who, self._lines.write)
        except ConfigError as fault:
            return {"error": str(fault)}
        fields = {name: entry[name] for name in ("who", "what", "from", "to", "result")}
        log.log(logging.INFO if entry["result"] == "done" else logging.WARNING, "written to a device", extra=fields)
        return entry

    async def _model(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._baselines.command(asked, user(int(asked["uid"])), self.site)
        except ConfigError as fault:
            return {"error": str(fault)}

    async def status(self) -> dict[str, Any]:
        found = {
            "group": self.site.node.group,
            "gateway": self.site.node.node,
            "epoch": self._outbox.epoch,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "versions": self._versions,
            "config": asdict(self._reloader.status if self._reloader is not None else ConfigStatus()),
            "uplink": self._uplink_status(),
            **(outbox := await self._figures.read()),
            "clock": {**self._keeper.status(), **outbox["clock"], "ahead_ms": self._sink.ahead_ms()},
            "lines": self._in_utc(self._watchdog.lines_status()),
            "scoring": self._baselines.status(),
            "baselines": self._baselines.kept_status(),
            "scored": {"rows": self._scorers.rows, "seconds": round(self._scorers.seconds, 6)},
            "restarts": dict(self._restarts),
            **self._watchdog.status(),
        }
        if self._scrape is not None:
            found["metrics"] = {"port": self._scrape.port, "trouble": self._scrape.trouble}
        return found | {"problems": problems(found)}

    def _uplink_status(self) -> dict[str, Any]:
        if self._uplink is None:
            return {"state": "down"}
        found = self._uplink.status()
        host = {"online": "online", "waiting for host": "not online"}.get(found["state"], "unknown")
        primary = {"id": self.site.hosts[0] if self.site.hosts else "", "state": host}
        return found | {"primary_host": primary, "since_ms": self._watchdog.history.of()["since_ms"]}

    def _utc_ms(self, agent_ms: int) -> int | None:
        return self._keeper.utc_ms(agent_ms) if self._keeper.known else None

    def _in_utc(self, lines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Times of the agent in UTC."""
        for line in lines.values():
            for unit in line["units"].values():
                if unit["last_answer_ms"] is not None:
                    unit["last_answer_ms"] = self._keeper.utc_ms(unit["last_answer_ms"])
        return lines


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("gaugeline", "aiomqtt", "paho-mqtt", "pymodbus", "numpy", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


async def _wait(stop: asyncio.Event, for_s: float | None) -> None:
    try:
        async with asyncio.timeout(for_s):
            await stop.wait()
    except TimeoutError:
        return
