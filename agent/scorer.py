"""One asset's model at work: rows from the Blocks of its input tags, scores with their shares and their words out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

import numpy as np

from agent.running import RunWatch
from agent.spec import AssetSpec
from agent.window import Row, Window
from models import explain
from models.manifest import Manifest
from models.runtime import Clock, Model, Score
from models.session import Verify
from wire.block import Block, Quality, Reason
from wire.errors import ModelError
from wire.tag import Datatype, Tag, TagTable

# A device polled slower than this many model periods gives no row that the model knows.
_SLOWEST_PERIODS = 1.5
_LARGEST = float(np.finfo(np.float32).max)
_THRESHOLD, _ANOMALY, _SHARES = 1, 2, 3  # columns; the score is first, the shares come behind

Tags = Mapping[tuple[str, str], tuple[Tag, float]]
"""(device, tag name) -> the tag and its device's period in seconds."""


def _same(ts_ms: int) -> int | None:
    return ts_ms


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gateway adds to the models' files. verify: where only signed models may run.

    zone: of the site, for models that judge by the hour; None: the machine's. utc_ms: stamps of Blocks in UTC; None
    while the time is unknown.
    """

    verify: Verify | None = None
    zone: tzinfo | None = None
    utc_ms: Callable[[int], int | None] = _same

    def clock(self, ts_ms: int) -> Clock | None:
        """Second of the site's day and weekday; None while the time is unknown."""
        utc_ms = self.utc_ms(ts_ms)
        if utc_ms is None:
            return None
        local = datetime.fromtimestamp(utc_ms / 1000, self.zone)
        return local.hour * 3600.0 + local.minute * 60.0 + local.second + local.microsecond / 1e6, local.weekday()


