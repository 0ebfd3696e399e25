"""Checks of births and rebirths of the edge node and its devices."""

from __future__ import annotations

from dataclasses import replace

from tests.sparkplug import spoil
from tests.sparkplug.edge_metrics import value_fits
from tests.sparkplug.plant import DEVICES, SETPOINT
from tests.sparkplug.recording import STATE, Event, Json, Recording
from tests.sparkplug.table import check

IN_FLIGHT = 5
"""Messages that may pass the tap between a command's way in and its being read."""
BIRTH, DBIRTH, DATA = spoil.said("edge", "NBIRTH"), spoil.said("edge", "DBIRTH"), spoil.said("edge", "DDATA")


@check("principles-birth-certificates-order", spoil=spoil.every(
    lambda e: e.who == "edge" and e.up and e.type == "NBIRTH", lambda e: None))  # fmt: skip
def the_first_message_is_a_birth(rec: Recording) -> None:
    for session in rec.sessions("edge"):
        said = [e.type for e in session if e.up and e.kind == "PUBLISH"]
        assert said[:1] in (["NBIRTH"], ["NDEATH"])
        assert said == ["NDEATH"] or said[0] == "NBIRTH"
    for session in rec.sessions("host"):
        first = next(e for e in session if e.up and e.kind == "PUBLISH")
        assert (first.topic, first.payload["online"]) == (STATE, True)


def _is_payload(rec: Recording, kind: str) -> None:
    for e in rec.said("edge", kind):
        assert "fault" not in e.payload
        assert e.metrics
        assert all(m["understood"]["type"] is not None for m in e.metrics)


check("message-flow-edge-node-birth-publish-nbirth-payload", spoil=spoil.payload(
    BIRTH, lambda p: p.update(fault="?")))(lambda rec: _is_payload(rec, "NBIRTH"))  # fmt: skip
check("message-flow-device-birth-publish-dbirth-payload", spoil=spoil.payload(
    DBIRTH, lambda p: p.update(fault="?")))(lambda rec: _is_payload(rec, "DBIRTH"))  # fmt: skip


def births_of(rec: Recording) -> list[tuple[Event, list[Event]]]:
    """Every NBIRTH with what was said after it in its session, up to the next one."""
    found: list[tuple[Event, list[Event]]] = []
    for session in rec.born():
        for e in session:
            if e.type == "NBIRTH":
                found.append((e, []))
            elif found and found[-1][0].session == e.session:
                found[-1][1].append(e)
    assert len(found) >= 6
    return found


def _dbirths_first(rec: Recording) -> None:
    for _, after in births_of(rec):
        first = [e.type for e in after[: len(DEVICES)]]
        assert first == ["DBIRTH"] * len(DEVICES), first
        assert {e.device for e in after[: len(DEVICES)]} == set(DEVICES)


check("payloads-dbirth-order", "payloads-ddata-order", spoil=spoil.put(DATA, BIRTH))(_dbirths_first)
check("payloads-ndata-order", spoil=spoil.put(spoil.said("edge", "NDATA"), DBIRTH))(_dbirths_first)


@check("message-flow-device-birth-publish-nbirth-wait", spoil=spoil.without(BIRTH))
def dbirth_comes_after_nbirth(rec: Recording) -> None:
    for session in rec.sessions("edge"):
        said = [e.type for e in session if e.up and e.kind == "PUBLISH"]
        assert "DBIRTH" not in said or said.index("NBIRTH") < said.index("DBIRTH")


@check("message-flow-device-birth-publish-dbirth-match-edge-node-topic", spoil=spoil.changed(
    DBIRTH, topic="spBv1.0/other/DBIRTH/gw/fan"))  # fmt: skip
def dbirth_is_of_the_node_that_was_born(rec: Recording) -> None:
    for birth, after in births_of(rec):
        whose = {(e.levels[1], e.levels[3]) for e in after if e.type == "DBIRTH"}
        assert whose == {(birth.levels[1], birth.levels[3])}


@check("topic-structure-namespace-unique-device-id", spoil=spoil.put(DBIRTH, DBIRTH))
def a_device_is_born_once(rec: Recording) -> None:
    for _, after in births_of(rec):
        alive: set[str] = set()
        for e in after:
            if e.type == "DBIRTH":
                assert e.device not in alive
                alive.add(e.device)
            elif e.type == "DDEATH":
                alive.discard(e.device)


def _told_is_born(rec: Recording, kind: str) -> None:
    told = 0
    for birth, after in births_of(rec):
        known = {"": {m.get("alias") for m in birth.metrics}}
        for e in after:
            if e.type == "DBIRTH":
                known[e.device] = {m["alias"] for m in e.metrics}
            elif e.type == kind:
                told += 1
                assert {m["alias"] for m in e.metrics} <= known[e.device]
    assert told > 3 if kind == "DDATA" else told


def _no_alias(m: Json) -> None:
    m["alias"] = "999999"


check("topics-nbirth-metric-reqs", "operational-behavior-data-publish-nbirth", spoil=spoil.metric(
    spoil.said("edge", "NDATA"), _no_alias))(lambda rec: _told_is_born(rec, "NDATA"))  # fmt: skip
check("topics-dbirth-metric-reqs", "operational-behavior-data-publish-dbirth", spoil=spoil.metric(
    DATA, _no_alias))(lambda rec: _told_is_born(rec, "DDATA"))  # fmt: skip


def _whole(rec: Recording, kind: str) -> None:
    for e in rec.said("edge", kind):
        for m in e.metrics:
            assert m["name"]
            assert value_fits(m), f"{e.topic} {m}"


