"""A tag: one named point of an asset, with datatype and unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Datatype(IntEnum):
    """Sparkplug B 3.0 datatype codes (section 6.4.16); the ones that we speak."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14

    @property
    def in_float64(self) -> bool:
        """True when a float64 array holds every value of it exactly (integers up to 32 bits, floats)."""
        return self in _FLOAT64


OTHERS = {
    0: "Unknown", 15: "UUID", 16: "DataSet", 17: "Bytes", 18: "File", 19: "Template", 20: "PropertySet",
    21: "PropertySetList", 22: "Int8Array", 23: "Int16Array", 24: "Int32Array", 25: "Int64Array", 26: "UInt8Array",
    27: "UInt16Array", 28: "UInt32Array", 29: "UInt64Array", 30: "FloatArray", 31: "DoubleArray", 32: "BooleanArray",
    33: "StringArray", 34: "DateTimeArray",
}  # fmt: skip
"""Datatype codes that we do not speak. Source: Sparkplug B 3.0, section 6.4.16."""

_FLOAT64 = frozenset(
    {
        Datatype.INT8,
        Datatype.INT16,
        Datatype.INT32,
        Datatype.UINT8,
        Datatype.UINT16,
        Datatype.UINT32,
        Datatype.FLOAT,
        Datatype.DOUBLE,
    }
)


@dataclass(frozen=True, slots=True)
class Tag:
    """One named point.

    device: the Sparkplug device that it belongs to. unit: a UCUM code ('' for a pure number).
    asset: the asset that it describes. measures: what it is for the screen and the bill, one of a short
    vocabulary ('energy', 'power', 'free_spaces', 'capacity', 'flow', 'speed', 'occupancy', 'score',
    'threshold', 'share', ...); '' when it is just a reading.
    """

    name: str
    device: str
    datatype: Datatype
    unit: str = ""
    asset: str = ""
    measures: str = ""


@dataclass(frozen=True, slots=True)
class Asset:
    """A thing that is maintained. kind: 'machine', 'meter', 'car_park', 'road' or 'other'."""

    id: str
    name: str = ""
    kind: str = "other"


# How a tag describes itself in a birth: Sparkplug metric properties. engUnit is the field's usual name.
ENG_UNIT, ASSET, ASSET_NAME, ASSET_KIND, MEASURES = "engUnit", "asset", "assetName", "assetKind", "measures"


def birth_properties(tag: Tag, asset: Asset | None) -> dict[str, bool | int | float | str]:
    """The properties of a tag's birth metric; empty ones are left out."""
    found = {ENG_UNIT: tag.unit, MEASURES: tag.measures}
    if asset is not None:
        found |= {ASSET: asset.id, ASSET_NAME: asset.name, ASSET_KIND: asset.kind}
    return {key: value for key, value in found.items() if value}


class TagTable(Sequence[Tag]):
    """The tags of one Block, in column order. Shared between Blocks, never copied, never changed."""

    __slots__ = ("__weakref__", "_index", "_tags", "device", "names")

    def __init__(self, tags: Sequence[Tag]) -> None:
        devices = {t.device for t in tags}
        if len(devices) != 1:
            raise ValueError(f"a tag table is of one device, not of {sorted(devices)}")
        self._tags = tuple(tags)
        self.device = self._tags[0].device
        self.names = tuple(t.name for t in self._tags)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) != len(self._tags):
            raise ValueError(f"a tag stands twice in the table of device {self.device}")

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # int -> Tag; slices are not needed
        return self._tags[index]

    def __len__(self) -> int:
        return len(self._tags)

    def __iter__(self) -> Iterator[Tag]:
        return iter(self._tags)

    def column(self, name: str) -> int:
        """The column of a tag. Raises KeyError when the table does not hold it."""
        return self._index[name]
