"""A small host application on a real broker: says STATE, collects, checks digests, confirms. For the tests only."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiomqtt

from wire.block import Sample
from wire.delivery import (
    BATCH,
    CONFIRMED,
    COUNTERS,
    RECORD,
    BatchTag,
    Confirmation,
    batch_digest,
    confirmation_json,
    confirmed_ranges,
    parse_batch_tag,
)
from wire.ids import NodeId
from wire.payload import Metric, Payload, decode, encode
from wire.tag import Datatype
from wire.topic import Topic, parse_topic, state_topic

PLANT = NodeId("plant", "gw")


@dataclass
class Heard:
    """One message of the edge node, decoded with the aliases that were born."""

    topic: Topic
    payload: Payload
    names: tuple[str | None, ...]
    qos: int
    at_s: float
    tag: BatchTag | None = None

    @property
    def historical(self) -> bool:
        return any(m.historical for m in self.payload.metrics)


@dataclass
class Host:
    """rows: (device, name, ts_ms) -> (value, quality) of keyed data. confirm: whether batches are confirmed."""

    port: int
    node: NodeId = PLANT
    name: str = "gaugeline"
    confirm: bool = True
    heard: list[Heard] = field(default_factory=list)
    rows: dict[tuple[str, str, int], tuple[object, int]] = field(default_factory=dict)
    samples: int = 0
    doubles: list[tuple[str, str, int]] = field(default_factory=list)
    ledger: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)  # key -> digest, samples
    again: int = 0
    records: list[dict[str, object]] = field(default_factory=list)
    counters: dict[str, object] = field(default_factory=dict)
    _names: dict[int, tuple[str, Datatype]] = field(default_factory=dict)
    _client: aiomqtt.Client | None = None

    @property
    def client(self) -> aiomqtt.Client:
        assert self._client is not None
        return self._client

    async def state(self, online: bool, ts_ms: int | None = None) -> None:
        body = json.dumps({"online": online, "timestamp": ts_ms or time.time_ns() // 1_000_000})
        await self.client.publish(state_topic(self.name), body, qos=1, retain=True)

    async def command(self, name: str, text: str | bool) -> None:
        kind = Datatype.BOOLEAN if isinstance(text, bool) else Datatype.STRING
        body = encode(Payload(ts_ms=1, metrics=(Metric(name=name, datatype=kind, value=text),)))
        await self.client.publish(str(Topic(self.node.group, "NCMD", self.node.node)), body, qos=1)

    async def say_confirmed(self, epoch: str, digests: dict[int, str], host: str | None = None) -> None:
        said = Confirmation(host or self.name, epoch, confirmed_ranges(digests))
        await self.command(CONFIRMED, confirmation_json(said))

    def of(self, kind: str, device: str = "") -> list[Heard]:
        return [h for h in self.heard if h.topic.type == kind and h.topic.device == device]

    def batches(self, device: str) -> list[Heard]:
        """What the device sent with a key."""
        return [h for h in self.of("DDATA", device) if h.tag is not None]

    async def until(self, true: Callable[[], bool], at_most_s: float = 60.0) -> None:
        """Waits for something that the host has heard. Raises TimeoutError."""
        async with asyncio.timeout(at_most_s):
            while not true():
                await asyncio.sleep(0.01)

    async def _take(self, topic: Topic, body: bytes, qos: int) -> None:
        payload = decode(body, {alias: datatype for alias, (_, datatype) in self._names.items()})
        if topic.type in ("NBIRTH", "DBIRTH"):
            for m in payload.metrics:
                if m.alias is not None:
                    assert m.name is not None and m.datatype is not None
                    self._names[m.alias] = (m.name.split("@")[0], m.datatype)
        names = tuple(m.name or (self._names[m.alias][0] if m.alias is not None else None) for m in payload.metrics)
        heard = Heard(topic, payload, names, qos, time.monotonic())
        self.heard.append(heard)
        if topic.type in ("NDATA", "DDATA"):
            await self._data(heard)

    async def _data(self, heard: Heard) -> None:
        samples = []
        for name, m in zip(heard.names, heard.payload.metrics, strict=True):
            assert name is not None
            if name == BATCH:
                heard.tag = parse_batch_tag(str(m.value))
            elif name == COUNTERS:
                self.counters = json.loads(str(m.value))
            else:
                assert m.datatype is not None and m.ts_ms is not None
                samples.append(Sample(name, m.datatype, m.ts_ms, m.quality, m.value, m.reason))
        tag = heard.tag
        if tag is None:
            return
        assert heard.names[-1] == BATCH
        device = heard.topic.device
        assert batch_digest(self.node, device, tag.epoch, tag.number, samples) == tag.digest
        assert len(samples) == tag.samples
        if not self.confirm:
            return
        if (tag.epoch, tag.number) in self.ledger:
            assert self.ledger[tag.epoch, tag.number][0] == tag.digest
            self.again += 1
        else:
            self._store(device, samples)
            self.ledger[tag.epoch, tag.number] = (tag.digest, tag.samples if device else 0)
        await self.say_confirmed(tag.epoch, {tag.number: tag.digest})

    def _store(self, device: str, samples: list[Sample]) -> None:
        for s in samples:
            if s.name == RECORD:
                self.records.append(json.loads(str(s.value)))
                continue
            key = (device, s.name, s.ts_ms)
            if key in self.rows:
                self.doubles.append(key)
            self.rows[key] = (s.value, int(s.quality))
            self.samples += 1


@asynccontextmanager
async def host(port: int, online: bool = True, confirm: bool = True) -> AsyncIterator[Host]:
    found = Host(port, confirm=confirm)
    async with aiomqtt.Client("127.0.0.1", port, identifier=f"host-{time.monotonic_ns()}") as client:
        found._client = client
        await client.subscribe("spBv1.0/plant/#", qos=1)
        listening = asyncio.create_task(_only_ours(found))
        try:
            if online:
                await found.state(True)
            yield found
        finally:
            if listening.done():
                listening.result()  # a failed assertion of the host fails the test
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _only_ours(found: Host) -> None:
    async for message in found.client.messages:
        if "/NCMD/" in str(message.topic):
            continue
        assert isinstance(message.payload, bytes)
        await found._take(parse_topic(str(message.topic)), message.payload, message.qos)
