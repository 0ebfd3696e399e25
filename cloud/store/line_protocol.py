"""InfluxDB line protocol from samples. Pure. Source: InfluxDB 1.x documentation, "Line protocol reference".

One measurement. Tags: group, node, device, tag: as many series as there are tags in the field, no more (10,000 tags
are 10,000 series). Fields, whose types never change: value (float; booleans 0 and 1), value_int (integer, for what
a float cannot hold: 64-bit integers, unsigned ones in two's complement), value_text (string), quality, reason,
datatype (integers, always there, so that stored = count(quality)). A tag never has the name of a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloud.store.columns import TEXTS, WIDE, split
from wire.block import Quality, Sample
from wire.ids import NodeId

MEASUREMENT = "sample"
NODE_ITSELF = "@node"
"""The device tag of an edge node's own metrics: an empty tag value is not allowed. No id of ours begins with '@'."""

_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\"})


def series_prefix(node: NodeId, device: str, tag: str) -> str:
    """Measurement and tag set, tags in the order of their keys (which is the fastest for the server)."""
    group, name, point = (text.translate(_KEY) for text in (node.group, node.node, tag))
    return f"{MEASUREMENT},device={(device or NODE_ITSELF).translate(_KEY)},group={group},node={name},tag={point} "


def line(prefix: str, s: Sample) -> str:
    """One sample; its stamp in milliseconds."""
    tail = f"quality={s.quality:d}i,reason={s.reason:d}i,datatype={s.datatype:d}i {s.ts_ms}"
    value, value_int, value_text = split(s)
    if value_text is not None:
        return f'{prefix}value_text="{value_text.translate(_TEXT)}",{tail}'
    if value is None:
        return prefix + tail
    if value_int is not None:
        return f"{prefix}value={value!r},value_int={value_int}i,{tail}"
    return f"{prefix}value={value!r},{tail}"


def lines(
    node: NodeId, device: str, samples: Iterable[Sample], prefixes: dict[tuple[NodeId, str, str], str]
) -> Iterator[str]:
    """The lines of one device's samples. prefixes: a cache that the caller keeps."""
    plain = TEXTS | WIDE
    for s in samples:
        key = (node, device, s.name)
        prefix = prefixes.get(key)
        if prefix is None:
            prefix = prefixes[key] = series_prefix(node, device, s.name)
        if s.value is not None and s.quality is not Quality.BAD and s.datatype not in plain:
            # The common case without the detours of `line`: three quarters of the time of a bulk write.
            yield (
                f"{prefix}value={float(s.value)!r},quality={s.quality:d}i,reason={s.reason:d}i,"
                f"datatype={s.datatype:d}i {s.ts_ms}"
            )
        else:
            yield line(prefix, s)


def quoted(identifier: str) -> str:
    """An identifier of InfluxQL; ours are keywords ('tag', 'group') and need their quotes."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
