"""What of a message can be stored: digest, impossible values, twins. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cloud.dead_letters import Letter
from cloud.store.port import Batch, BatchKey
from wire.block import Sample
from wire.columns import Columns
from wire.delivery import batch_digest
from wire.host_events import Data
from wire.thinned import REPLACES

# Before any gateway of ours was built, and further ahead than any wrong clock that still deserves belief.
EARLIEST_MS = 946_684_800_000  # 2000-01-01
LATEST_MS = 4_102_444_800_000  # 2100-01-01
LONGEST_TEXT = 60_000  # bytes; InfluxDB's string fields end at 65,535


@dataclass(slots=True)
class Screened:
    """One message: what goes into the database, and what goes to the dead letters."""

    batch: Batch
    letters: list[Letter] = field(default_factory=list)


def digest_fits(data: Data) -> bool:
    """True when the batch tag's count and digest are those of the names and values that we understood."""
    tag = data.batch
    if tag is None or tag.samples != len(data.samples):
        return False
    return batch_digest(data.node, data.device, tag.epoch, tag.number, data.samples) == tag.digest


def screened(data: Data, now_ms: int) -> Screened:
    """Sample by sample: one that no database can hold does not sink the others."""
    tag = data.batch
    key = BatchKey(data.node, tag.epoch, tag.number) if tag else BatchKey(data.node, "", now_ms)
    if isinstance(data.samples, Columns) and _all_fit(data.samples):
        return Screened(_batch(data, key, data.samples, 0))
    good: list[Sample] = []
    letters: list[Letter] = []
    seen: set[tuple[str, int]] = set()
    for i, s in enumerate(data.samples):
        why = unfit(s)
        if why:
            letters.append(letter_of(key, data.device, i, s, why))
        elif (s.name, s.ts_ms) not in seen:
            seen.add((s.name, s.ts_ms))
            good.append(s)
    return Screened(_batch(data, key, tuple(good), len(letters)), letters)


def _batch(data: Data, key: BatchKey, good: Sequence[Sample], dead: int) -> Batch:
    stamps = good.fields.stamps if isinstance(good, Columns) else [s.ts_ms for s in good]
    return Batch(
        data.node,
        data.device,
        good,
        key.epoch,
        key.number,
        data.batch.digest if data.batch else "",
        data.historical,
        dead=dead,
        collided=len(data.samples) - len(good) - dead,
        first_ms=min(stamps, default=0),
        last_ms=max(stamps, default=0),
    )


def _all_fit(samples: Columns) -> bool:
    """True when `unfit` has nothing against any of them and no two are the same one. Their floats are finite."""
    stamps, names = samples.fields.stamps, samples.fields.names
    return (
        (samples.distinct or len(set(zip(names, stamps, strict=True))) == len(names))
        and min(stamps) >= EARLIEST_MS
        and max(stamps) < LATEST_MS
        and all(map(_name_fits, names))
        and not any(isinstance(value, str) and _text_misfit(value) for value in samples.texts)
    )


def unfit(s: Sample) -> str:
    """Why no database can hold this sample; '' when it can."""
    if isinstance(s.value, float) and not math.isfinite(s.value):
        return "value is not a finite number"
    if not EARLIEST_MS <= s.ts_ms < LATEST_MS:
        return "timestamp is before 2000 or after 2099"
    if not _name_fits(s.name):
        return "name cannot be stored"
    if isinstance(s.value, str) and _text_misfit(s.value):
        return f"text is longer than {LONGEST_TEXT} bytes or holds a zero byte"
    return ""


@lru_cache(maxsize=50_000)
def _name_fits(name: str) -> bool:
    return name.isprintable() and bool(name) and not name.endswith("\\") and len(name) <= 1_000


def _text_misfit(text: str) -> bool:
    return "\0" in text or len(text.encode()) > LONGEST_TEXT


def letter_of(key: BatchKey, device: str, position: int, s: Sample, why: str) -> Letter:
    """A dead letter for one sample. position: its place in its message."""
    # Without a key, device and tag tell letters of one millisecond apart.
    digest = "" if key.epoch else f"{device}/{s.name}"
    return Letter("sample", key, device, position, why, _text([s]), s.name, min(s.ts_ms, 2**62), digest=digest)


def whole_batch(data: Data, why: str) -> Letter:
    """A dead letter for all of a keyed batch. Raises ValueError when it has no key."""
    tag = data.batch
    if tag is None:
        raise ValueError("a message without key is not a batch")
    key = BatchKey(data.node, tag.epoch, tag.number)
    marker = bool(data.samples) and data.samples[0].name == REPLACES  # of a thinned batch: no sample of a device
    samples = tag.samples - marker
    return Letter("conflict", key, data.device, -1, why, _text(data.samples), samples=samples, digest=tag.digest)


def _text(samples: Sequence[Sample]) -> bytes:
    rows = [[s.name, s.datatype.name, s.ts_ms, s.quality.name, s.value, s.reason.name] for s in samples]
    return json.dumps(rows, ensure_ascii=False).encode()
