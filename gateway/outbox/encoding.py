"""A device's samples of one commit window as encoded metrics with their Delivery/Batch. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.outbox.rows import JsonObject
from wire.block import Block, Quality, Reason, Sample
from wire.delivery import BATCH, RECORD, BatchTag, batch_digest
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.payload import Metric, Payload, data_metrics, encode
from wire.tag import Datatype

MAX_BATCH_SAMPLES = 5_000
"""About 150 kB encoded: far below the broker's usual limit, and one resend stays cheap."""


class Encoded(NamedTuple):
    """One batch ready for its row."""

    device: str
    number: int
    samples: int
    first_ms: int
    last_ms: int
    digest: str
    body: bytes


def encode_batch(
    node: NodeId, epoch: str, number: int, device: str, samples: Sequence[Sample], aliases: Mapping[str, int]
) -> Encoded:
    """aliases: tag name -> alias, Delivery/Batch included. A sample that its datatype cannot hold becomes BAD."""
    try:
        metrics = data_metrics(samples, aliases)
        body = encode(Payload(metrics=metrics))
        digest = batch_digest(node, device, epoch, number, samples)
    except (PayloadError, ValueError, OverflowError):
        samples = [_fitting(s, aliases[s.name]) for s in samples]
        metrics = data_metrics(samples, aliases)
        body = encode(Payload(metrics=metrics))
        digest = batch_digest(node, device, epoch, number, samples)
    tag = BatchTag(epoch, number, len(samples), digest)
    first, last = min(s.ts_ms for s in samples), max(s.ts_ms for s in samples)
    # The key is a metric of data like the others: it must bear a timestamp too.
    key = Metric(alias=aliases[BATCH], ts_ms=last, datatype=Datatype.STRING, value=str(tag))
    body += encode(Payload(metrics=(key,)))
    return Encoded(device, number, len(samples), first, last, digest, body)


def _fitting(sample: Sample, alias: int) -> Sample:
    try:
        encode(Payload(metrics=data_metrics((sample,), {sample.name: alias})))
    except (PayloadError, ValueError, OverflowError):
        return sample._replace(quality=Quality.BAD, value=None, reason=Reason.OUT_OF_RANGE)
    return sample


def device_runs(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Sample]]]:
    """(device, samples in time order), at most MAX_BATCH_SAMPLES each; devices in the order of their first Block."""
    by_device: dict[str, list[Block]] = {}
    for block in blocks:
        by_device.setdefault(block.device, []).append(block)
    for device, found in by_device.items():
        samples = [s for block in sorted(found, key=lambda b: b.ts_ms) for s in block.samples()]
        for start in range(0, len(samples), MAX_BATCH_SAMPLES):
            yield device, samples[start : start + MAX_BATCH_SAMPLES]


def record_samples(records: Sequence[JsonObject], ts_ms: int) -> list[Sample]:
    """Records of the node as samples of Delivery/Record."""
    texts = [json.dumps(record, separators=(",", ":")) for record in records]
    return [Sample(RECORD, Datatype.STRING, ts_ms, Quality.GOOD, text) for text in texts]
