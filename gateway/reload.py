"""A changed site.yaml while the gateway runs: what changed is restarted, the rest and the outbox are not touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.derive import Deriver
from agent.score import Scorers
from agent.spec import LineSpec
from gateway.births import BirthBook, Latest
from gateway.clock import now_ms
from gateway.config import Site
from gateway.config.apart import load_apart
from gateway.lines import Lines
from gateway.outbox.store import Outbox
from gateway.plan import check_fits, loads, warnings
from wire.errors import ConfigError, StoreFull
from wire.tag import Tag

log = logging.getLogger(__name__)

_Look = tuple[tuple[int, int, int] | None, ...]

LOOK_S = 2.0
"""How often site.yaml and models are looked at. They must look the same twice: an editor may still be writing."""

# key of the site -> its word in site.yaml
_NEEDS_RESTART = {
    "node": "group or gateway", "brokers": "broker", "hosts": "hosts", "confirming": "confirm", "outbox": "outbox",
    "compress": "compress", "metrics": "metrics", "clock": "clock",
    "model_key": "models", "time_zone": "time_zone",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What a new site means for the lines: names to stop, lines to start. gone: line -> devices no longer on it."""

    stop: tuple[str, ...]
    start: tuple[LineSpec, ...]
    gone: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        started = [line.name for line in self.start]
        removed = [name for name in self.stop if name not in started]
        added = [name for name in started if name not in self.stop]
        changed = [name for name in started if name in self.stop]
        kinds = [("changed", changed), ("added", added), ("removed", removed)]
        return "; ".join(f"{kind} lines: {', '.join(names)}" for kind, names in kinds if names) or "no line changed"


def difference(old: Site, new: Site) -> Change:
    """Raises ConfigError for what only a restart can change."""
    fixed = [name for name in _NEEDS_RESTART if getattr(old, name) != getattr(new, name)]
    if fixed:
        words = ", ".join(_NEEDS_RESTART[name] for name in fixed)
        raise ConfigError(f"{new.path}: a change of {words} needs a restart of the gateway")
    before, after = {line.name: line for line in old.lines}, {line.name: line for line in new.lines}
    gone = {
        name: tuple(d.id for d in line.devices if name not in after or d.id not in {x.id for x in after[name].devices})
        for name, line in before.items()
    }
    return Change(
        tuple(name for name, line in before.items() if after.get(name) != line),
        tuple(line for name, line in after.items() if before.get(name) != line),
        gone,
    )


def checked(path: Path) -> Site:
    """The site of a file. Raises ConfigError with every problem."""
    site = load_apart(path)
    found = loads(site)
    check_fits(site, found)
    for problem in warnings(site, found):
        log.warning("no room for a fault", extra={"problem": problem})
    return site


def site_tags(site: Site, score_tags: Sequence[Tag]) -> dict[str, list[Tag]]:
    """device -> its tags, score devices included: everything that can be appended."""
    tags = {device.id: list(device.tags) for device in site.devices}
    for tag in score_tags:
        tags.setdefault(tag.device, []).append(tag)
    return tags


@dataclass(slots=True)
class ConfigStatus:
    """loaded_ms: when the configuration that runs was read. error: why a newer file is not used, '' when it is."""

    loaded_ms: int = field(default_factory=now_ms)
    reloads: int = 0
    error: str = ""