def _value_and_null(m: Json) -> None:
    m.update(isNull=True, intValue=1)


def _nothing(m: Json) -> None:
    for key in ("intValue", "longValue", "floatValue", "booleanValue", "stringValue", "isNull"):
        m.pop(key, None)


check("topics-nbirth-metrics", spoil=spoil.metric(BIRTH, _nothing))(lambda rec: _whole(rec, "NBIRTH"))
check("topics-dbirth-metrics", spoil=spoil.metric(DBIRTH, _nothing))(lambda rec: _whole(rec, "DBIRTH"))
check("operational-behavior-data-publish-nbirth-values", spoil=spoil.metric(BIRTH, _value_and_null))(
    lambda rec: _whole(rec, "NBIRTH")
)


@check("operational-behavior-data-publish-dbirth-values", spoil=spoil.every(
    lambda e: e.who == "edge" and e.type == "DBIRTH" and e.up,
    lambda e: replace(e, payload={**e.payload, "metrics": [{**m, "intValue": 1} if m["name"] == "setpoint" else m
                                                            for m in e.metrics]})))  # fmt: skip
def dbirth_has_the_values_of_now(rec: Recording) -> None:
    _whole(rec, "DBIRTH")
    later = [e for e in rec.after(rec.note("REBIRTH")) if e.who == "edge" and e.type == "DBIRTH" and e.up]
    values = [e.named("setpoint").get("intValue") for e in later if e.device == "pump"]
    assert SETPOINT in values
    assert set(values) <= {SETPOINT, None}


REBIRTH_IDS = (
    "topics-nbirth-rebirth-metric", "payloads-nbirth-rebirth-req", "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-value",
)  # fmt: skip


@check(*REBIRTH_IDS, spoil=spoil.metric(BIRTH, lambda m: m.update(booleanValue=True), "Node Control/Rebirth"))
def the_rebirth_control_is_born_false(rec: Recording) -> None:
    for e in rec.said("edge", "NBIRTH"):
        m = e.named("Node Control/Rebirth")
        assert (m["booleanValue"], m["understood"]) == (False, {"type": "Boolean", "value": False})


@check("operational-behavior-data-commands-rebirth-datatype", spoil=spoil.metric(
    BIRTH, lambda m: m.update(datatype=12), "Node Control/Rebirth"))  # fmt: skip
def the_rebirth_control_is_boolean(rec: Recording) -> None:
    assert {e.named("Node Control/Rebirth")["datatype"] for e in rec.said("edge", "NBIRTH")} == {11}


@check("operational-behavior-data-commands-rebirth-name-aliases", spoil=spoil.metric(
    BIRTH, lambda m: m.update(alias="5"), "Node Control/Rebirth"))  # fmt: skip
def the_rebirth_control_has_no_alias(rec: Recording) -> None:
    assert not any("alias" in e.named("Node Control/Rebirth") for e in rec.said("edge", "NBIRTH"))


REBIRTHS = ("REBIRTH", "BARE REBIRTH", "HASTY REBIRTH")


def asks_for_births(e: Event) -> bool:
    return e.type == "NCMD" and any(m.get("name") == "Node Control/Rebirth" for m in e.metrics)


def _after_request(rec: Recording, note: str) -> list[Event]:
    """What the edge node said in the same session after it was handed a rebirth request."""
    after = rec.after(rec.note(note))
    at = next(i for i, e in enumerate(after) if e.who == "edge" and not e.up and asks_for_births(e))
    return [e for e in after[at:] if e.who == "edge" and e.up and e.session == after[at].session and e.type]


@check("operational-behavior-data-commands-rebirth-action-1", spoil=spoil.put(DATA, spoil.note("HASTY REBIRTH"), 50))
def a_rebirth_request_stops_the_data(rec: Recording) -> None:
    for note in REBIRTHS:
        after = rec.after(rec.note(note))
        asked = next(i for i, e in enumerate(after) if e.who == "edge" and e.up and e.type == "NBIRTH")
        assert len([e for e in after[:asked] if e.who == "edge" and e.up and e.type == "DDATA"]) <= 4 * IN_FLIGHT
        kinds = [e.type for e in _after_request(rec, note)]
        assert kinds.index("NBIRTH") <= IN_FLIGHT


@check("operational-behavior-data-commands-rebirth-action-2", spoil=spoil.every(
    lambda e: e.who == "edge" and e.up and e.device == "saw" and e.type == "DBIRTH" and e.at_ms > 0,
    lambda e: None))  # fmt: skip
def a_rebirth_is_a_whole_birth_sequence(rec: Recording) -> None:
    for note in REBIRTHS:
        said = _after_request(rec, note)
        at = [e.type for e in said].index("NBIRTH")
        assert {e.device for e in said[at + 1 : at + 1 + len(DEVICES)] if e.type == "DBIRTH"} == set(DEVICES)


@check("operational-behavior-data-commands-rebirth-action-3", spoil=spoil.every(
    BIRTH, lambda e: replace(e, payload={**e.payload, "metrics": [
        {**m, "longValue": "99"} if m["name"] == "bdSeq" else m for m in e.metrics]})))  # fmt: skip
def a_rebirth_keeps_bd_seq(rec: Recording) -> None:
    for note in REBIRTHS:
        birth = next(e for e in _after_request(rec, note) if e.type == "NBIRTH")
        will = next(e for e in rec.packets("edge", "CONNECT") if e.session == birth.session)
        assert birth.bd_seq == will.bd_seq
