"""Checks of the host application: commands, order, what becomes stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.config import load_config
from tests.sparkplug import spoil
from tests.sparkplug.edge_messages import NEAR_MS, REACTS_MS
from tests.sparkplug.edge_metrics import FIELD_OF
from tests.sparkplug.host_state import NCMD
from tests.sparkplug.plant import STRANGE, VALUES
from tests.sparkplug.recording import NODE, Event, Json, Recording
from tests.sparkplug.scenario import REORDER_MS
from tests.sparkplug.table import check


def commands(rec: Recording) -> list[Event]:
    found = rec.said("host", "NCMD")
    assert {e.levels[3] for e in found} == {NODE[1], STRANGE[1]}
    return found


def _rebirths(rec: Recording) -> list[Event]:
    found = [e for e in commands(rec) if any(m.get("name") == "Node Control/Rebirth" for m in e.metrics)]
    assert found
    return found


def rebirth_packet(e: Event) -> bool:
    return NCMD(e) and any(m.get("name") == "Node Control/Rebirth" for m in e.metrics)


@check("topics-ncmd-topic", "operational-behavior-data-commands-ncmd-verb", spoil=spoil.changed(
    NCMD, topic="spBv1.0/plant/NCMD"))  # fmt: skip
def commands_have_the_topic_of_their_node(rec: Recording) -> None:
    nodes = (["spBv1.0", NODE[0], "NCMD", NODE[1]], ["spBv1.0", STRANGE[0], "NCMD", STRANGE[1]])
    assert all(e.levels in nodes for e in rec.said("host", "NCMD"))
    assert {e.type for e in rec.said("host")} == {"STATE", "NCMD"}


@check("topics-ncmd-mqtt", "payloads-ncmd-qos", spoil=spoil.changed(NCMD, qos=1))
def commands_have_qos_0(rec: Recording) -> None:
    assert {(e.qos, e.retain) for e in commands(rec)} == {(0, False)}


@check("payloads-ncmd-retain", spoil=spoil.changed(NCMD, retain=True))
def commands_are_not_retained(rec: Recording) -> None:
    assert not any(e.retain for e in commands(rec))


@check("topics-ncmd-timestamp", "payloads-ncmd-timestamp", spoil=spoil.payload(NCMD, lambda p: p.pop("timestamp")))
def commands_say_when_they_were_sent(rec: Recording) -> None:
    assert all("timestamp" in e.payload and abs(int(e.payload["timestamp"]) - e.at_ms) < NEAR_MS for e in commands(rec))


@check("payloads-ncmd-seq", spoil=spoil.payload(NCMD, lambda p: p.update(seq="0")))
def commands_have_no_sequence_number(rec: Recording) -> None:
    assert all(e.seq is None for e in commands(rec))


@check("payloads-name-cmd-requirement", spoil=spoil.metric(NCMD, lambda m: m.pop("timestamp")))
def metrics_of_commands_have_a_time(rec: Recording) -> None:
    assert all("timestamp" in m for e in commands(rec) for m in e.metrics)


@check("topics-ncmd-payload", "operational-behavior-data-commands-ncmd-metric-value", spoil=spoil.metric(
    NCMD, lambda m: m.update(intValue=m.pop("stringValue", None) or m.pop("booleanValue")), None))  # fmt: skip
def commands_bear_values_of_the_born_type(rec: Recording) -> None:
    born = {m["name"]: m["datatype"] for e in rec.said("edge", "NBIRTH") for m in e.metrics}
    for e in commands(rec):
        assert e.metrics
        assert all(FIELD_OF[born[m["name"]]] in m for m in e.metrics)


@check("operational-behavior-data-commands-ncmd-metric-name", spoil=spoil.metric(
    NCMD, lambda m: m.update(name="Node Control/Other")))  # fmt: skip
def commands_name_metrics_that_were_born(rec: Recording) -> None:
    own = {m["name"] for e in rec.said("edge", "NBIRTH") for m in e.metrics}
    strange = {m["name"] for e in rec.heard("NBIRTH", node=STRANGE) for m in e.metrics}
    for e in commands(rec):
        assert {m["name"] for m in e.metrics} <= (own if e.levels[3] == NODE[1] else strange)


@check("operational-behavior-data-commands-ncmd-rebirth-verb", "operational-behavior-data-commands-ncmd-rebirth-name",
       spoil=spoil.every(rebirth_packet, lambda e: None))  # fmt: skip
def a_rebirth_is_asked_for_by_ncmd(rec: Recording) -> None:
    assert {e.levels[3] for e in _rebirths(rec)} >= {STRANGE[1]}


@check("operational-behavior-data-commands-ncmd-rebirth-value", spoil=spoil.metric(
    rebirth_packet, lambda m: m.update(booleanValue=False)))  # fmt: skip
def the_request_says_true(rec: Recording) -> None:
    assert all(e.named("Node Control/Rebirth")["booleanValue"] is True for e in _rebirths(rec))


# Order


@check("operational-behavior-host-reordering-param", spoil=spoil.without(spoil.note("GAP")))
def the_reorder_time_is_configurable(rec: Recording) -> None:
    assert rec.note("GAP")
    assert load_config(None, {}).reorder_s == 2.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", lambda *_, **__: "reorder_s: 0.4\n")
        assert load_config(Path("cloud.yaml"), {}).reorder_s == REORDER_MS / 1000


def _asked_after(rec: Recording, start: str, end: str) -> list[Event]:
    between = rec.after(rec.note(start), before=rec.note(end))
    return [e for e in between if rebirth_packet(e) and e.levels[3] == STRANGE[1]]


@check("operational-behavior-host-reordering-start", "operational-behavior-host-reordering-rebirth",
       spoil=spoil.changed(rebirth_packet, last=True, topic="spBv1.0/plant/NCMD/gw"))  # fmt: skip
def a_gap_is_answered_when_the_time_is_over(rec: Recording) -> None:
    asked = _asked_after(rec, "GAP", "ASKED")
    assert len(asked) == 1
    (late,) = [e for e in rec.after(rec.note("GAP"), before=asked[0]) if e.who == "witness" and e.type == "DDATA"
               and e.levels[3] == STRANGE[1]]  # fmt: skip
    assert REORDER_MS * 0.9 <= asked[0].at_ms - late.at_ms < REORDER_MS + REACTS_MS


@check("operational-behavior-host-reordering-success", spoil=spoil.put(
    lambda e: rebirth_packet(e) and e.levels[3] == STRANGE[1], spoil.note("IN TIME")))  # fmt: skip
def what_comes_in_time_needs_no_rebirth(rec: Recording) -> None:
    assert not _asked_after(rec, "STRANGE BORN", "GAP")
    assert rec.note("GAP").at_ms - rec.note("IN TIME").at_ms > REORDER_MS


# What becomes stale


def _tags(rec: Recording, kind: str, node: str, device: str | None = None) -> dict[str, Json]:
    found = {}
    for name, tag in rec.shown(kind).items():
        of, dev, _ = name.split("/", 2)
        if of == node and device in (None, dev):
            found[name] = tag
    assert found
    return found


def _stale(tags: dict[str, Json], at_ms: int) -> None:
    for name, tag in tags.items():
        assert tag["stale"], name
        assert abs(tag["gone_ms"] - at_ms) < NEAR_MS, name


def _fresh(tags: dict[str, Json]) -> None:
    assert not any(tag["stale"] for tag in tags.values())


def _ndeath(device: str | None) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        """A death with another bdSeq is an old one; the right one makes all stale, at the host's own time."""
        _fresh(_tags(rec, "WRONG NDEATH", STRANGE[1], device))
        said = rec.heard("NDEATH", node=STRANGE)
        assert [int(e.payload["timestamp"]) for e in said] == [1, 1], "its own time is of no use"
        _stale(_tags(rec, "STRANGE GONE", STRANGE[1], device), rec.note("NDEATH").at_ms)
        _fresh(_tags(rec, "STRANGE GONE", NODE[1], "pump"))

    return judge


