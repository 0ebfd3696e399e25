"""InfluxDB line protocol from samples. Pure. Source: InfluxDB 1.x documentation, "Line protocol reference".

One measurement. Tags: group, node, device, tag: as many series as there are tags in the field, no more (10,000 tags
are 10,000 series). Fields, whose types never change: value (float; booleans 0 and 1), value_int (integer, for what
a float cannot hold: 64-bit integers, unsigned ones in two's complement), value_text (string), quality, reason,
datatype (integers, always there, so that stored = count(quality)). A tag never has the name of a field.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloud.store.columns import TEXTS, WIDE, split
from wire.block import Quality, Sample
from wire.columns import fields_of
from wire.ids import NodeId
from wire.tag import Datatype

MEASUREMENT = "sample"
NODE_ITSELF = "@node"
"""The device tag of an edge node's own metrics: an empty tag value is not allowed. No id of ours begins with '@'."""

_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_PLAIN = frozenset(Datatype) - TEXTS - WIDE
MOST_FORMS = 4  # sequences of tags of one device whose prefixes are kept
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\"})


def series_prefix(node: NodeId, device: str, tag: str) -> str:
    """Measurement and tag set, tags in the order of their keys (which is the fastest for the server)."""
    group, name, point = (text.translate(_KEY) for text in (node.group, node.node, tag))
    return f"{MEASUREMENT},device={(device or NODE_ITSELF).translate(_KEY)},group={group},node={name},tag={point} "


def line(prefix: str, s: Sample) -> str:
    """One sample; its stamp in milliseconds."""
    tail = f"quality={s.quality:d}i,reason={s.reason:d}i,datatype={s.datatype:d}i {s.ts_ms}"
    value, value_int, value_text = split(s.datatype, s.quality, s.value)
    if value_text is not None:
        return f'{prefix}value_text="{value_text.translate(_TEXT)}",{tail}'
    if value is None:
        return prefix + tail
    if value_int is not None:
        return f"{prefix}value={value!r},value_int={value_int}i,{tail}"
    return f"{prefix}value={value!r},{tail}"


class Prefixes:
    """What the lines of a device's tags begin with, and whole messages' worth of it where they come again and again."""

    def __init__(self, most: int = 1_000_000) -> None:
        self._most, self._known = most, 0
        self._of_device: dict[tuple[NodeId, str], dict[str, str]] = {}
        self._of_names: dict[tuple[NodeId, str], dict[Sequence[str], list[str]]] = {}

    def of(self, node: NodeId, device: str, names: Sequence[str]) -> list[str]:
        """A prefix for each name."""
        whole = self._of_names.setdefault((node, device), {})
        found = whole.get(names)
        if found is None:
            if self._known > self._most:  # third-party nodes may invent names for ever
                self._of_device.clear()
                self._of_names.clear()
                self._known, whole = 0, self._of_names.setdefault((node, device), {})
            tags = self._of_device.setdefault((node, device), {})
            for name in names:
                if name not in tags:
                    tags[name] = series_prefix(node, device, name)
                    self._known += 1
            found = [tags[name] for name in names]
            if len(whole) >= MOST_FORMS:
                whole.clear()
            whole[names] = found
        return found


def lines(node: NodeId, device: str, samples: Sequence[Sample], prefixes: Prefixes) -> list[str]:
    """The lines of one device's samples, a line each. prefixes: a cache that the caller keeps."""
    if not samples:
        return []
    names, datatypes, stamps, qualities, values, reasons = fields_of(samples)
    heads = prefixes.of(node, device, names)
    if None in values or not _PLAIN.issuperset(datatypes) or set(qualities) != {Quality.GOOD} or any(reasons):
        return [line(head, sample) for head, sample in zip(heads, samples, strict=True)]
    # The common case without the detours of `line`: a quarter of the time.
    tails = {
        (kind, ts_ms): f",quality={Quality.GOOD:d}i,reason=0i,datatype={kind:d}i {ts_ms}"
        for kind, ts_ms in set(zip(map(int, datatypes), stamps, strict=True))
    }
    ends = map(tails.__getitem__, zip(map(int, datatypes), stamps, strict=True))
    numbers = map(repr, map(float, values))  # type: ignore[arg-type]  # no text is among them
    return [f"{head}value={number}{end}" for head, number, end in zip(heads, numbers, ends, strict=True)]


def quoted(identifier: str) -> str:
    """An identifier of InfluxQL; ours are keywords ('tag', 'group') and need their quotes."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
