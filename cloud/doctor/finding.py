"""What a check found: how it is, and what a person should do."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "failed"]


class Finding(NamedTuple):
    """todo: '' when nothing need be done."""

    check: str
    state: State
    what: str
    todo: str = ""


def ok(check: str, what: str) -> Finding:
    return Finding(check, "ok", what)


def warning(check: str, what: str, todo: str) -> Finding:
    return Finding(check, "warning", what, todo)


def failed(check: str, what: str, todo: str) -> Finding:
    return Finding(check, "failed", what, todo)