_END = "operational-behavior-edge-node-termination-host-action-"
check(f"{_END}ndeath-node-offline", spoil=spoil.shown("STRANGE GONE", "strange//uptime", gone_ms=1))(_ndeath(""))
check(f"{_END}ndeath-node-tags-stale", spoil=spoil.shown("STRANGE GONE", "strange//uptime", stale=False))(_ndeath(""))
check(f"{_END}ndeath-devices-offline", spoil=spoil.shown("STRANGE GONE", "strange/pump/Int8", gone_ms=1))(
    _ndeath("pump")
)
check(f"{_END}ndeath-devices-tags-stale", spoil=spoil.shown("STRANGE GONE", "strange/pump/Text", stale=False))(
    _ndeath("pump")
)


def _ddeath(rec: Recording) -> None:
    said_ms = rec.note("DDEATH").said["timestamp"]
    assert rec.note("DDEATH").at_ms - said_ms > NEAR_MS, "another time than the host's"
    _stale(_tags(rec, "STRANGE DEVICE GONE", STRANGE[1], "pump"), said_ms)
    _fresh(_tags(rec, "STRANGE DEVICE GONE", STRANGE[1], ""))
    death = next(e for e in rec.said("edge", "DDEATH") if e.device == "fan")
    _stale(_tags(rec, "DEVICE GONE", NODE[1], "fan"), int(death.payload["timestamp"]))
    _fresh(_tags(rec, "DEVICE GONE", NODE[1], "pump"))


check(f"{_END}ddeath-devices-offline", spoil=spoil.shown("STRANGE DEVICE GONE", "strange/pump/Int8", gone_ms=1))(
    _ddeath
)
check(f"{_END}ddeath-devices-tags-stale", spoil=spoil.shown("DEVICE GONE", "gw/fan/flow", stale=False))(_ddeath)


@check("topic-structure-namespace-duplicate-device-id-across-edge-node", spoil=spoil.shown(
    "STRANGE DEVICE GONE", "gw/pump/flow", stale=True))  # fmt: skip
def devices_of_two_nodes_with_one_id_are_two(rec: Recording) -> None:
    _fresh(_tags(rec, "STRANGE DEVICE GONE", NODE[1], "pump"))
    assert _tags(rec, "STRANGE DEVICE GONE", STRANGE[1], "pump").keys() == {f"strange/pump/{name}" for name in VALUES}
