"""One asset's remaining life: rows of means from the Blocks of its tags, estimates with intervals and words out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.running import RunWatch
from agent.scorer import Surroundings, Tags
from agent.spec import AssetSpec, LifeSpec
from models import life
from models import manifest as manifests
from models.life import LifeManifest
from models.remaining import ByModel, ByTrend, Estimator, Left
from models.session import check_signature
from wire.block import Block, FloatArray, Quality, Reason
from wire.errors import ModelError
from wire.tag import Datatype, Tag, TagTable

_HOUR_MS = 3_600_000
# A counter that leaps further has been set, or exchanged: nobody was there to see the cycles between.
_MOST_CYCLES = 1000
_REASONS = {"warming up": Reason.WARMING_UP, "too few": Reason.WARMING_UP}


class LifeWatch:
    """Raises ModelError where the model does not fit the asset. seal: another one is another estimator."""

    def __init__(self, asset: AssetSpec, spec: LifeSpec, tags: Tags, around: Surroundings) -> None:
        self.asset, self.spec, self._asset = asset.id, spec, asset
        self._utc_ms = around.utc_ms
        self.digest = self.seal = ""
        self.name = f"trend of {'/'.join(spec.tag or ())} towards {spec.limit:g}"
        self.estimator: Estimator
        if spec.model is not None:
            content = manifests.content_of(spec.model)
            model = life.of_content(content, spec.model)
            if around.verify is not None:
                check_signature(content, model.manifest.signature, spec.model, around.verify)
            self.inputs = _inputs(asset, model.manifest, tags)
            self.estimator = ByModel(model)
            self.digest = hashlib.sha256(content).hexdigest()
            self.seal = manifests.signed_part(content, str(spec.model)).decode()
            self.name = f"{model.manifest.name} version {model.manifest.version}"
        elif spec.tag is not None:
            self.inputs = [spec.tag]
            self.estimator = ByTrend(spec.limit, spec.falling)
            self.seal = f"trend {spec.limit:g} {spec.falling}"
        self._places = {key: i for i, key in enumerate(self.inputs)}
        self._watch = None if asset.running is None else RunWatch(asset.running)
        self.devices = {device for device, _ in self.inputs}
        self.devices |= {asset.running.device} if asset.running is not None else set()
        self.devices |= {spec.counter[0]} if spec.counter is not None else set()
        unit = self.estimator.unit
        figures = ("remaining", "lower", "upper")
        self._table = TagTable(
            [_tag(asset, f"life/{name}", Datatype.FLOAT, "remaining_life", unit) for name in figures]
        )
        words = ("life/explanation", "life/explanation_zh")
        self._words = TagTable([_tag(asset, name, Datatype.STRING, "explanation") for name in words])
        self.tags = (*self._table, *self._words)
        self.rows = 0
        self.last: Left | None = None
        self.last_ms: int | None = None
        self._sums, self._counts = np.zeros(len(self.inputs)), np.zeros(len(self.inputs))
        self._begun_ms: int | None = None  # the first Block of the row
        self._elapsed_ms = 0.0
        self._seen_ms: int | None = None
        self._count: float | None = None

    def fits(self, asset: AssetSpec) -> bool:
        """True when it would be made the same of this, but for what stands in the model's file."""
        return asset == self._asset

    def inherit(self, old: LifeWatch) -> None:
        """The same estimator of the same tags goes on where another stands."""
        if (self.seal, self.inputs) == (old.seal, old.inputs):
            self.restore(old.saved())
            self.last, self.last_ms = old.last, old.last_ms

    def reset(self) -> None:
        """A new life begins: after an overhaul."""
        self.estimator.reset()
        self.rows, self.last, self.last_ms = 0, None, None
        self._begin()
        self._elapsed_ms, self._count = 0.0, None

    def score(self, block: Block) -> list[Block]:
        """What there is to tell after this Block: when a row is complete, the estimate and its words."""
        if self._watch is not None:
            self._watch.take(block)
            if self._watch.reason(block.ts_ms) is not Reason.NONE:
                self._seen_ms = None
                return []
        before, self._seen_ms = self._seen_ms, max(block.ts_ms, self._seen_ms or block.ts_ms)
        # A gap is no running time: nobody knows.
        passed = 0.0 if before is None else block.ts_ms - before
        self._elapsed_ms += passed if 0.0 < passed <= self.spec.every_s * 1000 else 0.0
        cycles, utc_ms = self._cycles(block), self._utc_ms(block.ts_ms)
        told: list[Block] = []
        # The Block that shows the next cycle, or hour, is already of that.
        if cycles > 0 and utc_ms is not None and self._counts.any():
            told = self._row(block.ts_ms, utc_ms, cycles)
        self._take(block)
        return told

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = {"model": self.name, "rows": self.rows, "state": "no row yet", "problem": ""}
        if (last := self.last) is not None:
            given = {"remaining": last.remaining, "lower": last.lower, "upper": last.upper}
            figures = {name: value if math.isfinite(value) else None for name, value in given.items()}
            found |= {"state": last.state, "unit": self.estimator.unit, "words": last.words[0], "at_ms": self.last_ms}
            found |= figures
        return found

    def saved(self) -> dict[str, Any]:
        """What must outlive a restart, as JSON's own types."""
        inputs = [list(key) for key in self.inputs]
        kept = {"rows": self.rows, "elapsed_ms": self._elapsed_ms, "count": self._count}
        return kept | {"model": self.seal, "inputs": inputs, "estimator": self.estimator.saved()}

    def restore(self, kept: Mapping[str, Any]) -> bool:
        """Whether it was kept of this estimator of these tags, and goes on from there. Raises ValueError."""
        try:
            if kept["model"] != self.seal or kept["inputs"] != [list(key) for key in self.inputs]:
                return False
            self.estimator.restore(kept["estimator"])
            self.rows, self._elapsed_ms = int(kept["rows"]), float(kept["elapsed_ms"])
            self._count = None if kept["count"] is None else float(kept["count"])
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"what was kept of the life of asset {self.asset} is damaged: {fault!r}") from fault
        return True

    def _cycles(self, block: Block) -> int:
        """How many rows end with this Block."""
        if self.spec.counter is None:
            if self._elapsed_ms < self.spec.every_s * 1000:
                return 0
            self._elapsed_ms -= self.spec.every_s * 1000
            return 1
        device, name = self.spec.counter
        if block.device != device or name not in block.tags.names:
            return 0
        column = block.tags.column(name)
        if block.quality[column] == Quality.BAD:
            return 0
        now = _number(block, column)
        before, self._count = self._count, now
        risen = 0 if before is None else int(now - before)
        return risen if 0 < risen <= _MOST_CYCLES else 0

    def _take(self, block: Block) -> None:
        for column, name in enumerate(block.tags.names):
            place = self._places.get((block.device, name))
            if place is None or block.quality[column] == Quality.BAD:
                continue
            number = _number(block, column)
            if math.isfinite(number):
                self._sums[place] += number
                self._counts[place] += 1
                self._begun_ms = block.ts_ms if self._begun_ms is None else self._begun_ms

    def _begin(self) -> None:
        self._sums[:] = self._counts[:] = 0.0
        self._begun_ms = None

    def _row(self, ts_ms: int, utc_ms: int, cycles: int) -> list[Block]:
        means: FloatArray = np.where(self._counts > 0, self._sums / np.maximum(self._counts, 1), np.nan)
        ago = (ts_ms - (ts_ms if self._begun_ms is None else self._begun_ms)) / 2 / _HOUR_MS
        self._begin()
        try:
            for _ in range(cycles - 1):  # they were not seen, but the machine is older by them
                self.estimator.row(np.full(len(means), np.nan), utc_ms / _HOUR_MS)
            last = self.last = self.estimator.row(means, utc_ms / _HOUR_MS - ago, ago)
        except ModelError as fault:
            last = self.last = Left(math.nan, math.nan, math.nan, "failed", (str(fault), str(fault)))
        self.rows += cycles
        self.last_ms = utc_ms
        values = np.array([last.remaining, last.lower, last.upper])
        there = np.isfinite(values)
        # Without an upper end the estimate still stands; without an estimate the words say why.
        why = _REASONS.get(last.state, Reason.OUT_OF_RANGE if there.any() else Reason.NOT_A_NUMBER)
        quality = np.where(there, Quality.GOOD, Quality.BAD).astype(np.uint8)
        reasons = np.where(there, Reason.NONE, why).astype(np.uint8)
        told = np.where(there, values, np.nan).astype(np.float32).astype(np.float64)
        good = np.full(2, Quality.GOOD, np.uint8)
        words = Block(ts_ms, self._words, np.full(2, np.nan), good, np.zeros(2, np.uint8), dict(enumerate(last.words)))
        return [Block(ts_ms, self._table, told, quality, reasons), words]


