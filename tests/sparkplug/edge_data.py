"""Checks of the edge node's data, and of deaths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.sparkplug import spoil
from tests.sparkplug.edge_births import BIRTH, DATA, DBIRTH, births_of
from tests.sparkplug.edge_messages import REACTS_MS
from tests.sparkplug.edge_sessions import DEATH, connects
from tests.sparkplug.plant import SETPOINT
from tests.sparkplug.recording import Event, Json, Recording
from tests.sparkplug.table import check


@check("topics-ndata-payload", "operational-behavior-data-publish-nbirth-change", spoil=spoil.every(
    spoil.said("edge", "NDATA"), lambda e: replace(e, payload={**e.payload, "metrics": [
        {**m, "stringValue": "same"} for m in e.metrics]})))  # fmt: skip
def ndata_bears_what_changed(rec: Recording) -> None:
    for _, after in births_of(rec):
        told: dict[str, str] = {}
        for e in after:
            for m in e.metrics if e.type == "NDATA" else ():
                assert told.get(m["alias"]) != m["stringValue"]
                told[m["alias"]] = m["stringValue"]
    texts = [m["stringValue"] for e in rec.said("edge", "NDATA") for m in e.metrics]
    assert any('"produced"' in text for text in texts), "the counters changed"


def _live(rec: Recording, name: str) -> Sequence[tuple[Event, Json]]:
    """Live data of one tag of the pump and the fan, by the aliases that were born."""
    aliases = {m["alias"] for e, m in rec.birth_metrics() if m["name"] == name and e.device in ("pump", "fan")}
    return [(e, m) for e, m in rec.data_metrics() if m.get("alias") in aliases and not m.get("isHistorical")]


@check("topics-ddata-payload", spoil=spoil.every(DATA, lambda e: replace(e, payload={**e.payload, "metrics": [
    m for m in e.metrics if m.get("intValue") != SETPOINT]})))  # fmt: skip
def ddata_bears_what_changed(rec: Recording) -> None:
    changed = rec.note("SETPOINT")
    told = [e for e, m in _live(rec, "setpoint") if m.get("intValue") == SETPOINT and e.device == "pump"]
    assert told
    assert 0 <= told[0].at_ms - changed.at_ms < REACTS_MS


def _is_live(m: Json, value: int) -> bool:
    return m.get("intValue") == value and not m.get("isHistorical")


@check("principles-rbe-recommended", "operational-behavior-data-publish-dbirth-change", spoil=spoil.put(
    lambda e: DATA(e) and e.device == "pump" and any(_is_live(m, SETPOINT) for m in e.metrics),
    spoil.note("HOST BACK"), 20))  # fmt: skip
def what_does_not_change_is_not_said(rec: Recording) -> None:
    live = _live(rec, "setpoint")
    assert live
    assert len([1 for _, m in live if m.get("intValue") == SETPOINT]) <= 12, "said again and again"
    assert len(_live(rec, "flow")) > 10, "while others were"


def _rising(rec: Recording, *kinds: str) -> None:
    for e in rec.said("edge", *kinds):
        times = [int(m["timestamp"]) for m in e.metrics if not m.get("isHistorical")]
        assert times == sorted(times), e.topic


def _last_is_older(p: Json) -> None:
    p["metrics"].append({**p["metrics"][-1], "timestamp": "1", "isHistorical": False})


check("operational-behavior-data-publish-nbirth-order", spoil=spoil.payload(BIRTH, _last_is_older))(
    lambda rec: _rising(rec, "NBIRTH", "NDATA")
)
check("operational-behavior-data-publish-dbirth-order", spoil=spoil.payload(DBIRTH, _last_is_older))(
    lambda rec: _rising(rec, "DBIRTH", "DDATA")
)


# Deaths


@check("operational-behavior-device-ddeath", spoil=spoil.every(
    lambda e: e.type == "DDEATH" and e.device == "fan", lambda e: None))  # fmt: skip
def a_lost_device_is_told(rec: Recording) -> None:
    between = rec.after(rec.note("DEVICE DIES"), before=rec.note("DEVICE BACK"))
    said = [
        e.type for e in between if e.who == "edge" and e.up and e.device == "fan" and e.type in ("DDEATH", "DBIRTH")
    ]
    assert said == ["DDEATH", "DBIRTH"]
    assert {e.device for e in rec.said("edge", "DDEATH")} == {"fan"}


LEAVES = (
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet", "payloads-ndeath-will-message-publisher",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
)  # fmt: skip


@check(*LEAVES, spoil=spoil.without(DEATH, last=True))
def an_ndeath_goes_before_every_disconnect(rec: Recording) -> None:
    left = [s for s in rec.sessions("edge") if any(e.kind == "DISCONNECT" for e in s)]
    assert len(left) == len(rec.sessions("edge")) - 1, "all but the one that was cut"
    for session in left:
        said = [
            e.type if e.kind == "PUBLISH" else e.kind for e in session if e.up and e.kind in ("PUBLISH", "DISCONNECT")
        ]
        assert said[-2:] == ["NDEATH", "DISCONNECT"]
    assert rec.heard("NDEATH")[-1].bd_seq == connects(rec)[-1].bd_seq
