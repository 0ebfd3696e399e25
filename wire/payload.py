"""Sparkplug B payloads: metrics <-> protobuf bytes. Source: Sparkplug B 3.0, section 6.4.

Quality travels as the specified metric property `Quality` (Int32; 0 BAD, 192 GOOD, 500 STALE; absent = GOOD).
UNCERTAIN is 192 plus our property `Uncertain` = true. Our property `Reason` names why a value is not GOOD.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import DecodeError

from wire import sparkplug_pb2 as pb
from wire.block import Quality, Reason, Sample, Value
from wire.compressed import inflated
from wire.errors import PayloadError
from wire.tag import OTHERS, Datatype

STALE = 500
_QUALITY, _UNCERTAIN, _REASON = "Quality", "Uncertain", "Reason"

SIGNED_32 = {Datatype.INT8: 8, Datatype.INT16: 16, Datatype.INT32: 32}
_UNSIGNED_32 = {Datatype.UINT8: 8, Datatype.UINT16: 16, Datatype.UINT32: 32}
INTEGERS = {
    **{datatype: (-(1 << bits - 1), (1 << bits - 1) - 1) for datatype, bits in SIGNED_32.items()},
    **{datatype: (0, (1 << bits) - 1) for datatype, bits in _UNSIGNED_32.items()},
}
"""Integers that travel in int_value, with their smallest and largest value."""
_TEXT = frozenset({Datatype.STRING, Datatype.TEXT})
LARGEST_FLOAT32 = 3.4028234663852886e38

PropertyValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Births give name and alias, data gives the alias alone, commands give the name.

    value None is the specified null. properties hold what is not quality.
    """

    name: str | None = None
    alias: int | None = None
    ts_ms: int | None = None
    datatype: Datatype | None = None
    value: Value | None = None
    quality: Quality = Quality.GOOD
    reason: Reason = Reason.NONE
    historical: bool = False
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)


class Other(NamedTuple):
    """A metric of a datatype that the specification knows and we do not speak: named, its value left where it is."""

    name: str | None
    alias: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Payload:
    """One message. seq is 0 to 255; NDEATH and commands have none. others: what stands beside the metrics."""

    ts_ms: int | None = None
    seq: int | None = None
    metrics: tuple[Metric, ...] = ()
    others: tuple[Other, ...] = ()


def _set_value(out: pb.Payload.Metric, datatype: Datatype, value: Value) -> None:
    if datatype is Datatype.FLOAT:
        number = float(value)
        if math.isfinite(number) and abs(number) > LARGEST_FLOAT32:
            raise PayloadError(f"{value!r} does not fit into a Sparkplug Float")
        out.float_value = number
    elif datatype is Datatype.DOUBLE:
        out.double_value = float(value)
    elif datatype is Datatype.BOOLEAN:
        out.boolean_value = bool(value)
    elif datatype in _TEXT:
        out.string_value = str(value)
    elif datatype in INTEGERS:
        low, high = INTEGERS[datatype]
        if not low <= int(value) <= high:
            raise PayloadError(f"{value!r} does not fit into a Sparkplug {datatype.name}")
        out.int_value = int(value) & 0xFFFFFFFF
    else:
        out.long_value = int(value) & 0xFFFFFFFFFFFFFFFF


def _get_value(raw: pb.Payload.Metric, datatype: Datatype) -> Value:
    kind = raw.WhichOneof("value")
    wanted = FIELD_OF[datatype]
    if kind == "long_value" and datatype is Datatype.UINT32 and raw.long_value <= 0xFFFFFFFF:
        return raw.long_value  # as sparkplug-payload of Eclipse Tahu says it
    if kind != wanted:
        raise PayloadError(f"datatype {datatype.name} needs {wanted}, the metric has {kind}")
    if datatype in SIGNED_32:
        # Some encoders sign-extend to 32 bits, some mask to the width: reduce to the width first.
        width = SIGNED_32[datatype]
        number = raw.int_value & ((1 << width) - 1)
        return number - (1 << width) if number >> (width - 1) else number
    if datatype is Datatype.INT64:
        return raw.long_value - (1 << 64) if raw.long_value >> 63 else raw.long_value
    value: Value = getattr(raw, wanted)
    return _text(value) if datatype in _TEXT else value


