"""A small real gateway for the host's tests: aiomqtt, wire, keyed batches, resends until confirmed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt

from wire.block import Quality, Sample
from wire.body import as_historical
from wire.delivery import (
    BATCH,
    CONFIRMED,
    CONFLICT,
    COUNTERS,
    PROTOCOL,
    PROTOCOL_METRIC,
    REBIRTH,
    RECORD,
    BatchTag,
    batch_digest,
    check_confirmation,
    parse_confirmation,
)
from wire.edge_session import DeviceBirth, EdgeSession, Message
from wire.ids import NodeId
from wire.payload import Metric, Payload, data_metrics, decode, encode
from wire.tag import Datatype, Tag, birth_properties

T0 = 1_700_000_000_000


@dataclass
class Sent:
    """One batch as the outbox would hold it."""

    number: int
    device: str
    samples: tuple[Sample, ...]
    digest: str
    body: bytes


@dataclass
class SmallGateway:
    node: NodeId
    tags: tuple[Tag, ...]
    epoch: str = "epoch1"
    bd_seq: int = 0
    mqtt: Any = None
    batches: dict[int, Sent] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)
    parked: set[int] = field(default_factory=set)
    confirmations: int = 0
    refused_ranges: int = 0
    rebirths: int = 0
    _number: int = 0

    def __post_init__(self) -> None:
        self.devices = sorted({t.device for t in self.tags})
        self.aliases = {(t.device, t.name): i for i, t in enumerate(self.tags, 10)}
        self.batch_aliases = {d: 1000 + i for i, d in enumerate(["", *self.devices])}
        self.session = EdgeSession(self.node, self.bd_seq)

    @asynccontextmanager
    async def connected(self, port: int) -> AsyncIterator[SmallGateway]:
        self.session = EdgeSession(self.node, self.bd_seq)
        death = self.session.death(T0)
        will = aiomqtt.Will(str(death.topic), death.payload, qos=1)
        async with aiomqtt.Client("127.0.0.1", port, will=will, identifier=f"{self.node.node}-{self.epoch}") as mqtt:
            self.mqtt = mqtt
            await mqtt.subscribe(f"spBv1.0/{self.node.group}/NCMD/{self.node.node}", 1)
            listening = asyncio.create_task(self._listen())
            try:
                await self.births()
                yield self
                await self.say(self.session.death(T0))
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def say(self, *messages: Message) -> None:
        for m in messages:
            await self.mqtt.publish(str(m.topic), m.payload, qos=m.qos)

    async def births(self) -> None:
        text = Datatype.STRING
        node = [
            Metric(name=PROTOCOL_METRIC, alias=1, datatype=text, value=PROTOCOL),
            Metric(name=BATCH, alias=1000, datatype=text),
            Metric(name=RECORD, alias=2, datatype=text),
            Metric(name=COUNTERS, alias=3, datatype=text, value=self.counters() if self._number else None),
        ]
        await self.say(*self.session.births(T0, node, [self.device_birth(d) for d in self.devices]))

    def device_birth(self, device: str) -> DeviceBirth:
        metrics = [
            Metric(
                name=t.name,
                alias=self.aliases[device, t.name],
                datatype=t.datatype,
                quality=Quality.BAD,
                properties=birth_properties(t, None),
            )
            for t in self.tags
            if t.device == device
        ]
        batch = Metric(name=BATCH, alias=self.batch_aliases[device], datatype=Datatype.STRING)
        return DeviceBirth(device, (*metrics, batch))

    def put(self, device: str, samples: Sequence[Sample]) -> Sent:
        """Into the outbox: nothing is said yet."""
        self._number += 1
        found = tuple(samples)
        digest = batch_digest(self.node, device, self.epoch, self._number, found)
        names = {name: alias for (d, name), alias in self.aliases.items() if d == device} | {RECORD: 2}
        tag = BatchTag(self.epoch, self._number, len(found), digest)
        metrics = (
            *data_metrics(found, names),
            Metric(alias=self.batch_aliases[device], ts_ms=found[-1].ts_ms, datatype=Datatype.STRING, value=str(tag)),
        )
        sent = Sent(self._number, device, found, digest, encode(Payload(metrics=metrics)))
        self.batches[self._number] = sent
        return sent

    async def publish(self, sent: Sent, historical: bool = False) -> None:
        body = as_historical(sent.body) if historical else sent.body
        await self.say(self.session.data(T0, sent.device, body))

    async def record(self, content: dict[str, Any]) -> Sent:
        sent = self.put("", [Sample(RECORD, Datatype.STRING, T0, Quality.GOOD, json.dumps(content))])
        await self.publish(sent)
        return sent

    def open(self) -> list[Sent]:
        return [s for n, s in self.batches.items() if n not in self.confirmed and n not in self.parked]

    def epoch_counters(self) -> dict[str, Any]:
        devices: dict[str, Counter[str]] = {d: Counter() for d in self.devices}
        for n, s in self.batches.items():
            if s.device:
                devices[s.device]["produced"] += len(s.samples)
                if n in self.parked:
                    devices[s.device]["parked"] += len(s.samples)
                elif n not in self.confirmed:
                    devices[s.device]["in_flight"] += len(s.samples)
        numbers = [[s.number, s.number] for s in self.open()]
        return {"epoch": self.epoch, "number": self._number, "devices": devices, "unconfirmed": numbers}

    def counters(self) -> str:
        return json.dumps({"epochs": [self.epoch_counters()]})

    async def say_counters(self, text: str | None = None) -> None:
        metric = Metric(alias=3, ts_ms=T0, datatype=Datatype.STRING, value=text or self.counters())
        await self.say(self.session.data(T0, "", encode(Payload(metrics=(metric,)))))

    async def drain(self, timeout_s: float = 60.0, every_s: float = 0.5) -> None:
        """Sends again what is not confirmed, until all is. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.open():
                for sent in self.open():
                    await self.publish(sent, historical=True)
                for _ in range(int(every_s / 0.05)):
                    await asyncio.sleep(0.05)
                    if not self.open():
                        return

    async def _listen(self) -> None:
        async for message in self.mqtt.messages:
            for m in decode(message.payload).metrics:
                if m.name == CONFIRMED:
                    said = parse_confirmation(str(m.value))
                    published = {n: s.digest for n, s in self.batches.items()}
                    if said.epoch == self.epoch:
                        numbers, refused = check_confirmation(said, published)
                        self.confirmations += 1
                        self.refused_ranges += refused
                        self.confirmed.update(numbers)
                elif m.name == CONFLICT:
                    self.parked.add(int(json.loads(str(m.value))["number"]))
                elif m.name == REBIRTH:
                    self.rebirths += 1
                    await self.births()


def tags(device: str = "pump-1", *names: str) -> tuple[Tag, ...]:
    return tuple(Tag(name, device, Datatype.DOUBLE, "bar") for name in names or ("flow", "level"))


def row(ts_ms: int, value: float, name: str = "flow") -> Sample:
    return Sample(name, Datatype.DOUBLE, ts_ms, Quality.GOOD, value)
