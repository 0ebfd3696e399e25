"""What the host says to gateways, as topic and payload: confirmations, conflicts, rebirths. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from cloud.store.port import BatchKey
from wire.compressed import ALGORITHM
from wire.delivery import (
    COMPRESSION,
    CONFIRMED,
    CONFLICT,
    REBIRTH,
    REFILL,
    Confirmation,
    confirmation_json,
    confirmed_ranges,
)
from wire.ids import NodeId
from wire.payload import Metric, Payload, encode
from wire.tag import Datatype
from wire.topic import Topic

Command = tuple[Topic, bytes]


def rebirth(node: NodeId, now_ms: int) -> Command:
    return _command(node, Metric(name=REBIRTH, ts_ms=now_ms, datatype=Datatype.BOOLEAN, value=True), now_ms)


def inflates(host_id: str, node: NodeId, now_ms: int) -> Command:
    """This host unpacks compressed data of the node."""
    text = json.dumps({"host": host_id, "algorithm": ALGORITHM}, separators=(",", ":"))
    return _command(node, Metric(name=COMPRESSION, ts_ms=now_ms, datatype=Datatype.STRING, value=text), now_ms)


def confirmations(host_id: str, stored: Mapping[BatchKey, str], now_ms: int) -> Iterator[Command]:
    """One command per edge node and epoch. stored: batch -> digest."""
    grouped: dict[tuple[NodeId, str], dict[int, str]] = {}
    for key, digest in stored.items():
        grouped.setdefault((key.node, key.epoch), {})[key.number] = digest
    for (node, epoch), digests in grouped.items():
        text = confirmation_json(Confirmation(host_id, epoch, confirmed_ranges(digests)))
        yield _command(node, Metric(name=CONFIRMED, ts_ms=now_ms, datatype=Datatype.STRING, value=text), now_ms)


def conflict(host_id: str, key: BatchKey, digest: str, now_ms: int) -> Command:
    """This batch will never be stored: its dead letter is kept."""
    said = {"host": host_id, "epoch": key.epoch, "number": key.number, "digest": digest}
    text = json.dumps(said, separators=(",", ":"))
    return _command(key.node, Metric(name=CONFLICT, ts_ms=now_ms, datatype=Datatype.STRING, value=text), now_ms)


def refill(host_id: str, node: NodeId, from_ms: int, to_ms: int, now_ms: int) -> Command:
    """Send again what you confirmed of this time, both ends included: this host was restored and may have lost it."""
    text = json.dumps({"host": host_id, "from_ms": from_ms, "to_ms": to_ms}, separators=(",", ":"))
    return _command(node, Metric(name=REFILL, ts_ms=now_ms, datatype=Datatype.STRING, value=text), now_ms)


def _command(node: NodeId, metric: Metric, now_ms: int) -> Command:
    return Topic(node.group, "NCMD", node.node), encode(Payload(ts_ms=now_ms, metrics=(metric,)))
