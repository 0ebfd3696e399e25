"""A device's samples of one commit window as encoded metrics with their Delivery/Batch. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from gateway.outbox.rows import JsonObject
from wire.block import Block, Quality, Reason, Sample
from wire.block_bytes import TableBytes
from wire.delivery import BATCH, RECORD, BatchTag, bytes_digest, sample_bytes
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.payload import Metric, Payload, data_metrics, encode
from wire.tag import Datatype, TagTable

MAX_BATCH_SAMPLES = 5_000
"""About 150 kB encoded: far below the broker's usual limit, and one resend stays cheap."""

WORTH_A_FORM = 8  # Blocks of a table before it gets one
MOST_FORMS = 1_000


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
    first, last = min(s.ts_ms for s in samples), max(s.ts_ms for s in samples)
    body, digested = _sample_by_sample(samples, aliases)
    return _keyed(node, epoch, number, device, _Content(len(samples), first, last, body, [digested]), aliases)


class _Content(NamedTuple):
    samples: int
    first_ms: int
    last_ms: int
    body: bytes
    digested: Sequence[bytes]


def _keyed(
    node: NodeId, epoch: str, number: int, device: str, content: _Content, aliases: Mapping[str, int]
) -> Encoded:  # fmt: skip
    digest = bytes_digest(node, device, epoch, number, content.digested)
    tag = BatchTag(epoch, number, content.samples, digest)
    # The key is a metric of data like the others: it must bear a timestamp too.
    key = Metric(alias=aliases[BATCH], ts_ms=content.last_ms, datatype=Datatype.STRING, value=str(tag))
    body = content.body + encode(Payload(metrics=(key,)))
    return Encoded(device, number, content.samples, content.first_ms, content.last_ms, digest, body)


def _sample_by_sample(samples: Sequence[Sample], aliases: Mapping[str, int]) -> tuple[bytes, bytes]:
    """Metrics, and what the digest covers."""
    try:
        return _as_given(samples, aliases)
    except (PayloadError, ValueError, OverflowError):
        return _as_given([_fitting(s, aliases) for s in samples], aliases)


def _as_given(samples: Sequence[Sample], aliases: Mapping[str, int]) -> tuple[bytes, bytes]:
    return encode(Payload(metrics=data_metrics(samples, aliases))), b"".join(map(sample_bytes, samples))


def _fitting(sample: Sample, aliases: Mapping[str, int]) -> Sample:
    try:
        _as_given((sample,), aliases)
    except (PayloadError, ValueError, OverflowError):
        return sample._replace(quality=Quality.BAD, value=None, reason=Reason.OUT_OF_RANGE)
    return sample


class BlockEncoder:
    """Blocks as batches, by columns where their table comes often.

    A form takes 3 to 25 kB. Report by exception makes tables of every set of tags that changed together: few of them
    are worth one.
    """

    def __init__(self) -> None:
        self._aliases: WeakKeyDictionary[TagTable, Mapping[str, int]] = WeakKeyDictionary()
        self._seen: WeakKeyDictionary[TagTable, int] = WeakKeyDictionary()
        self._forms: WeakKeyDictionary[TagTable, TableBytes] = WeakKeyDictionary()

    def batch(
        self, node: NodeId, epoch: str, number: int, device: str, blocks: Sequence[Block], aliases: Mapping[str, int]
    ) -> Encoded:
        """As encode_batch. blocks: of one device, in time order."""
        bodies: list[bytes] = []
        digested: list[bytes] = []
        for block in blocks:
            form = self._form(block.tags, aliases)
            left: Sequence[int] = range(len(block.tags))
            if form is not None:
                body, covered, left = form.of(block)
                bodies.append(body)
                digested.append(covered)
            if left:
                body, covered = _sample_by_sample([block.sample(column) for column in left], aliases)
                bodies.append(body)
                digested.append(covered)
        count = sum(len(block.tags) for block in blocks)
        content = _Content(count, blocks[0].ts_ms, blocks[-1].ts_ms, b"".join(bodies), digested)
        return _keyed(node, epoch, number, device, content, aliases)

    def _form(self, tags: TagTable, aliases: Mapping[str, int]) -> TableBytes | None:
        if self._aliases.get(tags) is not aliases:  # another configuration, or another file
            self._aliases[tags], self._seen[tags] = aliases, 0
            self._forms.pop(tags, None)
        form = self._forms.get(tags)
        if form is None:
            self._seen[tags] += 1
            if self._seen[tags] >= WORTH_A_FORM and len(self._forms) < MOST_FORMS:
                form = self._forms[tags] = TableBytes(tags, aliases)
        return form


def device_runs(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """(device, Blocks in time order), about MAX_BATCH_SAMPLES at most; devices in the order of their first Block."""
    by_device: dict[str, list[Block]] = {}
    for block in blocks:
        by_device.setdefault(block.device, []).append(block)
    for device, found in by_device.items():
        run: list[Block] = []
        samples = 0
        for block in sorted(found, key=lambda b: b.ts_ms):
            if run and samples + len(block.tags) > MAX_BATCH_SAMPLES:
                yield device, run
                run, samples = [], 0
            run.append(block)
            samples += len(block.tags)
        yield device, run


def record_samples(records: Sequence[JsonObject], ts_ms: int) -> list[Sample]:
    """Records of the node as samples of Delivery/Record."""
    texts = [json.dumps(record, separators=(",", ":")) for record in records]
    return [Sample(RECORD, Datatype.STRING, ts_ms, Quality.GOOD, text) for text in texts]