class Reloader:
    """site: what runs now. reload() never leaves the gateway without a configuration: the old one runs on."""

    def __init__(
        self, site: Site, lines: Lines, outbox: Outbox, scorers: Scorers, deriver: Deriver, latest: Latest,
        book: BirthBook, group: asyncio.TaskGroup, reborn: Callable[[], None],
        told: Callable[[bool], None] = lambda begins: None,
    ) -> None:  # fmt: skip
        """told: hears True when a reload begins and False when it has ended."""
        self.site = site
        self._lines, self._outbox, self._scorers, self._latest, self._book = lines, outbox, scorers, latest, book
        self._deriver, self._group, self._reborn, self._told = deriver, group, reborn, told
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._closed = False
        self.status = ConfigStatus()
        self._read: _Look | None = None  # the file as it was read last: what was reloaded on command is no news

    def soon(self) -> None:
        """SIGHUP."""
        self._wanted.set()

    async def run(self) -> None:
        """Reloads when it is asked to, and when a file has changed and is written to its end."""
        seen = _look(self.site)
        changing = False
        while True:
            asked = await self._asked_within(LOOK_S)
            now = _look(self.site)
            if asked or (changing and now == seen and now != self._read):
                changing = False
                await self.reload()
            elif now != seen:
                changing = None not in now
            seen = now

    async def _asked_within(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                await self._wanted.wait()
        except TimeoutError:
            return False
        self._wanted.clear()
        return True

    async def close(self) -> None:
        """Waits for a reload that is under way; there is none after it."""
        async with self._one_at_a_time:
            self._closed = True

    async def reload(self) -> dict[str, Any]:
        """What was done: {done: text} or {error: text, problems: [text]}."""
        async with self._one_at_a_time:
            if self._closed:
                return {"error": "the gateway stops", "problems": ["the gateway stops"]}
            self._told(True)
            try:
                self._read = _look(self.site)
                new = await asyncio.to_thread(checked, self.site.path)
                change = difference(self.site, new)
                self._read = self._read[:1] + _look(new)[1:]  # perhaps of other models
                exchanged = await self._apply(new, change)
            except (ConfigError, StoreFull) as fault:
                problems = list(fault.problems) if isinstance(fault, ConfigError) else [str(fault)]
                self.status.error = "; ".join(problems)
                extra = {"problems": len(problems), "error": problems[0]}
                log.error("new configuration is not used, the old one runs on", extra=extra)
                return {"error": self.status.error, "problems": problems}
            finally:
                self._told(False)
            self.status.error = ""
            self.status.loaded_ms = now_ms()
            self.status.reloads += 1
            done = f"{change}; new models: {', '.join(exchanged)}" if exchanged else str(change)
            log.info("configuration reloaded", extra={"change": done})
            return {"done": done}

    async def _apply(self, new: Site, change: Change) -> list[str]:
        """The assets whose model was exchanged. Raises StoreFull; then everything is as before."""
        old_scorers, old_deriver = self._scorers.copied(), self._deriver.copied()
        new_scorers = await asyncio.to_thread(self._scorers.renewed, new.assets, new.lines)
        new_deriver = self._deriver.renewed(new.lines)
        exchanged = self._scorers.exchanged(new_scorers)
        dead = [d for name in change.stop for d in self._lines.dead(name)]
        await self._lines.stop(change.stop)
        # What old tags, scores and expressions gave must be committed under their aliases before new ones are known.
        self._scorers.adopt(self._scorers.shared(new_scorers))
        self._deriver.adopt(self._deriver.shared(new_deriver))
        tags = site_tags(new, new_scorers.tags())
        try:
            await self._outbox.flush()
            await self._outbox.register(tags)
        except Exception:
            self._scorers.adopt(old_scorers)
            self._deriver.adopt(old_deriver)
            stopped = [line for line in self.site.lines if line.name in change.stop]
            self._lines.start(self._group, stopped, self._deriver)
            raise
        self._latest.keep(tags)
        self._book.replace(tags, {spec.id: spec.asset for spec in new.assets}, self._outbox.aliases)
        self._reborn()
        self._scorers.adopt(new_scorers)
        for problem in self._scorers.problems():
            log.warning("model not used", extra={"problem": problem})
        self._deriver.adopt(new_deriver)
        self.site = new
        for name, devices in change.gone.items():
            self._lines.forget(name, devices)
        for device in dead:
            if device in tags:  # a device counts as alive until its line says otherwise
                self._outbox.device_state(device, True)
        self._lines.start(self._group, change.start, self._deriver)
        return exchanged


def _look(site: Site) -> _Look:
    """The file and its models."""
    named = {spec.model for spec in site.assets} | {spec.life.model for spec in site.assets if spec.life is not None}
    models = sorted(model for model in named if model is not None)
    return tuple(_stat(path) for path in (site.path, *models))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