def _number(block: Block, column: int) -> float:
    other = block.others.get(column)
    return float(block.values[column] if other is None or isinstance(other, str) else other)


def _tag(asset: AssetSpec, name: str, datatype: Datatype, measures: str, unit: str = "") -> Tag:
    return Tag(name, asset.id, datatype, unit, asset=asset.id, measures=measures)


def _inputs(asset: AssetSpec, manifest: LifeManifest, tags: Tags) -> list[tuple[str, str]]:
    """(device, tag name) of each input. Raises ModelError with everything that does not fit."""
    found: list[tuple[str, str]] = []
    problems: list[str] = []
    for wanted in manifest.inputs:
        own = [key for key in asset.tags if key[1] == wanted.name]
        key = asset.inputs.get(wanted.name) or (own[0] if len(own) == 1 else None)
        if key is None or key not in tags:
            problems.append(f"no tag of the asset is called {wanted.name!r}; name it under inputs")
        elif tags[key][0].unit != wanted.unit:
            problems.append(f"tag {key[1]} is in {tags[key][0].unit!r}, the model was trained in {wanted.unit!r}")
        else:
            found.append(key)
    if problems:
        raise ModelError(f"{asset.life.model if asset.life else ''}: does not fit: {'; '.join(problems)}")
    return found
