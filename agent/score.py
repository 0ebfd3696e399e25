"""Scores: a scorer per asset turns Blocks of its input tags into Blocks of its score device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agent.spec import AssetSpec, LineSpec
from agent.window import Row, Window
from models.manifest import Manifest
from models.runtime import Model, load
from wire.block import Block, Quality, Reason
from wire.errors import ModelError
from wire.tag import Datatype, Tag, TagTable

# A device polled slower than this many model periods gives no row that the model knows.
_SLOWEST_PERIODS = 1.5
_LARGEST = float(np.finfo(np.float32).max)
_THRESHOLD, _ANOMALY = 1, 2  # columns; the score is first, the shares come behind


_Tags = Mapping[tuple[str, str], tuple[Tag, float]]
"""(device, tag name) -> the tag and its device's period in seconds."""


class Scorer:
    """One asset's model at work. Raises ModelError when the model does not fit the asset."""

    def __init__(self, asset: AssetSpec, model: Model, tags: Mapping[tuple[str, str], tuple[Tag, float]]) -> None:
        """tags: (device, tag name) -> the tag and its device's period in seconds."""
        manifest = model.manifest
        inputs = _inputs(asset, manifest, tags)
        self.asset = asset.id
        self._spec = asset
        self._given = {key: tags[key] for key in inputs}
        self.inputs = inputs
        self.tags = TagTable(_score_tags(asset, manifest))
        self._running = model.start()
        self._window = Window(inputs, manifest.period_s * 1000)
        # After so long a pause nothing that the model remembers belongs to now.
        self._forget_ms = max(1, manifest.warm_up_rows) * manifest.period_s * 1000
        self._scored_ms: int | None = None
        self._threshold = float(np.float32(manifest.threshold))

    def fits(self, asset: AssetSpec, tags: _Tags) -> bool:
        """True when it would be made the same of these."""
        return asset == self._spec and all(tags.get(key) == given for key, given in self._given.items())

    def score(self, block: Block) -> Block | None:
        """The score Block of the row that this Block completes. Its stamp is that of the newest input."""
        row = self._window.row(block)
        if row is None:
            return None
        if row.bad:
            return self._without(row, Reason.INPUT_BAD)
        if self._scored_ms is not None and row.ts_ms - self._scored_ms > self._forget_ms:
            self._running.reset()
        self._scored_ms = row.ts_ms
        result = self._running.score(row.values)
        if result.warming:
            return self._without(row, Reason.WARMING_UP)
        values = np.array([result.score, self._threshold, np.nan, *result.shares])
        if not np.isfinite(result.score) or not np.isfinite(result.shares).all():
            return self._without(row, Reason.NOT_A_NUMBER)
        if abs(result.score) > _LARGEST:
            return self._without(row, Reason.OUT_OF_RANGE)
        return Block(
            row.ts_ms,
            self.tags,
            values.astype(np.float32).astype(np.float64),
            np.full(len(self.tags), Quality.GOOD, np.uint8),
            np.zeros(len(self.tags), np.uint8),
            {_ANOMALY: bool(result.anomaly)},
        )

    def _without(self, row: Row, reason: Reason) -> Block:
        """No score, and why; the threshold stays what it is."""
        n = len(self.tags)
        values, quality, reasons = np.full(n, np.nan), np.full(n, Quality.BAD, np.uint8), np.full(n, reason, np.uint8)
        values[_THRESHOLD], quality[_THRESHOLD], reasons[_THRESHOLD] = self._threshold, Quality.GOOD, Reason.NONE
        return Block(row.ts_ms, self.tags, values, quality, reasons)


