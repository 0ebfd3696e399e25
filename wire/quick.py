"""Data messages as gateways of ours say them, decoded by columns: a fifth of the time of wire.payload.

One regular expression takes a message apart into metrics of alias, stamp, historical flag, quality and value, in the
order of their field numbers. What it does not match to the last byte, and whatever is unusual in what it matches (an
alias that no birth of this device named, a value of another kind than born, a number that is not finite, a text that is
not ASCII, two batch tags), gives None: then wire.payload decodes the message and says what is wrong with it. So this
module never refuses anything, and what it gives is what the careful way gives; a test compares them. Pure.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, NamedTuple

from wire.block import Quality, Reason, Value
from wire.columns import Columns, Fields, fields_of
from wire.compressed import UUID, inflated
from wire.delivery import BATCH, BatchTag, parse_batch_tag, sample_head, value_bytes
from wire.errors import PayloadError
from wire.payload import FIELD_OF, SIGNED_32, Metric, Payload, encode, parsed
from wire.tag import Datatype

if TYPE_CHECKING:
    from wire.host_node import Alias, Device, Node

MOST_FORMS = 4  # sequences of tags of one device, 7 kB each at 100 tags; report by exception makes very many

_KEY = {  # key byte of a value: field number << 3 | wire type
    "int_value": b"\x50", "long_value": b"\x58", "float_value": b"\x65", "double_value": b"\x69",
    "boolean_value": b"\x70", "string_value": b"\x7a",
}  # fmt: skip
_FIXED = {Datatype.FLOAT: "xf", Datatype.DOUBLE: "xd", Datatype.BOOLEAN: "x?"}  # the key byte is left out
_STAMP = rb"[\x80-\xff]{5}[\x01-\x7f]"  # six bytes: from 1971 to 2109
_ALIAS = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
# _KEY's bytes are letters for a regular expression; the last alternative is no value.
_VALUE = rb"i.{8}|e.{4}|p[\x00\x01]|P[\x80-\xff]{0,4}[\x00-\x7f]|X[\x80-\xff]{0,9}[\x00-\x7f]|z.[ -~]*|"
_HEAD = re.compile(rb"\x08(" + _STAMP + rb")\x18([\x80-\xff]?[\x00-\x7f])", re.DOTALL)
_GOOD_TAIL = bytes([Quality.GOOD, 1])

_NOTHING = Columns(fields_of(()), b"", plain=True, distinct=True)

State = tuple[Quality, Reason, bool]
"""Quality, reason, and whether there is no value."""


def _states() -> dict[bytes, State]:
    """How wire.payload says what is not GOOD: the bytes between stamp and value."""
    found: dict[bytes, State] = {b"": (Quality.GOOD, Reason.NONE, False), b"\x38\x01": (Quality.BAD, Reason.NONE, True)}
    for quality in (Quality.BAD, Quality.UNCERTAIN):
        for reason in Reason:
            null = encode(Payload(metrics=(Metric(alias=0, quality=quality, reason=reason),)))
            found[null[4:]] = (quality, reason, True)  # after key and length of the metric, key and value of the alias
            if quality is Quality.UNCERTAIN:
                found[null[6:]] = (quality, reason, False)  # after the null flag too
    return found


_STATES = _states()
_SETS = sorted({state.removeprefix(b"\x38\x01") for state in _STATES} - {b""})
_METRIC = re.compile(
    rb"(\x12.\x10(" + _ALIAS + rb")\x18(" + _STAMP + rb")(\x28\x01)?((?:\x38\x01)?(?:"
    + b"|".join(map(re.escape, _SETS)) + rb")?)(" + _VALUE + rb"))", re.DOTALL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quick(Payload):
    """A data message whose aliases are resolved already: samples in place of metrics."""

    samples: Columns = _NOTHING
    batch: BatchTag | None = None
    historical: bool = False


class _Row(NamedTuple):
    """A tag of a device. head: what the digest covers before the stamp. key: the key byte of its values."""

    alias: int
    known: Alias
    head: bytes
    key: bytes


class _Form:
    """A sequence of tags as a message has it: `rows`, and after them the batch tag where `keyed`.

    loose: rows whose values have no fixed width.
    """

    def __init__(self, said: Sequence[_Row], keyed: bool) -> None:
        self.keyed = keyed
        self.numbers = [row.alias for row in said]
        self.known = [row.known for row in said]
        rows = self.rows = said[:-1] if keyed else said
        self.heads = [row.head for row in rows]
        self.keys = b"".join(row.key for row in rows)
        self.names = tuple(row.known.name for row in rows)
        self.datatypes = tuple(row.known.datatype for row in rows)
        self.distinct = len(set(self.names)) == len(rows)
        self.loose = [i for i, kind in enumerate(self.datatypes) if kind not in _FIXED]
        self.fixed = struct.Struct("<" + "".join(_FIXED[kind] for kind in self.datatypes if kind in _FIXED))
        self.texts = _KEY["string_value"] in self.keys


def _form(said: Sequence[_Row]) -> _Form | None:
    """None where the batch tag stands elsewhere than last, alone, or is no text."""
    batches = [i for i, row in enumerate(said) if row.known.name == BATCH]
    if not batches:
        return _Form(said, keyed=False)
    last = len(said) - 1
    return _Form(said, keyed=True) if batches == [last] != [0] and said[last].key == _KEY["string_value"] else None


class Table:
    """The tags of one device between its birth and the next, and the forms of its messages."""

    def __init__(self, node: Node, device: Device, name: str) -> None:
        self._rows: dict[bytes, _Row] = {}
        for alias in device.aliases:
            known = node.aliases.get(alias)
            if known is not None and known.device == name:
                head = sample_head(known.name, known.datatype)
                self._rows[_varint(alias)] = _Row(alias, known, head, _KEY[FIELD_OF[known.datatype]])
        self._forms: dict[bytes, _Form | None] = {}

    def form(self, aliases: Sequence[bytes]) -> _Form | None:
        key = b"".join(aliases)  # every varint says where it ends
        if key not in self._forms:
            rows = [self._rows[alias] for alias in aliases if alias in self._rows]
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
            self._forms[key] = _form(rows) if len(rows) == len(aliases) else None
        return self._forms[key]


def quick(node: Node, device: str, data: bytes) -> Quick | None:
    """A data message of a device; None for everything that is better looked at with care."""
    of_device = node.devices.get(device)
    if of_device is None:
        return None
    head = _HEAD.match(data)
    if head is not None:
        ts_ms, seq, body = _number(head[1]), _number(head[2]), data[head.end() :]
    elif (unpacked := _unpacked(data)) is not None:
        ts_ms, seq, body = unpacked
    else:
        return None
    found = _METRIC.findall(body)
    if not found:
        return None
    stamps: Sequence[bytes]
    states: Sequence[bytes]
    values: Sequence[bytes]
    wholes, aliases, stamps, historical, states, values = zip(*found, strict=True)
    lengths = list(map(len, wholes))
    # Nothing was skipped, and every length is that of its metric; one of two bytes would be of a longer metric.
    if sum(lengths) != len(body) or max(lengths) > 129 or [whole[1] + 2 for whole in wholes] != lengths:
        return None
    if of_device.table is None:
        of_device.table = Table(node, of_device, device)
    form = of_device.table.form(aliases)
    if form is None or not all(map(is_, map(node.aliases.get, form.numbers), form.known)):
        return None
    batch = None
    if form.keyed:
        *stamps, _ = stamps
        *states, state = states
        *values, value = values
        try:
            batch = parse_batch_tag("" if state else _text(value) or "")
        except PayloadError:
            return None
    samples = _columns(form, stamps, states, values)
    return None if samples is None else Quick(ts_ms, seq, samples=samples, batch=batch, historical=any(historical))


def _unpacked(data: bytes) -> tuple[int, int, bytes] | None:
    if UUID.encode() not in data:
        return None
    try:
        outer = parsed(data)
        body = inflated(outer)
    except PayloadError:
        return None
    if body is None or not outer.HasField("timestamp") or not outer.HasField("seq"):
        return None
    return outer.timestamp, outer.seq, body


def _columns(
    form: _Form, stamps: Sequence[bytes], states: Sequence[bytes], values: Sequence[bytes]
) -> Columns | None:  # fmt: skip
    said = {stamp: _number(stamp) for stamp in set(stamps)}
    n = len(stamps)
    qualities: Sequence[Quality] = (Quality.GOOD,) * n
    reasons: Sequence[Reason] = (Reason.NONE,) * n
    in_digest = {stamp: ts_ms.to_bytes(8, "little") + _GOOD_TAIL for stamp, ts_ms in said.items()}
    if not any(states):
        if b"".join([value[:1] for value in values]) != form.keys:
            return None
        understood = _good(form, values)
        if understood is None:
            return None
        numbers, raws = understood
        parts = [head + in_digest[stamp] + raw for head, stamp, raw in zip(form.heads, stamps, raws, strict=True)]
    else:
        known = [_STATES.get(state) for state in states]
        numbers, parts = [], []
        for row, stamp, state, value in zip(form.rows, stamps, known, values, strict=True):
            if state is None or state[2] != (not value) or (value and value[:1] != row.key):
                return None
            found = (None, b"") if state[2] else _value(row.known.datatype, value)
            if found is None:
                return None
            numbers.append(found[0])
            parts.append(row.head + in_digest[stamp][:8] + bytes([state[0], not state[2]]) + found[1])
        qualities = tuple(state[0] for state in known if state is not None)
        reasons = tuple(state[1] for state in known if state is not None)
    fields = Fields(form.names, form.datatypes, list(map(said.__getitem__, stamps)), qualities, numbers, reasons)
    return Columns(fields, b"".join(parts), not form.texts, form.distinct)


def _good(form: _Form, values: Sequence[bytes]) -> tuple[list[Value | None], Sequence[bytes]] | None:
    """Values, and their bytes in the digest, where each has a value of its kind."""
    raws = [value[1:] for value in values]
    fixed = values
    loose: list[tuple[int, Value]] = []
    if form.loose:
        fixed = list(values)
        for i in form.loose:
            found = _value(form.datatypes[i], values[i])
            if found is None:
                return None
            loose.append((i, found[0]))
            raws[i], fixed[i] = found[1], b""
    numbers = list(form.fixed.unpack(b"".join(fixed)))
    if not math.isfinite(sum(numbers)):  # also where finite numbers add up to more than a float holds
        return None
    for i, number in loose:
        numbers.insert(i, number)  # in rising order each comes to its place
    return numbers, raws


def _value(datatype: Datatype, value: bytes) -> tuple[Value, bytes] | None:
    """One value with its key byte, and its bytes in the digest."""
    number: Value
    if datatype in _FIXED:
        (number,) = struct.unpack(f"<{_FIXED[datatype]}", value)
        return (number, value[1:]) if math.isfinite(float(number)) else None
    text = _text(value)
    if text is not None:
        return text, value_bytes(datatype, text)
    if value[:1] == _KEY["string_value"]:
        return None
    number = _number(value[1:])
    if number >> (32 if value[:1] == _KEY["int_value"] else 64):
        return None
    if datatype in SIGNED_32:
        width = SIGNED_32[datatype]
        number &= (1 << width) - 1
        number -= (number >> (width - 1)) << width
    elif datatype is Datatype.INT64:
        number -= (number >> 63) << 64
    return number, value_bytes(datatype, number)


def _text(value: bytes) -> str | None:
    if value[:1] != _KEY["string_value"] or value[1] != len(value) - 2:
        return None
    return value[2:].decode("ascii")


def _number(varint: bytes) -> int:
    """Seven bits a byte, the lowest first."""
    number = 0
    for shift, byte in zip(range(0, 70, 7), varint, strict=False):
        number |= (byte & 0x7F) << shift
    return number


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
