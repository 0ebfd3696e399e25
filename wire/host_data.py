"""What a host understands of a data message of a known device: samples, batch tag, what is left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wire.block import Sample
from wire.delivery import BATCH, BD_SEQ, BatchTag, parse_batch_tag
from wire.errors import PayloadError
from wire.host_node import Node, decoded
from wire.payload import Metric, Payload
from wire.quick import Quick, quick
from wire.topic import Topic

CONTROLS = ("Node Control/", "Device Control/", "Delivery/")
LATEST = 2**63  # a digest, like every database, holds a stamp in 64 bits with sign


class Understood(NamedTuple):
    """left: (name, datatype) of metrics of datatypes that we do not speak."""

    samples: Sequence[Sample]
    batch: BatchTag | None
    historical: bool
    left: tuple[tuple[str, str], ...] = ()


def heard(node: Node | None, topic: Topic, data: bytes) -> Payload:
    """Any message, decoded; by columns where it is data as our own gateways say it. Raises PayloadError."""
    if node is not None and node.confirming and topic.type == "DDATA":
        found = quick(node, topic.device, data)
        if found is not None:
            return found
    return decoded(node, topic, data)


def understood(node: Node, device: str, payload: Payload) -> Understood | Metric:
    """A Metric: one that no birth explains. device: born. Raises PayloadError."""
    if isinstance(payload, Quick):
        return Understood(payload.samples, payload.batch, payload.historical)
    samples: list[Sample] = []
    batch: BatchTag | None = None
    left = [(o.name or f"alias {o.alias}", o.kind) for o in payload.others]
    for m in payload.metrics:
        known = node.resolve(device, m)
        if known is None and (other := node.other(device, m)) is not None:
            left.append(other)
            continue
        if known is None:
            return m
        if known.name == BATCH:
            batch = parse_batch_tag(str(m.value))
            continue
        ts_ms = m.ts_ms if m.ts_ms is not None else payload.ts_ms
        if ts_ms is None or ts_ms >= LATEST:
            raise PayloadError(f"{known.name} has {'no' if ts_ms is None else 'an impossible'} timestamp")
        if not node.confirming and (known.name == BD_SEQ or known.name.startswith(CONTROLS)):
            continue
        samples.append(Sample(known.name, known.datatype, ts_ms, m.quality, m.value, m.reason))
    return Understood(tuple(samples), batch, any(m.historical for m in payload.metrics), tuple(left))
