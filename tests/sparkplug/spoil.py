"""Ways to spoil a recording, so that a check that cannot fail is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.sparkplug.recording import STATE, Event, Json, Mutation, Recording

Which = Callable[[Event], bool]


def said(who: str, kind: str) -> Which:
    """PUBLISH packets of this message type by edge or host."""
    return lambda e: e.who == who and e.up and e.kind == "PUBLISH" and e.type == kind


def packet(who: str, kind: str) -> Which:
    return lambda e: e.who == who and e.kind == kind and e.up


def note(kind: str) -> Which:
    return lambda e: e.who == "note" and e.kind == kind


def changed(which: Which, last: bool = False, **fields: Any) -> Mutation:
    return lambda rec: rec.changed(which, lambda e: [replace(e, **fields)], last)


def without(which: Which, last: bool = False) -> Mutation:
    return lambda rec: rec.changed(which, lambda e: [], last)


def every(which: Which, to: Callable[[Event], Event | None]) -> Mutation:
    """Every such event changed, or left out."""

    def mutate(rec: Recording) -> Recording:
        if not any(which(e) for e in rec.events):
            raise LookupError("nothing to change: the mutation does not fit the recording")
        new = [to(e) if which(e) else e for e in rec.events]
        return Recording([e for e in new if e is not None])

    return mutate


def payload(which: Which, edit: Callable[[Json], object], last: bool = False) -> Mutation:
    """The payload of one event edited in place (of a copy)."""

    def to(e: Event) -> list[Event]:
        edit(e.payload)
        return [e]

    return lambda rec: rec.changed(which, to, last)


def metric(which: Which, edit: Callable[[Json], object], name: str | None = None) -> Mutation:
    """The first metric (or the one of this name) of the first such event that has it."""

    def fits(e: Event) -> bool:
        return which(e) and any(name is None or m.get("name") == name for m in e.metrics)

    def to(e: Event) -> list[Event]:
        edit(next(m for m in e.metrics if name is None or m.get("name") == name))
        return [e]

    return lambda rec: rec.changed(fits, to)


def put(source: Which, after: Which, times: int = 1) -> Mutation:
    """A copy of the first event that `source` finds, said again right after the first that `after` finds."""

    def mutate(rec: Recording) -> Recording:
        found = next(e for e in rec.events if source(e))
        return rec.changed(after, lambda e: [e, *[replace(found, session=e.session or 1)] * times])

    return mutate


def filters(who: str, edit: Callable[[str, int], tuple[str, int] | None]) -> Mutation:
    """Every subscription of one party with other filters."""

    def to(e: Event) -> Event:
        new = [edit(topic, qos) for topic, qos in e.said["filters"]]
        return replace(e, said={"filters": [f for f in new if f is not None]})

    return every(packet(who, "SUBSCRIBE"), to)


def own_state(online: bool) -> Which:
    """What the host says of itself."""
    return lambda e: (
        e.who == "host" and e.up and e.kind == "PUBLISH" and e.topic == STATE and e.payload["online"] is online
    )


def json_of(which: Which, last: bool = False, **fields: Any) -> Mutation:
    return payload(which, lambda p: p.update(fields), last)


def shown(kind: str, tag: str, **fields: Any) -> Mutation:
    """The host showed something else of one tag."""

    def to(e: Event) -> list[Event]:
        e.said[tag].update(fields)
        return [e]

    return lambda rec: rec.changed(note(kind), to)