class Scorer:
    """Raises ModelError when the model does not fit the asset."""

    def __init__(
        self, asset: AssetSpec, model: Model, tags: Tags, digest: str, seal: str, around: Surroundings
    ) -> None:
        """digest: of the model's file: another one is another model to run. seal: another one is another model."""
        manifest = model.manifest
        self.asset = asset.id
        self.model, self.digest, self.seal = model, digest, seal
        self.inputs = _inputs(asset, manifest, tags)
        self._spec = asset
        self._given = {key: tags[key] for key in self.inputs}
        every_s = asset.false_alarm_s
        threshold = manifest.threshold if every_s is None else manifest.threshold_for(every_s)
        self._threshold = float(np.float32(threshold))
        self.running = model.start(threshold)
        self.watch = None if asset.running is None else RunWatch(asset.running)
        # Devices whose Blocks matter.
        self.devices = {device for device, _ in self.inputs} | ({self.watch.spec.device} if self.watch else set())
        self.maintained = False
        self.since_ms: int | None = None  # of the alarm or the suspension that lasts, in stamps of Blocks
        self.newest_ms: int | None = None
        self.missing: tuple[str, ...] = ()  # inputs without which the last row was judged
        self._clock = around.clock if model.wants_clock else None
        self._table, self._words = TagTable(_score_tags(asset, manifest)), TagTable(_word_tags(asset))
        self.tags = (*self._table, *self._words)
        self._window = Window(self.inputs, manifest.period_s * 1000, manifest.goes_without)
        # After so long a pause nothing that the model remembers belongs to now.
        self._forget_ms = max(1, manifest.warm_up_rows) * manifest.period_s * 1000
        self._scored_ms: int | None = None
        self._stopped_ms = -1
        self._said: object = None
        self._holding = False
        self._held: list[Block] = []

    def fits(self, asset: AssetSpec, tags: Tags) -> bool:
        """True when it would be made the same of these, but for what stands in the model's file."""
        return asset == self._spec and all(tags.get(key) == given for key, given in self._given.items())

    def inherit(self, old: Scorer) -> None:
        """Takes over the asset: a row that is half there is not lost, and the same model stays warm."""
        self._window.inherit(old._window)
        self.maintained = old.maintained
        if self.watch is not None and old.watch is not None:
            self.watch.inherit(old.watch)
        if self.seal == old.seal and self.inputs == old.inputs:
            self.running.inherit(old.running)
            self._scored_ms, self._said, self.since_ms = old._scored_ms, old._said, old.since_ms
            self._stopped_ms = old._stopped_ms

    def hold(self) -> None:
        """Scores, but tells nothing until release: its tags are not known outside yet."""
        self._holding = True

    def release(self) -> None:
        """What was held is told with the next Block."""
        self._holding = False

    def score(self, block: Block) -> list[Block]:
        """What there is to tell after this Block, oldest first."""
        told = self._scored(block)
        if self._holding or self._held:
            self._held += told
            told, self._held = ([], self._held) if self._holding else (self._held, [])
        return told

    def _scored(self, block: Block) -> list[Block]:
        """The score Block of the row that this Block completes, and what is to be said when that changes.

        The stamp is that of the newest input.
        """
        row = self._window.row(block)
        if row is not None and row.ts_ms <= self._stopped_ms:
            row = row._replace(ts_ms=self._stopped_ms + 1)  # what was told at the stop is older
        if idle := self._idle(block if row is None else row, block):
            if not self.running.suspended:
                self.running.suspend()
                self.since_ms = block.ts_ms
                if row is None:  # told at once: perhaps there are no more rows
                    self._stopped_ms = block.ts_ms
                    return [self._without(block.ts_ms, idle), *self._unsaid(block.ts_ms)]
            return [] if row is None else [self._without(row.ts_ms, idle), *self._unsaid(row.ts_ms)]
        if row is None:
            return []
        if self.running.suspended:
            self.running.resume()
            self.since_ms = None
        return self._judged(row)

    def _idle(self, at: Row | Block, block: Block) -> Reason:
        """Why there is nothing to judge now; NONE where there is."""
        if self.watch is not None:
            self.watch.take(block)
        if self.maintained:
            return Reason.NOT_RUNNING
        return Reason.NONE if self.watch is None else self.watch.reason(at.ts_ms)

    def _judged(self, row: Row) -> list[Block]:
        self.newest_ms = row.ts_ms
        names = self.model.manifest.input_names if row.missing else ()
        self.missing = tuple(name for name, value in zip(names, row.values, strict=False) if np.isnan(value))
        if row.bad:
            return [self._without(row.ts_ms, Reason.INPUT_BAD)]
        clock = (0.0, 0.0) if self._clock is None else self._clock(row.ts_ms)
        if clock is None:
            return [self._without(row.ts_ms, Reason.CLOCK_UNKNOWN)]
        if self._scored_ms is not None and row.ts_ms - self._scored_ms > self._forget_ms:
            self.running.reset()
        self._scored_ms = row.ts_ms
        try:
            result = self.running.score(row.values, clock)
        except ModelError:
            return [self._without(row.ts_ms, Reason.NOT_A_NUMBER)]
        if result.warming:
            return [self._without(row.ts_ms, Reason.WARMING_UP)]
        self.since_ms = (self.since_ms or row.ts_ms) if result.anomaly else None
        there = ~np.isnan(row.values)
        if not np.isfinite(result.score) or not np.isfinite(result.shares[there]).all():
            return [self._without(row.ts_ms, Reason.NOT_A_NUMBER)]
        if abs(result.score) > _LARGEST:
            return [self._without(row.ts_ms, Reason.OUT_OF_RANGE)]
        return [self._with(row, result), *self._spoken(row.ts_ms, result)]

    def _with(self, row: Row, result: Score) -> Block:
        values = np.array([result.score, result.threshold, np.nan, *result.shares])
        quality, reason = np.full(len(values), Quality.GOOD, np.uint8), np.zeros(len(values), np.uint8)
        # Judged on the rest, or while it is not known whether it still runs: said with the score, and with each share
        # that is not there.
        if row.missing or (self.watch is not None and self.watch.bad):
            quality[:], reason[:] = Quality.UNCERTAIN, Reason.INPUT_BAD
            quality[_THRESHOLD], reason[_THRESHOLD] = Quality.GOOD, Reason.NONE
            quality[_SHARES:][np.isnan(row.values)] = Quality.BAD
        return Block(
            row.ts_ms,
            self._table,
            values.astype(np.float32).astype(np.float64),
            quality,
            reason,
            {_ANOMALY: bool(result.anomaly)},
        )

    def _spoken(self, ts_ms: int, result: Score) -> list[Block]:
        """The explanation when an alarm begins or ends, and when something else is to blame meanwhile."""
        manifest = self.model.manifest
        if not result.anomaly:
            return self._unsaid(ts_ms)
        if result.score < result.threshold:  # the alarm is only held: what was said stands
            return []
        about = ([(part.name, part.direction) for part in explain.blamed(manifest, result)], self.missing)
        if about == self._said:
            return []
        self._said = about
        return self._texts(ts_ms, explain.sentence(manifest, result), explain.sentence(manifest, result, "zh"))

    def _unsaid(self, ts_ms: int) -> list[Block]:
        """Takes the explanation back, if there is one."""
        if self._said is None:
            return []
        self._said = None
        return self._texts(ts_ms, "", "")

    def _texts(self, ts_ms: int, *told: str) -> list[Block]:
        texts = dict(enumerate(told))
        good = np.full(len(texts), Quality.GOOD, np.uint8)
        return [Block(ts_ms, self._words, np.full(len(texts), np.nan), good, np.zeros(len(texts), np.uint8), {**texts})]

    def _without(self, ts_ms: int, reason: Reason) -> Block:
        """No score, and why; the threshold stays what it is."""
        n = len(self._table)
        values, quality, reasons = np.full(n, np.nan), np.full(n, Quality.BAD, np.uint8), np.full(n, reason, np.uint8)
        values[_THRESHOLD], quality[_THRESHOLD], reasons[_THRESHOLD] = self._threshold, Quality.GOOD, Reason.NONE
        return Block(ts_ms, self._table, values, quality, reasons)


def _inputs(asset: AssetSpec, manifest: Manifest, tags: Tags) -> list[tuple[str, str]]:
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


def _word_tags(asset: AssetSpec) -> list[Tag]:
    """In a table of their own: they are told when they change, not with every row."""
    return [
        Tag(name, asset.id, Datatype.STRING, asset=asset.id, measures="explanation")
        for name in ("explanation", "explanation_zh")
    ]
