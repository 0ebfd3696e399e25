"""What the screen shows now: the newest value of every tag, in memory, fed by births and data.

Used from the event loop alone; readers get the living objects and must not change them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wire.block import Quality, Reason, Sample, Value
from wire.columns import fields_of
from wire.ids import NodeId
from wire.tag import ASSET, ASSET_KIND, ASSET_NAME, ENG_UNIT, MEASURES, Datatype

FAR = 2**63  # ms; later than any stamp


@dataclass(slots=True)
class LiveTag:
    """The newest value of one tag.

    value: None when there never was one, or when the newest sample is BAD. A tag whose device or gateway is gone
    keeps its last value and stamp and is BAD with Reason.STALE; gone_ms: since when, None while it is not known.
    device '' means the edge node itself.
    version: grows with every change of any tag; what `LiveValues.changed` compares.
    """

    node: NodeId
    device: str
    name: str
    datatype: Datatype
    unit: str = ""
    asset: str = ""
    measures: str = ""
    value: Value | None = None
    quality: Quality = Quality.BAD
    reason: Reason = Reason.STALE
    ts_ms: int | None = None
    gone_ms: int | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class LiveAsset:
    """One asset with all its tags; the scores come from the device that is named after the asset."""

    id: str
    name: str
    kind: str
    node: NodeId
    tags: tuple[LiveTag, ...]

    def measuring(self, what: str) -> LiveTag | None:
        """The first tag that measures this ('score', 'energy', 'free_spaces', ...)."""
        return next((t for t in self.tags if t.measures == what), None)

    @property
    def score(self) -> LiveTag | None:
        return self.measuring("score")

    @property
    def threshold(self) -> LiveTag | None:
        return self.measuring("threshold")

    @property
    def anomaly(self) -> LiveTag | None:
        return self.measuring("anomaly")

    @property
    def shares(self) -> dict[str, LiveTag]:
        """Input tag -> how much of the score is its doing, 0 to 1."""
        return {t.name.removeprefix("share/"): t for t in self.tags if t.measures == "share"}


@dataclass(slots=True)
class LiveValues:
    """Every tag that was ever born, with its newest value."""

    _tags: dict[tuple[NodeId, str], dict[str, LiveTag]] = field(default_factory=dict)
    _assets: dict[tuple[NodeId, str], tuple[str, str]] = field(default_factory=dict)  # -> name, kind
    version: int = 0

    def born(self, node: NodeId, device: str, tags: Iterable[tuple[str, Datatype, Mapping[str, object]]]) -> None:
        """A device's birth: its tags with datatype and properties. Tags that it no longer names go."""
        old = self._tags.get((node, device), {})
        now: dict[str, LiveTag] = {}
        for name, datatype, properties in tags:
            tag = old.get(name)
            if tag is None or tag.datatype is not datatype:
                tag = LiveTag(node, device, name, datatype)
            tag.unit = str(properties.get(ENG_UNIT, ""))
            tag.measures = str(properties.get(MEASURES, ""))
            tag.asset = str(properties.get(ASSET, ""))
            if tag.asset:
                known = self._assets.get((node, tag.asset), (tag.asset, "other"))
                self._assets[node, tag.asset] = (
                    str(properties.get(ASSET_NAME, known[0])),
                    str(properties.get(ASSET_KIND, known[1])),
                )
            now[name] = tag
        self._tags[node, device] = now

    def update(self, node: NodeId, device: str, samples: Sequence[Sample], now_ms: int = FAR) -> None:
        """Live samples. Tags that were not born, and samples older than what is shown, are left out.

        now_ms: a shown stamp that lies in the future (a wrong clock) does not keep a right one away.
        """
        tags = self._tags.get((node, device))
        if tags is None:
            return
        version = self.version
        for name, _, ts_ms, quality, value, reason in zip(*fields_of(samples), strict=True):
            tag = tags.get(name)
            if tag is None or (tag.ts_ms is not None and ts_ms < tag.ts_ms <= now_ms):
                continue
            version += 1
            tag.value, tag.quality, tag.reason = value, quality, reason
            if isinstance(value, float) and not math.isfinite(value):
                tag.value, tag.quality, tag.reason = None, Quality.BAD, Reason.NOT_A_NUMBER
            tag.ts_ms, tag.gone_ms, tag.version = ts_ms, None, version
        self.version = version

    def stale(self, node: NodeId, device: str | None = None, now_ms: int | None = None) -> None:
        """The device (None: the edge node with all its devices) is gone since now_ms."""
        for (of, name), tags in self._tags.items():
            if of != node or (device is not None and name != device):
                continue
            for tag in tags.values():
                if tag.reason is not Reason.STALE:
                    self.version += 1
                    tag.quality, tag.reason, tag.version = Quality.BAD, Reason.STALE, self.version
                    tag.gone_ms = now_ms

    def forget(self, node: NodeId) -> None:
        """A node that nobody expects any more."""
        for place in [place for place in self._tags if place[0] == node]:
            del self._tags[place]
        for of in [of for of in self._assets if of[0] == node]:
            del self._assets[of]

    def restore(self, node: NodeId, device: str, sample: Sample) -> None:
        """A last value from the database at start: shown where nothing newer is, stale until the tag is heard."""
        tag = self._tags.get((node, device), {}).get(sample.name)
        if tag is not None and tag.ts_ms is None:
            self.version += 1
            tag.value, tag.ts_ms, tag.version = sample.value, sample.ts_ms, self.version

    def changed(self, since: int) -> list[LiveTag]:
        """Tags that changed after the version `since`."""
        return [t for tags in self._tags.values() for t in tags.values() if t.version > since]

    def tags(self) -> list[LiveTag]:
        return [t for tags in self._tags.values() for t in tags.values()]

    def places(self) -> list[tuple[NodeId, str]]:
        """(edge node, device) of everything that was ever born, sorted."""
        return sorted(self._tags)

    def at(self, node: NodeId, device: str) -> Mapping[str, LiveTag]:
        return self._tags.get((node, device), {})

    def assets(self) -> list[LiveAsset]:
        """Assets in the order of their ids. A device without asset is one of kind 'other', named after itself."""
        grouped: dict[tuple[NodeId, str], list[LiveTag]] = {}
        for tag in self.tags():
            grouped.setdefault((tag.node, tag.asset or tag.device or tag.node.node), []).append(tag)
        found = []
        for (node, asset), tags in sorted(grouped.items()):
            name, kind = self._assets.get((node, asset), (asset, "other"))
            found.append(LiveAsset(asset, name, kind, node, tuple(tags)))
        return found
