"""Gateways whose messages are made before they are said: a process of benchmarks.host_ingest, one MQTT session each.

They follow Sparkplug and the delivery protocol as a real gateway does (births, seq, keyed batches, digests), publish
while a bounded number of their batches waits for a confirmation, and believe one only when its digest is right.
Says "ready" when all is made, begins at the first line of its input, and says as JSON what it did.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.outbox.encoding import BlockEncoder
from wire.block import Block, Quality
from wire.delivery import (
    BATCH,
    CONFIRMED,
    PROTOCOL,
    PROTOCOL_METRIC,
    Confirmation,
    check_confirmation,
    parse_confirmation,
)
from wire.edge_session import DeviceBirth, EdgeSession, Message
from wire.ids import NodeId
from wire.payload import Metric, decode
from wire.tag import Datatype, Tag, TagTable

LONGEST_S = 30.0
KINDS = (*[Datatype.FLOAT] * 6, *[Datatype.DOUBLE] * 2, Datatype.INT32, Datatype.BOOLEAN)


@dataclass(slots=True)
class Ready:
    """One gateway with its messages. waiting: number -> digest of what is published and not yet confirmed."""

    node: NodeId
    port: int
    births: list[Message]
    data: list[tuple[str, bytes, int, str]]  # topic, payload, number, digest
    epoch: str
    window: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[int, str] = field(default_factory=dict)
    confirmed: int = 0
    ended_s: float = 0.0
    rebirths: int = 0

    def run(self) -> None:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{self.node.node}", clean_session=True)
        client.max_queued_messages_set(0)
        client.on_message = lambda _client, _data, message: self._hear(bytes(message.payload))
        client.connect("127.0.0.1", self.port)
        client.subscribe(f"spBv1.0/{self.node.group}/NCMD/{self.node.node}", 1)
        client.loop_start()
        try:
            for message in self.births:
                client.publish(str(message.topic), message.payload)
            for topic, payload, number, digest in self.data:
                with self.changed:
                    if not self.changed.wait_for(lambda: len(self.waiting) < self.window, LONGEST_S):
                        raise TimeoutError(f"{self.node}: nothing was confirmed for {LONGEST_S:g} s")
                    self.waiting[number] = digest
                client.publish(topic, payload)
            with self.changed:
                if not self.changed.wait_for(lambda: not self.waiting, LONGEST_S):
                    raise TimeoutError(f"{self.node}: {len(self.waiting)} batches were not confirmed")
        finally:
            client.disconnect()
            client.loop_stop()

    def _hear(self, payload: bytes) -> None:
        for metric in decode(payload, named={CONFIRMED: Datatype.STRING}).metrics:
            if metric.name == CONFIRMED:
                self._confirm(parse_confirmation(str(metric.value)))
            else:
                self.rebirths += 1

    def _confirm(self, said: Confirmation) -> None:
        with self.changed:
            numbers, refused = check_confirmation(said, self.waiting)
            if refused or said.epoch != self.epoch:
                raise ValueError(f"{self.node}: a confirmation that does not fit: {said}")
            for number in numbers:
                del self.waiting[number]
            self.confirmed += len(numbers)
            self.ended_s = time.monotonic()
            self.changed.notify()


def ready(node: NodeId, port: int, devices: int, tags: int, batches: int, end_ms: int, window: int = 100) -> Ready:
    """A gateway with `batches` messages, each of one device's tags at one time, the last one at end_ms."""
    epoch, dice = f"{node.node}-{end_ms}", np.random.default_rng(batches)
    tables, aliases = [], {}
    for d in range(devices):
        name = f"device{d:02}"
        found = [Tag(f"machine/part{i:03}/reading", name, KINDS[i % len(KINDS)]) for i in range(tags)]
        tables.append(TagTable(found))
        first = 10 + d * (tags + 1)
        aliases[name] = {tag.name: first + i for i, tag in enumerate(found)} | {BATCH: first + tags}
    session = EdgeSession(node, 0)
    births = session.births(end_ms, _node_metrics(), [_birth(table, aliases[table.device]) for table in tables])
    encoder, data = BlockEncoder(), []
    for number in range(1, batches + 1):
        table = tables[number % devices]
        ts_ms = end_ms - (batches - number) // devices * 1000
        block = _block(table, ts_ms, dice)
        made = encoder.batch(node, epoch, number, table.device, [block], aliases[table.device])
        said = session.data(end_ms, table.device, made.body)
        data.append((str(said.topic), said.payload, number, made.digest))
    return Ready(node, port, births, data, epoch, window)


def _block(table: TagTable, ts_ms: int, dice: np.random.Generator) -> Block:
    n = len(table)
    kinds = [tag.datatype for tag in table]
    values = np.round(dice.normal(50.0, 12.0, n), 2)
    values = np.where([kind is Datatype.INT32 for kind in kinds], np.round(values * 100), values)
    bools = {i: bool(values[i] > 50) for i, kind in enumerate(kinds) if kind is Datatype.BOOLEAN}
    values[list(bools)] = np.nan
    good = np.full(n, Quality.GOOD, np.uint8)
    return Block(ts_ms, table, values, good, np.zeros(n, np.uint8), bools)


def _node_metrics() -> list[Metric]:
    text = Datatype.STRING
    return [
        Metric(name=PROTOCOL_METRIC, alias=1, datatype=text, value=PROTOCOL),
        Metric(name=BATCH, alias=2, datatype=text),
    ]


def _birth(table: TagTable, aliases: dict[str, int]) -> DeviceBirth:
    tags = [Metric(name=t.name, alias=aliases[t.name], datatype=t.datatype, quality=Quality.BAD) for t in table]
    return DeviceBirth(table.device, (*tags, Metric(name=BATCH, alias=aliases[BATCH], datatype=Datatype.STRING)))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    for name in ("port", "first", "gateways", "devices", "tags", "batches", "end-ms", "window"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args(arguments)
    names = [f"gw{i:02}" for i in range(asked.first, asked.first + asked.gateways)]
    gateways = [
        ready(NodeId("bench", name), asked.port, asked.devices, asked.tags, asked.batches, asked.end_ms, asked.window)
        for name in names
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=gateway.run, name=str(gateway.node)) for gateway in gateways]
    began_s, cpu_s = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    confirmed = sum(gateway.confirmed for gateway in gateways)
    ended_s = max(gateway.ended_s for gateway in gateways)
    rebirths = sum(gateway.rebirths for gateway in gateways)
    said = {"batches": confirmed, "began_s": began_s, "ended_s": ended_s, "commands": rebirths}
    print(json.dumps({**said, "cpu_s": time.process_time() - cpu_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
