"""Bodies of batches read back from the file. What the disk has changed in them is found out here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wire.block import Sample
from wire.delivery import BATCH, BatchTag, batch_digest, parse_batch_tag
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.payload import decode
from wire.tag import Datatype

Names = Mapping[int, tuple[str, Datatype]]
"""alias -> tag name, datatype."""

_DATATYPES = frozenset(int(kind) for kind in Datatype)
_LATEST = 2**63  # a stamp stands in 64 bits with sign


def read_names(rows: Iterable[tuple[int, str, int]]) -> dict[int, tuple[str, Datatype]]:
    """rows: alias, tag, datatype of table alias. One with a datatype that there is none of was changed by the disk."""
    return {alias: (tag, Datatype(kind)) for alias, tag, kind in rows if kind in _DATATYPES}


class Body(NamedTuple):
    """samples: with the marker of a thinned batch, as the digest covers them. aliases: name -> alias as used."""

    samples: list[Sample]
    aliases: dict[str, int]
    tag: BatchTag


def read_body(body: bytes, names: Names, types: Mapping[int, Datatype] | None = None) -> Body:
    """Raises PayloadError for what was never written so. types: those of `names`, where many are read."""
    kinds = types if types is not None else {alias: datatype for alias, (_, datatype) in names.items()}
    samples: list[Sample] = []
    aliases: dict[str, int] = {}
    key = ""
    for m in decode(body, kinds).metrics:
        if m.alias is None or m.alias not in names or m.ts_ms is None or m.ts_ms >= _LATEST:
            raise PayloadError("a metric without a known alias or time")
        name, datatype = names[m.alias]
        aliases[name] = m.alias
        if name == BATCH:
            key = str(m.value)
        else:
            samples.append(Sample(name, datatype, m.ts_ms, m.quality, m.value, m.reason))
    return Body(samples, aliases, parse_batch_tag(key))


def proved(body: Body, node: NodeId, device: str) -> bool:
    """True when samples and digest are those that were written."""
    tag = body.tag
    digest = batch_digest(node, device, tag.epoch, tag.number, body.samples)
    return (digest, len(body.samples)) == (tag.digest, tag.samples)
