"""What was learnt of each asset, and who has suspended it: kept beside the outbox, changed by a person's command."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from agent.life import LifeWatch
from agent.score import Scorers
from agent.scorer import Scorer
from agent.standing import accept, check_acceptable, learnt, restore
from gateway.config import Site
from gateway.write import record
from wire.errors import ConfigError, ModelError

log = logging.getLogger(__name__)

SAVE_S = 60.0
TICK_S = 0.5
_FORMAT = 1


def baselines_path(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".models.json")


class Baselines:
    """The learnt baselines of the scorers that run. trouble: why what was learnt is not kept, '' while it is.

    ignored: why the kept file was not used at the start, '' where it was.
    """

    def __init__(self, path: Path, scorers: Scorers, now_ms: Callable[[], int]) -> None:
        self._path, self._scorers, self._now_ms = path, scorers, now_ms
        self._kept: dict[str, Any] = {}  # asset -> what was learnt last, also while its model cannot be used
        self._kept_lives: dict[str, Any] = {}  # asset -> what is known of its life
        self._held: dict[str, dict[str, Any]] = {}  # asset -> who has suspended it, why, until when
        self._deadline_s: dict[str, float] = {}  # of those that were suspended in this run
        self._placed: set[tuple[str, str]] = set()
        self._placed_lives: set[tuple[str, str]] = set()
        self._own: set[str] = set()  # assets whose own centre is known
        self._written, self._written_s = "", time.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.saved_ms: int | None = None
        self.trouble = self.ignored = ""

    def restore(self) -> None:
        """At the start. A file that is missing is nothing new; one that is damaged is told, and every asset begins
        anew."""
        try:
            self._kept, self._held, self._kept_lives = _read(self._path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as fault:
            why = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
            self._ignore(f"{self._path} cannot be used ({why}): every baseline begins anew")
        self._place()

    async def run(self) -> None:
        """Ends what was suspended for a time, and saves, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._place()
            for asset in [asset for asset in self._held if self._over(asset)]:
                log.info("asset is no longer suspended, its time is over", extra={"asset": asset})
                self._release(asset)
            managed = {s.asset: s.running.baseline for s in self._scorers.all() if s.running.baseline is not None}
            own = {asset for asset, baseline in managed.items() if not baseline.learning}
            # What took hours to learn is not risked for a minute.
            if time.monotonic() - self._written_s >= SAVE_S or own - self._own:
                await self.save()
            self._own = own

    async def save(self) -> None:
        """Durable when it returns, but for a disk that refuses: that is told, and tried again."""
        async with self._one_at_a_time:
            self._written_s = time.monotonic()
            self._kept |= {s.asset: kept for s in self._scorers.all() if (kept := learnt(s)) is not None}
            self._kept_lives |= {each.asset: each.saved() for each in self._scorers.lives()}
            content = {"assets": self._kept, "suspended": self._held, "lives": self._kept_lives}
            text = json.dumps(content, sort_keys=True)
            if text == self._written or not (self._kept or self._held or self._kept_lives or self._written):
                return
            if self._writing is not None:  # of a save that was cancelled: two would write one file
                await asyncio.wait([self._writing])
            self._writing = asyncio.create_task(asyncio.to_thread(_write, self._path, text))
            try:
                await asyncio.shield(self._writing)
            except OSError as fault:
                if not self.trouble:
                    log.error("baselines not kept", extra={"path": str(self._path), "error": fault.strerror})
                self.trouble = f"{self._path} cannot be written: {fault.strerror}; what is learnt is lost at a restart"
                return
            self._written, self.saved_ms, self.trouble = text, self._now_ms(), ""

    async def command(self, asked: Mapping[str, Any], who: str, site: Site) -> dict[str, Any]:
        """suspend, resume or accept: on record before it is done. Raises ConfigError: nothing was done then."""
        do, asset, why, for_s = asked.get("do"), asked.get("asset"), asked.get("why") or "", asked.get("for_s")
        now_ms = self._now_ms()
        entry: dict[str, Any] = {"id": token_hex(6), "ts_ms": now_ms, "who": who, "what": f"model {do} {asset}"}
        entry |= {"why": str(why)} if why else {}
        try:
            if do == "overhaul":
                watch = self._life(asset)
                record(site, entry | {"result": "done"})
                watch.reset()
                await self.save()
                return entry | {"result": "done"}
            scorer = self._scorer(asset)
            if do == "suspend":
                until_ms = None if for_s is None else now_ms + round(1000 * _length_s(for_s))
                entry |= {"until_ms": until_ms}
                record(site, entry | {"result": "done"})
                self._held[scorer.asset] = {"who": who, "why": str(why), "since_ms": now_ms, "until_ms": until_ms}
                self._deadline_s.pop(scorer.asset, None)
                if for_s is not None:
                    self._deadline_s[scorer.asset] = time.monotonic() + float(for_s)
                scorer.maintained = True
            elif do == "resume":
                if scorer.asset not in self._held:
                    raise ModelError(f"asset {asset} is not suspended by a person")
                record(site, entry | {"result": "done"})
                self._release(scorer.asset)
            elif do == "accept":
                check_acceptable(scorer)
                record(site, entry | {"result": "done"})
                accept(scorer)
            else:
                raise ModelError("commands are suspend, resume, accept and overhaul")
        except ModelError as fault:
            record(site, entry | {"result": "refused", "error": str(fault)})
            raise ConfigError(str(fault)) from fault
        log.info("told by a person", extra={"who": who, "what": entry["what"], "why": str(why)})
        await self.save()
        return entry | {"result": "done"}

    def status(self) -> dict[str, dict[str, Any]]:
        """As the scorers say it, with who has suspended an asset."""
        found = self._scorers.status()
        for asset, held in self._held.items():
            if asset in found:
                found[asset]["maintenance"] = dict(held)
        return found

    def kept_status(self) -> dict[str, Any]:
        return {"saved_ms": self.saved_ms, "trouble": self.trouble, "ignored": self.ignored}

    def _scorer(self, asset: object) -> Scorer:
        scorer = self._scorers.of(str(asset))
        if scorer is None:
            scored = ", ".join(each.asset for each in self._scorers.all()) or "none"
            raise ModelError(f"no asset {asset!r} is scored here; scored are: {scored}")
        return scorer

    def _life(self, asset: object) -> LifeWatch:
        found = {each.asset: each for each in self._scorers.lives()}
        if asset not in found:
            raise ModelError(f"no life of an asset {asset!r} is told here; told are: {', '.join(found) or 'none'}")
        return found[str(asset)]

    def _place_lives(self) -> None:
        """As _place, of what tells remaining lives."""
        now = {(each.asset, each.seal) for each in self._scorers.lives()}
        for each in self._scorers.lives():
            if (each.asset, each.seal) not in self._placed_lives and each.asset in self._kept_lives and not each.rows:
                try:
                    each.restore(self._kept_lives[each.asset])
                except ValueError as fault:
                    self._ignore(f"{fault}: it begins anew")
        self._placed_lives = now

    def _place(self) -> None:
        """Scorers that are new get what was kept of their asset; a reload may have brought them."""
        self._place_lives()
        now = {(scorer.asset, scorer.seal) for scorer in self._scorers.all()}
        for scorer in self._scorers.all():
            scorer.maintained = scorer.asset in self._held
            if (scorer.asset, scorer.seal) in self._placed or scorer.asset not in self._kept:
                continue
            try:
                if restore(scorer, self._kept[scorer.asset]):
                    log.info("baseline restored", extra={"asset": scorer.asset})
            except ValueError as fault:
                self._ignore(f"{fault}: its baseline begins anew")
        self._placed = now

    def _ignore(self, why: str) -> None:
        self.ignored = why
        log.error("kept baselines are ignored", extra={"error": why})

    def _over(self, asset: str) -> bool:
        until_ms, deadline_s = self._held[asset]["until_ms"], self._deadline_s.get(asset)
        if deadline_s is not None:
            return time.monotonic() >= deadline_s
        return until_ms is not None and self._now_ms() >= int(until_ms)

    def _release(self, asset: str) -> None:
        del self._held[asset]
        self._deadline_s.pop(asset, None)
        if (scorer := self._scorers.of(asset)) is not None:
            scorer.maintained = False


def _length_s(for_s: object) -> float:
    if not isinstance(for_s, int | float) or isinstance(for_s, bool) or not (math.isfinite(for_s) and for_s > 0):
        raise ModelError(f"the time must be above 0 seconds (got {for_s!r})")
    return float(for_s)


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"format": _FORMAT, "sha256": _seal(text), "content": text}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, Any]]:
    """Raises OSError, or ValueError for a file that is not as it was written."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError("made by another version of Gaugeline, or damaged")
    text = str(found.get("content"))
    if found.get("sha256") != _seal(text):
        raise ValueError("damaged")
    content = json.loads(text)
    return content["assets"], content["suspended"], content.get("lives", {})
