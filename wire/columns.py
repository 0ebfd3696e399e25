"""Samples of one message column by column: what a host handles by the hundred thousand, without an object for each.

`Columns` is a sequence of Samples like the tuple that it stands for, and equal to it: whoever looks at single samples
need not know. Who handles many takes the columns. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, overload

from wire.block import Quality, Reason, Sample, Value
from wire.tag import Datatype


class Fields(NamedTuple):
    """One entry a sample in each. values: as each datatype says, None where BAD."""

    names: Sequence[str]
    datatypes: Sequence[Datatype]
    stamps: Sequence[int]
    qualities: Sequence[Quality]
    values: Sequence[Value | None]
    reasons: Sequence[Reason]


class Columns(Sequence[Sample]):
    """Immutable. digested: what the digest of a batch covers of these samples (wire.delivery).

    Every float in it is finite. plain: no value is a text. distinct: no two samples have the same name.
    """

    __slots__ = ("_samples", "digested", "distinct", "fields", "plain")

    def __init__(self, fields: Fields, digested: bytes, plain: bool, distinct: bool) -> None:
        self.fields, self.digested, self.plain, self.distinct = fields, digested, plain, distinct
        self._samples: tuple[Sample, ...] | None = None

    def _whole(self) -> tuple[Sample, ...]:
        if self._samples is None:
            self._samples = tuple(map(Sample, *self.fields))
        return self._samples

    @property
    def texts(self) -> Sequence[Value | None]:
        """All values where there are texts among them, else none."""
        return () if self.plain else self.fields.values

    def __len__(self) -> int:
        return len(self.fields.values)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        if isinstance(index, slice):
            return self._whole()[index]
        f = self.fields
        return Sample(
            f.names[index], f.datatypes[index], f.stamps[index], f.qualities[index], f.values[index], f.reasons[index]
        )

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._whole())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._whole() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._whole())

    def __repr__(self) -> str:
        return f"Columns{self._whole()!r}"


def fields_of(samples: Sequence[Sample]) -> Fields:
    """Any samples by columns."""
    if isinstance(samples, Columns):
        return samples.fields
    return Fields(*zip(*samples, strict=True)) if samples else Fields((), (), (), (), (), ())


def joined_fields(many: Sequence[Sequence[Sample]]) -> Fields:
    """The samples of many messages by columns, one after the other."""
    found: list[Any] = [list(chain.from_iterable(column)) for column in zip(*map(fields_of, many), strict=True)]
    return Fields(*found) if found else Fields((), (), (), (), (), ())
