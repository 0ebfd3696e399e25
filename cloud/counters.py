"""What a gateway says of itself: counters per epoch, and records of gaps, drops, thinning and closed epochs. Pure."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.errors import PayloadError

COUNTS = Field(default=0, ge=0, le=2**62)
Number = Annotated[int, Field(ge=0, le=2**62)]  # a database's 64 bits: one that is larger would stop every audit
LONGEST_KIND = 64
DEEPEST = 20  # levels of a record: our deepest has four


class DeviceCounters(BaseModel):
    """Samples of one device in one epoch, counted in the outbox."""

    model_config = ConfigDict(frozen=True)
    produced: int = COUNTS
    suppressed: int = COUNTS
    refused: int = COUNTS
    dropped: int = COUNTS
    parked: int = COUNTS
    in_flight: int = COUNTS


class EpochSaid(BaseModel):
    """One epoch's counters as they stood when batch `number` was the newest.

    unconfirmed: ranges of numbers, both ends included, that the gateway has not seen confirmed.
    """

    model_config = ConfigDict(frozen=True)
    epoch: str = Field(min_length=1, max_length=64)
    number: int = COUNTS
    devices: dict[str, DeviceCounters] = {}
    unconfirmed: list[tuple[Number, Number]] = []


class DropRecord(BaseModel):
    """Samples that the gateway's policy evicted before they were confirmed. numbers: ranges, both ends included."""

    model_config = ConfigDict(frozen=True)
    epoch: str = Field(min_length=1, max_length=64)
    numbers: list[tuple[Number, Number]]
    device: str
    samples: int = COUNTS


class ThinRecord(BaseModel):
    """Batches that lost samples for want of space. batches: [first number, samples before, after, new number].

    epoch: of the first numbers, under which the ledger keeps whichever version came.
    """

    model_config = ConfigDict(frozen=True)
    epoch: str = Field(min_length=1, max_length=64)
    device: str
    batches: list[tuple[Number, Number, Number, Number | None]]
    samples: int = COUNTS


class _Counters(BaseModel):
    epochs: list[EpochSaid]


def parse_counters(text: str) -> list[EpochSaid]:
    """Raises PayloadError when the text is not the JSON of Delivery/Counters."""
    try:
        return _Counters.model_validate_json(text).epochs
    except ValidationError as fault:
        raise PayloadError(f"counters that cannot be read: {_first(fault)}") from fault


def parse_record(text: str) -> tuple[str, dict[str, Any]]:
    """(kind, content) of a Delivery/Record. Raises PayloadError.

    A kind that we do not know is kept as it is: a newer gateway may say more than we understand.
    """
    try:
        content = json.loads(text)
        # What is kept is said again by the API: NaN, half a surrogate pair, a hundred brackets must not break it there.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        kind = content["kind"]
        if _depth(content) > DEEPEST:
            raise ValueError(kind)
        if not isinstance(kind, str) or not kind.isprintable() or len(kind) > LONGEST_KIND:
            raise ValueError(kind)
        if kind == "epoch_closed":
            EpochSaid.model_validate_json(text, strict=True)
        elif kind == "drop":
            DropRecord.model_validate_json(text, strict=True)
        elif kind == "thin":
            ThinRecord.model_validate_json(text, strict=True)
    except ValidationError as fault:
        raise PayloadError(f"a record that cannot be read: {_first(fault)}") from fault
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise PayloadError(f"not a record: {text[:200]!r}") from fault
    return kind, content


def _depth(found: object) -> int:
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return 1 + max(map(_depth, parts), default=0)


def _first(fault: ValidationError) -> str:
    detail = fault.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(x) for x in detail['loc'])}: {detail['msg']}"
