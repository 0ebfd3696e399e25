"""What was said over the broker, packet by packet, with payloads as the foreign witness reads them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.sparkplug import foreign

NODE = ("plant", "gw")
HOST = "gaugeline"
STATE = f"spBv1.0/STATE/{HOST}"
EDGE_KINDS = ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH", "NDEATH")
VALUES = ("intValue", "longValue", "floatValue", "doubleValue", "booleanValue", "stringValue")
Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One packet that passed a tap, or a note.

    who: 'edge' or 'host', whose connection it is; 'witness': what a foreign subscriber was handed by the broker;
    'note': what the scenario did, or what the host shows (kind 'SHOWN'). session: the number of the TCP connection.
    up: towards the broker. topic, qos, retain, body, payload of a CONNECT are those of its will.
    """

    who: str
    session: int
    kind: str
    up: bool
    at_ms: int
    topic: str = ""
    qos: int = 0
    retain: bool = False
    body: bytes = b""
    payload: Json = field(default_factory=dict)
    said: Json = field(default_factory=dict)

    @property
    def levels(self) -> list[str]:
        return self.topic.split("/")

    @property
    def type(self) -> str:
        """NBIRTH, ..., STATE; '' when it is no Sparkplug message."""
        levels = self.levels
        if levels[0] != "spBv1.0" or len(levels) < 3:
            return ""
        return "STATE" if levels[1] == "STATE" else levels[2]

    @property
    def device(self) -> str:
        return self.levels[4] if len(self.levels) > 4 else ""

    @property
    def seq(self) -> int | None:
        return int(self.payload["seq"]) if "seq" in self.payload else None

    @property
    def metrics(self) -> list[Json]:
        found: list[Json] = self.payload.get("metrics", [])
        return found

    def named(self, name: str) -> Json:
        """The metric of this name. Raises AssertionError when there is none, or more than one."""
        found = [m for m in self.metrics if m.get("name") == name]
        assert len(found) == 1, f"{self.topic} has {len(found)} metrics {name!r}"
        return found[0]

    @property
    def bd_seq(self) -> int:
        return int(self.named("bdSeq")["longValue"])


Mutation = Callable[["Recording"], "Recording"]


class Recording:
    """The events in their order, and ways to find them. Never changed: mutations make a new one."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = tuple(events)

    def packets(self, who: str, kind: str = "", up: bool = True) -> list[Event]:
        return [e for e in self.events if e.who == who and e.up == up and kind in ("", e.kind)]

    def said(self, who: str, *types: str) -> list[Event]:
        """PUBLISH packets that this party sent, of these message types. Raises AssertionError when there is none."""
        found = [e for e in self.packets(who, "PUBLISH") if e.type in types or not types]
        assert found, f"{who} said no {', '.join(types)}"
        return found

    def heard(self, *types: str, node: tuple[str, str] = NODE) -> list[Event]:
        """What the broker handed to the foreign subscriber."""
        found = [e for e in self.events if e.who == "witness" and e.type in types]
        return [e for e in found if e.type == "STATE" or (e.levels[1], e.levels[3]) == node]

    def sessions(self, who: str) -> list[list[Event]]:
        """The connections of one party that got as far as CONNECT, each with its packets of both directions."""
        numbers = sorted({e.session for e in self.packets(who, "CONNECT")})
        return [[e for e in self.events if e.who == who and e.session == n] for n in numbers]

    def born(self) -> list[list[Event]]:
        """The edge node's connections in which it was born, each with what it published in them."""
        of = [[e for e in s if e.up and e.kind == "PUBLISH"] for s in self.sessions("edge")]
        found = [s for s in of if any(e.type == "NBIRTH" for e in s)]
        assert len(found) >= 3, "the scenario has several sessions"
        return found

    def note(self, kind: str) -> Event:
        found = [e for e in self.events if e.who == "note" and e.kind == kind]
        assert len(found) == 1, f"{len(found)} notes {kind}"
        return found[0]

    def shown(self, kind: str) -> dict[str, Json]:
        """What the host showed at that note: 'device/tag' -> {stale, gone_ms, value}."""
        return self.note(kind).said

    def after(self, event: Event, *, before: Event | None = None) -> list[Event]:
        start = self.events.index(event) + 1
        return list(self.events[start : self.events.index(before) if before is not None else None])

    def data_metrics(self) -> Iterator[tuple[Event, Json]]:
        for e in self.said("edge", "NDATA", "DDATA"):
            for m in e.metrics:
                yield e, m

    def birth_metrics(self) -> Iterator[tuple[Event, Json]]:
        for e in self.said("edge", "NBIRTH", "DBIRTH"):
            for m in e.metrics:
                yield e, m

    def changed(
        self, which: Callable[[Event], bool], to: Callable[[Event], Sequence[Event]], last: bool = False
    ) -> Recording:
        """The same recording, but with other events (or none) where the first is that `which` finds."""
        order = range(len(self.events) - 1, -1, -1) if last else range(len(self.events))
        at = next((i for i in order if which(self.events[i])), None)
        if at is None:
            raise LookupError("nothing to change: the mutation does not fit the recording")
        return Recording([*self.events[:at], *to(copy.deepcopy(self.events[at])), *self.events[at + 1 :]])


def understand(events: Sequence[Event]) -> Recording:
    """Payloads of all events decoded: STATE as JSON, the others by the foreign witness in one go."""
    bodies = [e.body for e in events if e.kind in ("PUBLISH", "CONNECT") and e.type not in ("", "STATE")]
    answers = iter(foreign.decoded(bodies))
    found = []
    for e in events:
        if e.kind not in ("PUBLISH", "CONNECT") or not e.type:
            found.append(e)
        elif e.type == "STATE":
            found.append(replace(e, payload=_state(e.body)))
        else:
            found.append(replace(e, payload=next(answers)))
    return Recording(found)


def _state(body: bytes) -> Json:
    try:
        said = json.loads(body.decode("utf-8"))
    except ValueError:
        return {"fault": "not JSON"}
    return said if isinstance(said, dict) else {"fault": "no object"}
