"""What births say: every tag with alias, unit and newest value; retired aliases too while their batches wait. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import repeat

from gateway.outbox.rows import AliasRow, JsonObject
from wire.block import Block, Quality, Reason, Sample
from wire.delivery import BATCH, COUNTERS, PROTOCOL, PROTOCOL_METRIC, RECORD
from wire.edge_session import DeviceBirth
from wire.payload import Metric, Payload, data_metrics, encode
from wire.tag import Asset, Datatype, Tag, birth_properties
from wire.thinned import REPLACES

NODE = ""


class Latest:
    """The newest value of every tag, in memory; a birth shows it, the store never gets it from there."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[Block, int]]] = {}

    def update(self, block: Block) -> None:
        names = block.tags.names
        self._found.setdefault(block.device, {}).update(
            zip(names, zip(repeat(block), range(len(names)), strict=False), strict=True)
        )

    def sample(self, tag: Tag) -> Sample | None:
        found = self._found.get(tag.device, {}).get(tag.name)
        if found is None:
            return None
        block, column = found
        quality, reason = Quality(int(block.quality[column])), Reason(int(block.reason[column]))
        return Sample(tag.name, tag.datatype, block.ts_ms, quality, block.value(column), reason)

    def keep(self, tags: Mapping[str, Sequence[Tag]]) -> None:
        """Forgets values of tags that are gone, or mean something else now."""
        current = {(tag.device, tag.name): tag for of_device in tags.values() for tag in of_device}
        for device, names in list(self._found.items()):
            for name, (block, column) in list(names.items()):
                if current.get((device, name)) != block.tags[column]:
                    del names[name]
            if not names:
                del self._found[device]

    def stamp(self, device: str, name: str) -> int | None:
        """The stamp of a tag's newest value; None before its first."""
        found = self._found.get(device, {}).get(name)
        return None if found is None else found[0].ts_ms

    def names(self, device: str) -> Collection[str]:
        """The tags of a device that were read so far."""
        return self._found.get(device, {}).keys()

    def keys(self) -> list[tuple[str, str]]:
        """(device, tag name) of everything read so far."""
        return [(device, name) for device, names in self._found.items() for name in names]

    def samples(self) -> list[tuple[Tag, Sample]]:
        """Every tag read so far with its newest sample, for `gateway read` beside a running gateway."""
        tags = [block.tags[column] for names in self._found.values() for block, column in names.values()]
        pairs = [(tag, self.sample(tag)) for tag in tags]
        return [(tag, sample) for tag, sample in pairs if sample is not None]


class BirthBook:
    """Composes births from what is configured. tags: device -> its tags, score devices included."""

    def __init__(
        self,
        tags: Mapping[str, Sequence[Tag]],
        assets: Mapping[str, Asset],
        aliases: Mapping[str, Mapping[str, int]],
        latest: Latest,
    ) -> None:
        self._tags, self._assets, self._aliases, self._latest = tags, assets, aliases, latest

    def replace(
        self,
        tags: Mapping[str, Sequence[Tag]],
        assets: Mapping[str, Asset],
        aliases: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Other tags from now on; births must follow before anything of them is said."""
        self._tags, self._assets, self._aliases = tags, assets, aliases

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self._tags)

    def newest(self, device: str) -> dict[str, Sample]:
        """The newest sample of each tag of the device that was read by this process."""
        found = {tag.name: self._latest.sample(tag) for tag in self._tags.get(device, ())}
        return {name: sample for name, sample in found.items() if sample is not None}

    def unread(self, device: str) -> dict[int, Tag]:
        """alias -> tag, of the device's present tags that this process has not read yet."""
        read = self._latest.names(device)
        return {self._aliases[device][tag.name]: tag for tag in self._tags.get(device, ()) if tag.name not in read}

    def unkeyed(self, device: str, samples: Sequence[Sample]) -> bytes:
        """The body of a DDATA that changes the screen, never the store: it has no key."""
        return encode(Payload(metrics=data_metrics(samples, self._aliases[device])))

    def node(self, counters: JsonObject, ts_ms: int) -> list[Metric]:
        """The metrics of NBIRTH that bear an alias."""
        values = {PROTOCOL_METRIC: PROTOCOL, BATCH: None, RECORD: None, COUNTERS: compact(counters)}
        return [
            Metric(name=name, alias=self._aliases[NODE][name], ts_ms=ts_ms, datatype=Datatype.STRING, value=value)
            for name, value in values.items()
        ]

    def alive(self, device: str, retired: Sequence[AliasRow], ts_ms: int) -> DeviceBirth:
        """A device that is there: every tag with its newest value."""
        return self._device(device, retired, ts_ms, dead=False)

    def dead(self, device: str, retired: Sequence[AliasRow], ts_ms: int) -> DeviceBirth:
        """A dead or removed device, born only to drain what waits of it: null, quality BAD."""
        return self._device(device, retired, ts_ms, dead=True)

    def _device(self, device: str, retired: Sequence[AliasRow], ts_ms: int, dead: bool) -> DeviceBirth:
        metrics = [self._tag(tag, ts_ms, dead) for tag in self._tags.get(device, ())]
        batch = self._aliases.get(device, {}).get(BATCH)
        for row in retired:
            if row.device == device and row.tag == BATCH:
                batch = row.alias if batch is None else batch
            elif row.device == device:
                metrics.append(
                    Metric(
                        name=f"{row.tag}@{row.alias}",
                        alias=row.alias,
                        ts_ms=ts_ms,
                        datatype=row.datatype,
                        quality=Quality.BAD,
                        properties=birth_properties(Tag(row.tag, device, row.datatype, row.unit), None),
                    )
                )
        if batch is not None:
            metrics.append(Metric(name=BATCH, alias=batch, ts_ms=ts_ms, datatype=Datatype.STRING))
        if (thinned := self._aliases.get(device, {}).get(REPLACES)) is not None:
            metrics.append(Metric(name=REPLACES, alias=thinned, ts_ms=ts_ms, datatype=Datatype.STRING))
        return DeviceBirth(device, tuple(metrics))

    def _tag(self, tag: Tag, ts_ms: int, dead: bool) -> Metric:
        sample = None if dead else self._latest.sample(tag)
        if sample is None:
            sample = Sample(tag.name, tag.datatype, ts_ms, Quality.BAD, None)
        return Metric(
            name=tag.name,
            alias=self._aliases[tag.device][tag.name],
            ts_ms=sample.ts_ms,
            datatype=tag.datatype,
            value=sample.value,
            quality=sample.quality,
            reason=sample.reason,
            properties=birth_properties(tag, self._assets.get(tag.asset)),
        )

    def counters(self, counters: JsonObject, ts_ms: int) -> bytes:
        """The body of an NDATA with Delivery/Counters alone: it has no key."""
        alias = self._aliases[NODE][COUNTERS]
        metric = Metric(alias=alias, ts_ms=ts_ms, datatype=Datatype.STRING, value=compact(counters))
        return encode(Payload(metrics=(metric,)))


def compact(document: JsonObject) -> str:
    return json.dumps(document, separators=(",", ":"))