class Scorers:
    """One Scorer per asset with a model that loads and fits."""

    def __init__(self, assets: Sequence[AssetSpec], lines: Sequence[LineSpec]) -> None:
        """Loads the models. Never raises for a model: problems() says what is not scored and why."""
        self._scorers: list[Scorer] = []
        self._problems: list[str] = []
        self._of_device: dict[str, list[Scorer]] = {}
        self._load(assets, tags_of(lines), {})

    def _load(self, assets: Sequence[AssetSpec], tags: _Tags, running: Mapping[str, Scorer]) -> None:
        models: dict[Path, Model] = {}  # assets of one kind share what their file takes; each runs on its own
        for asset in assets:
            if asset.model is None:
                continue
            now = running.get(asset.id)
            if now is not None and now.fits(asset, tags):
                self._scorers.append(now)
                continue
            try:
                if asset.model not in models:
                    models[asset.model] = load(asset.model)
                self._scorers.append(Scorer(asset, models[asset.model], tags))
            except ModelError as fault:
                self._problems.append(f"asset {asset.id}: {fault}")
        self._index()

    def _index(self) -> None:
        self._of_device = {}
        for scorer in self._scorers:
            for device in {device for device, _ in scorer.inputs}:
                self._of_device.setdefault(device, []).append(scorer)

    def copied(self) -> Scorers:
        """The same scorers in a list of its own."""
        return self.shared(self)

    def renewed(self, assets: Sequence[AssetSpec], lines: Sequence[LineSpec]) -> Scorers:
        """Those of another configuration; a scorer whose asset and inputs stay what they are goes on warm."""
        new = Scorers((), ())
        new._load(assets, tags_of(lines), {scorer.asset: scorer for scorer in self._scorers})
        return new

    def shared(self, other: Scorers) -> Scorers:
        """The scorers that both have."""
        both = Scorers((), ())
        both._scorers = [scorer for scorer in self._scorers if scorer in other._scorers]
        both._problems = list(self._problems)
        both._index()
        return both

    def adopt(self, other: Scorers) -> None:
        """Becomes what the other is."""
        self._scorers, self._problems, self._of_device = other._scorers, other._problems, other._of_device

    def score(self, block: Block) -> list[Block]:
        """Blocks of score devices that this Block completes; mostly none or one."""
        scores = [scorer.score(block) for scorer in self._of_device.get(block.device, ())]
        return [s for s in scores if s is not None]

    def tags(self) -> list[Tag]:
        """The tags of all score devices, in birth order."""
        return [tag for scorer in self._scorers for tag in scorer.tags]

    def problems(self) -> list[str]:
        """One `asset ID: what is wrong` each for assets that have a model and are not scored."""
        return list(self._problems)


def tags_of(lines: Sequence[LineSpec]) -> _Tags:
    return {
        (device.id, tag.name): (tag, period_s)
        for line in lines
        for device in line.devices
        for tag, period_s in (
            *((p.tag, p.period_s or device.period_s) for p in device.points),
            *((d.point.tag, d.period_s) for d in device.derived),
        )
    }


def _inputs(
    asset: AssetSpec, manifest: Manifest, tags: Mapping[tuple[str, str], tuple[Tag, float]]
) -> list[tuple[str, str]]:  # fmt: skip
    """(device, tag name) of each model input. Raises ModelError with everything that does not fit."""
    found: list[tuple[str, str]] = []
    problems: list[str] = []
    for wanted in manifest.inputs:
        own = [key for key in asset.tags if key[1] == wanted.name]
        key = asset.inputs.get(wanted.name) or (own[0] if len(own) == 1 else None)
        if key is None:
            many = "more than one tag" if own else "no tag"
            problems.append(f"{many} of the asset is called {wanted.name!r}; name it under inputs")
        elif key not in tags:
            problems.append(f"input {wanted.name!r}: no tag {key[1]!r} of device {key[0]!r}")
        elif (trouble := _misfit(*tags[key], unit=wanted.unit, period_s=manifest.period_s)) is not None:
            problems.append(f"input {wanted.name!r}: {trouble}")
        else:
            found.append(key)
    if unknown := set(asset.inputs) - set(manifest.input_names):
        problems.append(f"the model has no input called {', '.join(sorted(unknown))}")
    if problems:
        raise ModelError(f"{asset.model}: does not fit: {'; '.join(problems)}")
    return found


def _misfit(tag: Tag, device_period_s: float, unit: str, period_s: float) -> str | None:
    if tag.datatype in (Datatype.STRING, Datatype.TEXT):
        return f"tag {tag.name} is text"
    if tag.unit != unit:
        return f"tag {tag.name} is in {tag.unit!r}, the model was trained in {unit!r}"
    if device_period_s > period_s * _SLOWEST_PERIODS:
        return f"tag {tag.name} is read every {device_period_s:g} s, the model needs a row every {period_s:g} s"
    return None


def _score_tags(asset: AssetSpec, manifest: Manifest) -> list[Tag]:
    def tag(name: str, datatype: Datatype, measures: str) -> Tag:
        return Tag(name, asset.id, datatype, asset=asset.id, measures=measures)

    return [
        tag("score", Datatype.FLOAT, "score"),
        tag("threshold", Datatype.FLOAT, "threshold"),
        tag("anomaly", Datatype.BOOLEAN, "anomaly"),
        *(tag(f"share/{name}", Datatype.FLOAT, "share") for name in manifest.input_names),
    ]
