"""Outbox files for tests: opened, filled, and read back sample by sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gateway.config.convert import WhenFull
from gateway.outbox.file import OutboxFile
from gateway.outbox.pending import Pending
from gateway.outbox.rows import Batch
from gateway.outbox.thin import names_of_aliases
from tests.gateway.field import LINES, TAGS, block, taken
from wire.block import Block, Sample
from wire.delivery import BATCH, RECORD, BatchTag, Confirmation, batch_digest, confirmed_ranges, parse_batch_tag
from wire.ids import NodeId
from wire.payload import decode
from wire.thinned import REPLACES, replaced

NODE = NodeId("plant", "gw")
T0 = 1_700_000_000_000


def opened(
    path: Path, when_full: WhenFull = "drop_oldest", limit: int = 1_000_000, clock: Callable[[], int] = lambda: T0
) -> OutboxFile:
    file = OutboxFile(path, NODE, limit, frozenset({"gaugeline"}), clock, when_full)
    file.open(TAGS, LINES)
    return file


def commit(file: OutboxFile, *blocks: Block) -> tuple[Batch, ...]:
    pending = Pending()
    pending.add(taken(*blocks))
    return file.commit(pending.take())[1]


def commit_at(file: OutboxFile, stamps: Iterable[int]) -> tuple[Batch, ...]:
    return commit(file, *[block(ts_ms) for ts_ms in stamps])


def confirm(file: OutboxFile, batches: Iterable[Batch]) -> tuple[Batch, ...]:
    fresh: tuple[Batch, ...] = ()
    found = list(batches)
    for epoch in {b.epoch for b in found}:
        ranges = confirmed_ranges({b.number: b.digest for b in found if b.epoch == epoch})
        fresh += file.confirm(Confirmation("gaugeline", epoch, ranges))[1]
    return fresh


def waiting(file: OutboxFile) -> list[Batch]:
    return file.unconfirmed(0, 2**62, 1_000_000, 10**12)


def content(file: OutboxFile, batch: Batch) -> tuple[BatchTag, BatchTag | None, list[Sample]]:
    """Its tag, the tag of the first version if it is thinned, its samples; the digest is checked."""
    names = names_of_aliases(file.db)
    samples: list[Sample] = []
    tag = None
    for m in decode(batch.body, {alias: kind for alias, (_, kind) in names.items()}).metrics:
        assert m.alias is not None and m.ts_ms is not None
        name, kind = names[m.alias]
        if name == BATCH:
            tag = parse_batch_tag(str(m.value))
        else:
            samples.append(Sample(name, kind, m.ts_ms, m.quality, m.value, m.reason))
    assert tag is not None
    assert (tag.epoch, tag.number, tag.samples, tag.digest) == (
        batch.epoch, batch.number, len(samples), batch.digest,
    )  # fmt: skip
    assert batch_digest(NODE, batch.device, batch.epoch, batch.number, samples) == batch.digest
    root = replaced(samples)
    if root is not None:
        assert samples[0].name == REPLACES
        samples = samples[1:]
    assert batch.samples == len(samples)
    return tag, root, samples


def records(file: OutboxFile, batches: Iterable[Batch], kind: str = "") -> list[dict[str, Any]]:
    """Contents of the node's records among the batches."""
    found = [json.loads(str(s.value)) for b in batches if not b.device for s in content(file, b)[2] if s.name == RECORD]
    return [r for r in found if not kind or r["kind"] == kind]


def on_disk(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir())
