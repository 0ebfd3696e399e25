"""Proof of delivery: batch keys, digests, confirmed ranges. Pure.

A batch is one Sparkplug message, durable in the gateway's outbox before it is published. It bears
`Delivery/Batch` = "epoch:number:samples:digest". The host recomputes the digest from the tag names that it
resolved, stores, and answers `Delivery/Confirmed` = JSON {host, epoch, ranges: [[first, last, digest of the
digests]]}. The key of a batch is (edge node, epoch, number); an epoch is drawn anew at every process start.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from wire.block import Sample, Value
from wire.columns import Columns
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.tag import Datatype

PROTOCOL = "gaugeline/1"  # NBIRTH metric Delivery/Protocol

BATCH = "Delivery/Batch"  # born with an alias in NBIRTH and in every DBIRTH
PROTOCOL_METRIC = "Delivery/Protocol"
RECORD = "Delivery/Record"  # NDATA, keyed: gap and drop records as JSON
COUNTERS = "Delivery/Counters"  # NDATA, unkeyed: counters per epoch and device as JSON
CONFIRMED = "Delivery/Confirmed"  # NCMD from the host, born without alias
REFILL = "Delivery/Refill"  # NCMD from the host, born without alias
CONFLICT = "Delivery/Conflict"  # NCMD from the host, born without alias
COMPRESSION = "Delivery/Compression"  # NBIRTH: what the node offers, null for nothing; NCMD: a host that inflates it
REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
WITHOUT_ALIAS = frozenset({REBIRTH, BD_SEQ, CONFIRMED, REFILL, CONFLICT, COMPRESSION})
"""Metrics that are born without alias, so that a command can name them before any birth was understood."""

_INTEGER = struct.Struct("<q")
_UNSIGNED = struct.Struct("<Q")
_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_STAMPED = struct.Struct("<qB")  # ts_ms, quality


class BatchTag(NamedTuple):
    """The text of `Delivery/Batch`, taken apart."""

    epoch: str
    number: int
    samples: int
    digest: str

    def __str__(self) -> str:
        return f"{self.epoch}:{self.number}:{self.samples}:{self.digest}"


def parse_batch_tag(text: str) -> BatchTag:
    """Raises PayloadError when the text is not `epoch:number:samples:digest`."""
    parts = text.split(":")
    if len(parts) != 4 or not 0 < len(parts[0]) <= 64 or len(parts[3]) != 32:
        raise PayloadError(f"not a batch tag: {text[:100]!r}")
    # 18 digits fit into 64 bits, here and in every database.
    if not all(number.isdecimal() and len(number) <= 18 for number in parts[1:3]):
        raise PayloadError(f"not a batch tag: {text[:100]!r}")
    return BatchTag(parts[0], int(parts[1]), int(parts[2]), parts[3])


def value_bytes(datatype: Datatype, value: Value | None) -> bytes:
    """What the digest covers of a value."""
    if value is None:
        return b""
    if datatype is Datatype.FLOAT:
        return _FLOAT.pack(value)
    if datatype is Datatype.DOUBLE:
        return _DOUBLE.pack(value)
    if datatype is Datatype.BOOLEAN:
        return b"\x01" if value else b"\x00"
    if datatype in (Datatype.STRING, Datatype.TEXT):
        text = str(value).encode()
        return _UNSIGNED.pack(len(text)) + text
    if datatype in (Datatype.UINT64, Datatype.DATETIME):
        return _UNSIGNED.pack(int(value))
    return _INTEGER.pack(int(value))


def sample_head(name: str, datatype: Datatype) -> bytes:
    """What the digest covers of a sample before its stamp."""
    raw = name.encode()
    return _UNSIGNED.pack(len(raw)) + raw + bytes([datatype])


def sample_bytes(s: Sample) -> bytes:
    """What the digest covers of one sample: name, datatype, stamp, quality, value; the reason is not part of it."""
    value = b"\x00" if s.value is None else b"\x01" + value_bytes(s.datatype, s.value)
    return sample_head(s.name, s.datatype) + _STAMPED.pack(s.ts_ms, s.quality) + value


def batch_digest(node: NodeId, device: str, epoch: str, number: int, samples: Iterable[Sample]) -> str:
    """BLAKE2b-128 over node, device, epoch, number and every sample's name, datatype, stamp, quality and value.

    Little-endian; names are length-prefixed so that no two batches share a byte string. device is '' for
    node records. The reason, seq, payload time and historical flag are not part of it.
    """
    parts = (samples.digested,) if isinstance(samples, Columns) else map(sample_bytes, samples)
    return bytes_digest(node, device, epoch, number, parts)


def bytes_digest(node: NodeId, device: str, epoch: str, number: int, parts: Iterable[bytes]) -> str:
    """batch_digest of samples that are bytes already. parts: sample_bytes of the batch, one or many in each."""
    hasher = blake2b(digest_size=16)
    for text in (node.group, node.node, device, epoch):
        raw = text.encode()
        hasher.update(_UNSIGNED.pack(len(raw)) + raw)
    hasher.update(_UNSIGNED.pack(number))
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def digest_of_digests(digests: Sequence[str]) -> str:
    """BLAKE2b-128 over the digests of a range, in the order of their numbers."""
    hasher = blake2b(digest_size=16)
    for digest in digests:
        hasher.update(bytes.fromhex(digest))
    return hasher.hexdigest()


class ConfirmedRange(NamedTuple):
    """Batches first..last (both included) are stored; digest covers the digests of all of them."""

    first: int
    last: int
    digest: str


class Confirmation(NamedTuple):
    host: str
    epoch: str
    ranges: tuple[ConfirmedRange, ...]


def confirmed_ranges(digests: Mapping[int, str]) -> tuple[ConfirmedRange, ...]:
    """The fewest ranges over batch number -> digest."""
    ranges: list[ConfirmedRange] = []
    run: list[int] = []
    for number in [*sorted(digests), None]:
        if run and number != run[-1] + 1:
            ranges.append(ConfirmedRange(run[0], run[-1], digest_of_digests([digests[n] for n in run])))
            run = []
        if number is not None:
            run.append(number)
    return tuple(ranges)


def confirmation_json(confirmation: Confirmation) -> str:
    return json.dumps(
        {
            "host": confirmation.host,
            "epoch": confirmation.epoch,
            "ranges": [list(r) for r in confirmation.ranges],
        },
        separators=(",", ":"),
    )


def parse_confirmation(text: str) -> Confirmation:
    """Raises PayloadError when the text is not a confirmation."""
    try:
        raw = json.loads(text)
        ranges = tuple(ConfirmedRange(int(a), int(b), str(d)) for a, b, d in raw["ranges"])
        found = Confirmation(str(raw["host"]), str(raw["epoch"]), ranges)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as fault:  # Infinity; "[[[[..."
        raise PayloadError(f"not a confirmation: {text[:200]!r}") from fault
    if any(r.first > r.last or r.first < 0 for r in ranges):
        raise PayloadError(f"a confirmed range that runs backwards: {text[:200]!r}")
    return found


def check_confirmation(confirmation: Confirmation, published: Mapping[int, str]) -> tuple[list[int], int]:
    """Which numbers a confirmation truly confirms, and how many ranges were not believed.

    published: number -> digest of the batches of that epoch which this gateway published and has not yet
    seen confirmed (or keeps after their confirmation: a range may cover those again). A range is believed
    only when every number in it is known and the digest of digests agrees.
    """
    numbers: list[int] = []
    refused = 0
    for r in confirmation.ranges:
        span = range(r.first, r.last + 1)
        # The length first: a forged range of a billion numbers must cost nothing.
        known = len(span) <= len(published) and all(n in published for n in span)
        if known and digest_of_digests([published[n] for n in span]) == r.digest:
            numbers.extend(span)
        else:
            refused += 1
    return numbers, refused
