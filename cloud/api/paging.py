"""Pages of a list: `limit` of them, and `next`, which says where the following page begins.

A page begins behind the last item of the one before, by the item's own key, and never at a number of items: what comes
in or goes away in between doubles and skips nothing that was there all the time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

Item = TypeVar("Item")
Key = tuple[str | int, ...]
_LARGEST = 2**63 - 1

Name = Annotated[str, Query(max_length=1_000, pattern=r"^[^\x00]*$")]
Only = Annotated[str | None, Query(max_length=1_000, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="at most so many items")]
After = Annotated[
    str | None, Query(max_length=4_000, description="`next` of the page before; the other parameters stay the same")
]


class Page(BaseModel, Generic[Item]):
    """next: null on the last page. A page may hold fewer items than `limit`, even none, and not be the last one."""

    items: list[Item]
    next: str | None = Field(description="for the parameter `after`")


def token(key: Sequence[str | int]) -> str:
    text = json.dumps(list(key), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(after: str | None, kind: tuple[type, ...]) -> Key | None:
    """The key in a token. Raises RequestValidationError when it is not one of this list's."""
    if after is None:
        return None
    try:
        found = json.loads(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or tuple(map(type, found)) != kind:
        raise _wrong("not a `next` of this list: leave it out to begin at its first page")
    for part in found:
        if abs(part) > _LARGEST if isinstance(part, int) else not _storable(part):
            raise _wrong("not a `next` of this list: leave it out to begin at its first page")
    return tuple(found)


def _storable(text: str) -> bool:
    """What every database takes as a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _wrong(why: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", "after"), "msg": why, "type": "value_error"}])


def wrong_order(from_ms: int | None, to_ms: int | None) -> None:
    """Raises RequestValidationError when a time runs back."""
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        why = f"{from_ms} is later than to_ms {to_ms}"
        raise RequestValidationError([{"loc": ("query", "from_ms"), "msg": why, "type": "value_error"}])
