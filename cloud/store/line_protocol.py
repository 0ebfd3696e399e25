"""InfluxDB line protocol from samples. Pure. Source: InfluxDB 1.x documentation, "Line protocol reference".

One measurement. Tags: group, node, device, tag: as many series as there are tags in the field, no more (10,000 tags
are 10,000 series). Fields, whose types never change: value (float; booleans 0 and 1), value_int (integer, for what
a float cannot hold: 64-bit integers, unsigned ones in two's complement), value_text (string), quality (integer, always
there, so that stored = count(quality)), reason (integer, only where there is one), datatype (integer, only where it is
not FLOAT). Each field more costs the server as much as the value itself, so that what says nothing is left out. A tag
never has the name of a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from pydantic_core import to_json

from cloud.store.columns import TEXTS, WIDE, split
from wire.block import Quality, Reason, Sample
from wire.columns import fields_of
from wire.ids import NodeId
from wire.tag import Datatype

MEASUREMENT = "sample"
NODE_ITSELF = "@node"
"""The device tag of an edge node's own metrics: an empty tag value is not allowed. No id of ours begins with '@'."""
USUAL = Datatype.FLOAT
"""The datatype of rows that name none."""

_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_PLAIN = frozenset(Datatype) - TEXTS - WIDE
_GOOD = f",quality={Quality.GOOD:d}i"
MOST_FORMS = 8  # sequences of tags of one device whose lines are kept half-made
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\"})


def series_prefix(node: NodeId, device: str, tag: str, measurement: str = MEASUREMENT) -> str:
    """Measurement and tag set, tags in the order of their keys (which is the fastest for the server)."""
    group, name, point = (text.translate(_KEY) for text in (node.group, node.node, tag))
    return f"{measurement},device={(device or NODE_ITSELF).translate(_KEY)},group={group},node={name},tag={point} "


def line(prefix: str, s: Sample) -> str:
    """One sample; its stamp in milliseconds."""
    reason = f",reason={s.reason:d}i" if s.reason is not Reason.NONE else ""
    tail = f"quality={s.quality:d}i{reason}{_kind(s.datatype)} {s.ts_ms}"
    value, value_int, value_text = split(s.datatype, s.quality, s.value)
    if value_text is not None:
        return f'{prefix}value_text="{value_text.translate(_TEXT)}",{tail}'
    if value is None:
        return prefix + tail
    if value_int is not None:
        return f"{prefix}value={value!r},value_int={value_int}i,{tail}"
    return f"{prefix}value={value!r},{tail}"


def _kind(datatype: Datatype) -> str:
    return "" if datatype is USUAL else f",datatype={datatype:d}i"


class _Form:
    """Lines of one sequence of tags and datatypes, for GOOD numbers: only values and stamps are missing."""

    def __init__(self, heads: Sequence[str], datatypes: Sequence[Datatype]) -> None:
        self.datatypes = datatypes
        self.plain = _PLAIN.issuperset(datatypes)
        self._booleans = [i for i, kind in enumerate(datatypes) if kind is Datatype.BOOLEAN]
        # A zero byte stands for the stamp: no name holds one (cloud.screen).
        both = zip(heads, datatypes, strict=True)
        lines = [f"{head.replace('%', '%%')}value=%b{_GOOD}{_kind(kind)} \0" for head, kind in both]
        self._lines = "\n".join(lines).encode()
        self._stamped = self._lines.replace(b"\0", b"%d")

    def filled(self, values: Sequence[object], stamps: Sequence[int]) -> bytes:
        """values: numbers, all finite."""
        if self._booleans:
            values = list(values)
            for i in self._booleans:
                values[i] = int(values[i])  # type: ignore[call-overload]
        # Shortest digits that give the same float, as repr does, in a tenth of its time.
        numbers = to_json(list(values))[1:-1].split(b",")
        if stamps.count(stamps[0]) == len(stamps):
            return (self._lines % tuple(numbers)).replace(b"\0", b"%d" % stamps[0])
        return self._stamped % tuple(chain.from_iterable(zip(numbers, stamps, strict=True)))


class Prefixes:
    """What the lines of a device's tags begin with, and whole messages' worth of it where they come again and again."""

    def __init__(self, most: int = 1_000_000) -> None:
        self._most, self._known = most, 0
        self._of_device: dict[tuple[NodeId, str], dict[str, str]] = {}
        self._forms: dict[tuple[NodeId, str], dict[Sequence[str], _Form]] = {}

    def of(self, node: NodeId, device: str, names: Sequence[str]) -> list[str]:
        """A prefix for each name."""
        if self._known > self._most:  # third-party nodes may invent names for ever
            self._of_device.clear()
            self._forms.clear()
            self._known = 0
        tags = self._of_device.setdefault((node, device), {})
        for name in names:
            if name not in tags:
                tags[name] = series_prefix(node, device, name)
                self._known += 1
        return [tags[name] for name in names]

    def form(self, node: NodeId, device: str, names: Sequence[str], datatypes: Sequence[Datatype]) -> _Form:
        """The half-made lines of a message."""
        forms = self._forms.setdefault((node, device), {})
        found = forms.get(names)
        if found is None or (found.datatypes is not datatypes and tuple(found.datatypes) != tuple(datatypes)):
            found = _Form(self.of(node, device, names), datatypes)
            forms = self._forms.setdefault((node, device), {})
            if len(forms) >= MOST_FORMS:
                forms.clear()
            forms[names] = found
        return found


def body(node: NodeId, device: str, samples: Sequence[Sample], prefixes: Prefixes) -> bytes:
    """The lines of one device's samples, a line each. prefixes: a cache that the caller keeps."""
    if not samples:
        return b""
    names, datatypes, stamps, qualities, values, reasons = fields_of(samples)
    usual = None not in values and set(qualities) == {Quality.GOOD} and not any(reasons)
    if usual and isinstance(names, tuple):
        form = prefixes.form(node, device, names, datatypes)
        if form.plain:
            return form.filled(values, stamps)
    heads = prefixes.of(node, device, names)
    return "\n".join([line(head, sample) for head, sample in zip(heads, samples, strict=True)]).encode()


def quoted(identifier: str) -> str:
    """An identifier of InfluxQL; ours are keywords ('tag', 'group') and need their quotes."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