def _text(found: object) -> str:
    """A string field. Protobuf hands out bytes where proto2 text is not UTF-8: no name or value that could be kept."""
    if not isinstance(found, str):
        raise PayloadError(f"text that is not UTF-8: {str(found)[:100]}")
    return found


FIELD_OF: dict[Datatype, str] = {
    **dict.fromkeys(SIGNED_32, "int_value"),
    **dict.fromkeys(_UNSIGNED_32, "int_value"),
    Datatype.INT64: "long_value",
    Datatype.UINT64: "long_value",
    Datatype.DATETIME: "long_value",
    Datatype.FLOAT: "float_value",
    Datatype.DOUBLE: "double_value",
    Datatype.BOOLEAN: "boolean_value",
    Datatype.STRING: "string_value",
    Datatype.TEXT: "string_value",
}


def _add_property(out: pb.Payload.Metric, key: str, value: PropertyValue) -> None:
    out.properties.keys.append(key)
    slot = out.properties.values.add()
    if isinstance(value, bool):
        slot.type, slot.boolean_value = Datatype.BOOLEAN, value
    elif isinstance(value, int):
        slot.type, slot.int_value = Datatype.INT32, value & 0xFFFFFFFF
    elif isinstance(value, float):
        slot.type, slot.double_value = Datatype.DOUBLE, value
    else:
        slot.type, slot.string_value = Datatype.STRING, value


def _fill(out: pb.Payload.Metric, metric: Metric) -> None:
    if metric.name is not None:
        out.name = metric.name
    if metric.alias is not None:
        out.alias = metric.alias
    if metric.ts_ms is not None:
        out.timestamp = metric.ts_ms
    if metric.historical:
        out.is_historical = True
    if metric.datatype is not None and (metric.name is not None or metric.alias is None):
        out.datatype = metric.datatype
    if metric.value is None:
        out.is_null = True
    else:
        if metric.datatype is None:
            raise PayloadError(f"metric {metric.name or metric.alias} has a value and no datatype")
        _set_value(out, metric.datatype, metric.value)
    if metric.quality is not Quality.GOOD:
        _add_property(out, _QUALITY, 0 if metric.quality is Quality.BAD else 192)
        if metric.quality is Quality.UNCERTAIN:
            _add_property(out, _UNCERTAIN, True)
        if metric.reason is not Reason.NONE:
            _add_property(out, _REASON, metric.reason.name)
    for key, value in metric.properties.items():
        _add_property(out, key, value)


def encode(payload: Payload) -> bytes:
    """Raises PayloadError when a value does not fit its datatype."""
    out = pb.Payload()
    if payload.ts_ms is not None:
        out.timestamp = payload.ts_ms
    if payload.seq is not None:
        out.seq = payload.seq
    for metric in payload.metrics:
        _fill(out.metrics.add(), metric)
    return out.SerializeToString()


def data_metrics(samples: Iterable[Sample], aliases: Mapping[str, int]) -> tuple[Metric, ...]:
    """Samples as data metrics: alias instead of name. Raises KeyError for a tag that has no alias."""
    return tuple(
        Metric(
            alias=aliases[s.name],
            ts_ms=s.ts_ms,
            datatype=s.datatype,
            value=s.value,
            quality=s.quality,
            reason=s.reason,
        )
        for s in samples
    )


