"""Scores: a scorer per asset turns Blocks of its input tags into Blocks of its score device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from agent.life import LifeWatch
from agent.scorer import Scorer, Surroundings, Tags
from agent.spec import AssetSpec, LineSpec
from agent.standing import standing
from models import manifest as manifests
from models.runtime import Model, of_content
from wire.block import Block
from wire.errors import ModelError
from wire.tag import Tag


class Scorers:
    """One Scorer per asset with a model that loads and fits."""

    def __init__(
        self, assets: Sequence[AssetSpec], lines: Sequence[LineSpec], around: Surroundings | None = None
    ) -> None:
        """Loads the models. Never raises for a model: problems() says what is not scored and why."""
        self._around = around or Surroundings()
        self._scorers: list[Scorer] = []
        self._problems: dict[str, str] = {}
        self._final = True
        self._lives: list[LifeWatch] = []
        self._life_problems: dict[str, str] = {}
        self._of_device: dict[str, list[Scorer | LifeWatch]] = {}
        self._load(assets, tags_of(lines), {})
        self._load_lives(assets, tags_of(lines), {})

    def _load(self, assets: Sequence[AssetSpec], tags: Tags, running: Mapping[str, Scorer]) -> None:
        # Assets with the same file share what it takes; each runs on its own.
        models = {scorer.digest: scorer.model for scorer in running.values()}
        for asset in assets:
            if asset.model is None:
                continue
            now = running.get(asset.id)
            fits = now is not None and now.fits(asset, tags)
            try:
                content = manifests.content_of(asset.model)
                digest = hashlib.sha256(content).hexdigest()
                if now is not None and fits and now.digest == digest:
                    self._scorers.append(now)
                    continue
                if digest not in models:
                    models[digest] = of_content(content, asset.model, self._around.verify)
                seal = manifests.signed_part(content, str(asset.model)).decode()
                self._scorers.append(Scorer(asset, models[digest], tags, digest, seal, self._around))
            except ModelError as fault:
                self._problems[asset.id] = str(fault)
                if now is not None and fits:
                    self._problems[asset.id] += f"; the model that ran before goes on ({_name(now.model)})"
                    self._scorers.append(now)
        self._index()

    def _load_lives(self, assets: Sequence[AssetSpec], tags: Tags, running: Mapping[str, LifeWatch]) -> None:
        for asset in assets:
            if asset.life is None:
                continue
            now = running.get(asset.id)
            try:
                new = LifeWatch(asset, asset.life, tags, self._around)
                if now is not None and now.fits(asset) and now.digest == new.digest and now.tags == new.tags:
                    new = now
                elif now is not None:
                    new.inherit(now)
                self._lives.append(new)
            except ModelError as fault:
                self._life_problems[asset.id] = str(fault)
                if now is not None and now.fits(asset):
                    self._life_problems[asset.id] += f"; the model that ran before goes on ({now.name})"
                    self._lives.append(now)
        self._index()

    def _index(self) -> None:
        self._of_device = {}
        judges: list[Scorer | LifeWatch] = [*self._scorers, *self._lives]
        for scorer in judges:
            for device in scorer.devices:
                self._of_device.setdefault(device, []).append(scorer)

    def copied(self) -> Scorers:
        """The same scorers in a list of its own."""
        return self._some(self._scorers)

    def renewed(self, assets: Sequence[AssetSpec], lines: Sequence[LineSpec]) -> Scorers:
        """Those of another configuration; a scorer whose asset, inputs and model stay what they are goes on warm."""
        new = Scorers((), (), self._around)
        new._load(assets, tags_of(lines), {scorer.asset: scorer for scorer in self._scorers})
        new._load_lives(assets, tags_of(lines), {each.asset: each for each in self._lives})
        return new

    def shared(self, other: Scorers) -> Scorers:
        """Who judges until the other takes over: ours, where what they say is known under its name to both; else the
        other's, which keep what they have to say until then."""
        ours = {scorer.asset: scorer for scorer in self._scorers}
        found = []
        for theirs in other._scorers:
            mine = ours.get(theirs.asset)
            if mine is None or mine.tags != theirs.tags:
                theirs.hold()
            found.append(mine if mine is not None and mine.tags == theirs.tags else theirs)
        between = self._some(found)
        # What is left of a life is told once in hours: a new estimator begins with its adoption.
        known = {each.asset: each.tags for each in other._lives}
        between._lives = [each for each in self._lives if known.get(each.asset) == each.tags]
        between._index()
        between._final = False
        return between

    def _some(self, scorers: Sequence[Scorer]) -> Scorers:
        new = Scorers((), (), self._around)
        new._scorers, new._problems = list(scorers), dict(self._problems)
        new._lives, new._life_problems = list(self._lives), dict(self._life_problems)
        new._index()
        return new

    def exchanged(self, other: Scorers) -> list[str]:
        """The assets for which the other has another model."""
        ours = {scorer.asset: scorer.digest for scorer in self._scorers}
        return [s.asset for s in other._scorers if ours.get(s.asset, s.digest) != s.digest]

    def adopt(self, other: Scorers) -> None:
        """Becomes what the other is, between two Blocks; a new scorer goes on with the row that an old one began."""
        before = {scorer.asset: scorer for scorer in self._scorers}
        for scorer in other._scorers:
            old = before.get(scorer.asset)
            if old is not None and old is not scorer:
                scorer.inherit(old)
            if other._final:
                scorer.release()
        self._scorers, self._problems, self._of_device = other._scorers, other._problems, other._of_device
        self._lives, self._life_problems = other._lives, other._life_problems

    def score(self, block: Block) -> list[Block]:
        """Blocks of score devices that this Block completes; mostly none or one."""
        return [told for scorer in self._of_device.get(block.device, ()) for told in scorer.score(block)]

    def tags(self) -> list[Tag]:
        """The tags of all score devices, in birth order."""
        judges: list[Scorer | LifeWatch] = [*self._scorers, *self._lives]
        return [tag for each in judges for tag in each.tags]

    def problems(self) -> list[str]:
        """One `asset ID: what is wrong` each for assets whose model is not used."""
        lives = [f"asset {asset}: life: {why}" for asset, why in self._life_problems.items()]
        return [f"asset {asset}: {why}" for asset, why in self._problems.items()] + lives

    def all(self) -> tuple[Scorer, ...]:
        return tuple(self._scorers)

    def lives(self) -> tuple[LifeWatch, ...]:
        return tuple(self._lives)

    def of(self, asset: str) -> Scorer | None:
        return next((scorer for scorer in self._scorers if scorer.asset == asset), None)

    def status(self) -> dict[str, dict[str, Any]]:
        """asset -> state on or off, what is wrong with its model ('' where nothing is), which model runs, and how it
        stands with its asset."""
        found: dict[str, dict[str, Any]] = {
            asset: {"state": "off", "problem": why, "model": ""} for asset, why in self._problems.items()
        }
        for scorer in self._scorers:
            why = self._problems.get(scorer.asset, "")
            found[scorer.asset] = {"state": "on", "problem": why, "model": _name(scorer.model)}
            found[scorer.asset] |= standing(scorer, self._around.utc_ms)
        for life in self._lives:
            found.setdefault(life.asset, {"state": "", "problem": "", "model": ""})["life"] = life.status()
        for asset, why in self._life_problems.items():
            of_asset = found.setdefault(asset, {"state": "", "problem": "", "model": ""})
            of_asset["life"] = of_asset.get("life", {"state": "off", "model": "", "rows": 0}) | {"problem": why}
        return found


def _name(model: Model) -> str:
    said = model.manifest
    return f"{said.name} version {said.version}, {'signed' if said.signature else 'not signed'}"


def tags_of(lines: Sequence[LineSpec]) -> Tags:
    return {
        (device.id, tag.name): (tag, period_s)
        for line in lines
        for device in line.devices
        for tag, period_s in (
            *((p.tag, p.period_s or device.period_s) for p in device.points),
            *((d.point.tag, d.period_s) for d in device.derived),
        )
    }