def _properties(raw: pb.Payload.Metric) -> dict[str, PropertyValue]:
    keys: Sequence[str] = raw.properties.keys
    if len(keys) != len(raw.properties.values):
        raise PayloadError("a property set with unequal numbers of keys and values")
    found: dict[str, PropertyValue] = {}
    for key, slot in zip(keys, raw.properties.values, strict=True):
        kind = slot.WhichOneof("value")
        if kind is not None and not slot.is_null:
            found[_text(key)] = _text(slot.string_value) if kind == "string_value" else getattr(slot, kind)
    return found


def _quality(properties: dict[str, PropertyValue], is_null: bool) -> tuple[Quality, Reason]:
    code = properties.pop(_QUALITY, None)
    uncertain = properties.pop(_UNCERTAIN, False)
    name = properties.pop(_REASON, None)
    reason = Reason.__members__.get(str(name), Reason.NONE) if name is not None else Reason.NONE
    if code is None:
        return (Quality.BAD if is_null else Quality.GOOD), reason
    if code == 0:
        return Quality.BAD, reason
    if code == 192:
        return (Quality.UNCERTAIN if uncertain else Quality.GOOD), reason
    if code == STALE:
        return Quality.BAD, Reason.STALE
    raise PayloadError(f"quality {code!r} is none of 0, 192, 500")


def _datatype(
    raw: pb.Payload.Metric, of_alias: Mapping[int, Datatype], of_name: Mapping[str, Datatype]
) -> Datatype | None:
    code = raw.datatype if raw.HasField("datatype") else None
    if code is None:
        return of_alias.get(raw.alias) if raw.HasField("alias") else of_name.get(_text(raw.name))
    try:
        return Datatype(code)
    except ValueError as fault:
        raise PayloadError(f"datatype {code} of metric {raw.name!r} is not supported") from fault


def parsed(data: bytes) -> pb.Payload:
    """Raises PayloadError."""
    try:
        return pb.Payload.FromString(data)
    except DecodeError as fault:
        raise PayloadError(f"not a Sparkplug B payload ({len(data)} bytes): {fault}") from fault


def decode(
    data: bytes, datatypes: Mapping[int, Datatype] | None = None, named: Mapping[str, Datatype] | None = None
) -> Payload:
    """A payload from bytes.

    datatypes: alias -> datatype as born; data metrics carry no datatype of their own. named: the same by name,
    for nodes that do without aliases. A compressed payload is unpacked. A metric whose
    datatype is unknown keeps value None and datatype None: the session above decides what that means.
    Raises PayloadError for bytes that are not a Sparkplug B payload.
    """
    raw = parsed(data)
    within = inflated(raw)
    if within is not None:
        outer, raw = raw, parsed(within)
        if outer.HasField("timestamp"):
            raw.timestamp = outer.timestamp
        if outer.HasField("seq"):
            raw.seq = outer.seq
    of_alias, of_name = datatypes or {}, named or {}
    metrics: list[Metric] = []
    others: list[Other] = []
    for m in raw.metrics:
        if m.datatype in OTHERS and m.HasField("datatype"):
            name = _text(m.name) if m.HasField("name") else None
            others.append(Other(name, m.alias if m.HasField("alias") else None, OTHERS[m.datatype]))
            continue
        datatype = _datatype(m, of_alias, of_name)
        null = m.is_null or m.WhichOneof("value") is None
        properties = _properties(m) if m.HasField("properties") else {}
        quality, reason = _quality(properties, null)
        metrics.append(
            Metric(
                name=_text(m.name) if m.HasField("name") else None,
                alias=m.alias if m.HasField("alias") else None,
                ts_ms=m.timestamp if m.HasField("timestamp") else None,
                datatype=datatype,
                value=None if null or datatype is None else _get_value(m, datatype),
                quality=quality,
                reason=reason,
                historical=m.is_historical,
                properties=properties,
            )
        )
    return Payload(
        raw.timestamp if raw.HasField("timestamp") else None,
        raw.seq if raw.HasField("seq") else None,
        tuple(metrics),
        tuple(others),
    )
