"""Checks of single messages of the edge node: topics, QoS, times, sequence numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.sparkplug import spoil
from tests.sparkplug.plant import DEVICES
from tests.sparkplug.recording import EDGE_KINDS, NODE, Json, Recording
from tests.sparkplug.table import check
from wire.errors import ConfigError
from wire.ids import check_id

NEAR_MS = 20_000
"""Between a message's own time and the time at which it passed the tap: a busy machine, not a time zone."""
REACTS_MS = 60_000
"""Until something follows. How soon it does is a question to the machine."""


def follows(rec: Recording, kind: str) -> None:
    """In every session: 0 in NBIRTH, one more in each message after it, 0 after 255."""
    seen = 0
    for session in rec.born():
        before: int | None = None
        for e in session:
            if e.type == "NDEATH":
                continue
            expected = 0 if e.type == "NBIRTH" else None if before is None else (before + 1) % 256
            if e.type == kind:
                seen += 1
                assert e.seq == expected, f"{e.topic} has seq {e.seq} after {before}"
            before = e.seq
    assert seen


def _topic(kind: str) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        for e in rec.said("edge", kind):
            head = ["spBv1.0", NODE[0], kind, NODE[1]]
            assert e.levels[:4] == head
            assert e.levels[4:] in ([[d] for d in DEVICES] if kind[0] == "D" else [[]])

    return judge


def _qos(kind: str) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        assert {e.qos for e in rec.said("edge", kind)} == {0}

    return judge


def _retain(kind: str) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        assert not any(e.retain for e in rec.said("edge", kind))
        assert not any(e.retain for e in rec.heard(kind))

    return judge


def _both(*judges: Callable[[Recording], None]) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        for one in judges:
            one(rec)

    return judge


def _time(kind: str) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        for e in rec.said("edge", kind):
            assert abs(int(e.payload["timestamp"]) - e.at_ms) < NEAR_MS if "timestamp" in e.payload else False

    return judge


def _has_seq(kind: str) -> Callable[[Recording], None]:
    def judge(rec: Recording) -> None:
        for e in rec.said("edge", kind):
            assert e.seq is not None
            assert 0 <= e.seq <= 255

    return judge


def _in_order(kind: str) -> Callable[[Recording], None]:
    return lambda rec: follows(rec, kind)


def _drop(key: str) -> Callable[[Json], object]:
    return lambda found: found.pop(key)


def _wrong_seq(p: Json) -> None:
    p["seq"] = str(int(p["seq"]) + 1)


for _kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"):
    _low, _said = _kind.lower(), spoil.said("edge", _kind)
    _mqtt = [f"topics-{_low}-mqtt"]
    _topics = [f"topics-{_low}-topic"]
    _qoss, _retains = [f"payloads-{_low}-qos"], [f"payloads-{_low}-retain"]
    _times = [f"topics-{_low}-timestamp", f"payloads-{_low}-timestamp"]
    _seqs, _nexts = [f"payloads-{_low}-seq"], [f"payloads-{_low}-seq-inc"]
    if _kind == "NBIRTH":
        _flow = "message-flow-edge-node-birth-publish-nbirth-"
        _topics.append(f"{_flow}topic")
        _qoss.append(f"{_flow}qos")
        _retains.append(f"{_flow}retained")
        _seqs += [f"{_flow}payload-seq", "payloads-sequence-num-req-nbirth"]
        _nexts = ["topics-nbirth-seq-num"]
    elif _kind == "DBIRTH":
        _flow = "message-flow-device-birth-publish-dbirth-"
        _topics.append(f"{_flow}topic")
        _qoss.append(f"{_flow}qos")
        _retains.append(f"{_flow}retained")
        _nexts += ["topics-dbirth-seq", f"{_flow}payload-seq"]
    else:
        _nexts.append(f"topics-{_low}-seq-num")
    if _kind == "DDEATH":
        _qoss, _retains, _times = [], [], ["payloads-ddeath-timestamp"]
        _seqs.append("payloads-ddeath-seq-number")
    check(*_mqtt, spoil=spoil.changed(_said, retain=True))(_both(_qos(_kind), _retain(_kind)))
    check(*_topics, spoil=spoil.changed(_said, topic=f"spBv1.0/plant/{_kind}/other/fan"))(_topic(_kind))
    check(*_qoss, spoil=spoil.changed(_said, qos=1))(_qos(_kind))
    check(*_retains, spoil=spoil.changed(_said, retain=True))(_retain(_kind))
    check(*_times, spoil=spoil.payload(_said, _drop("timestamp")))(_time(_kind))
    check(*_seqs, spoil=spoil.payload(_said, _drop("seq")))(_has_seq(_kind))
    check(*_nexts, spoil=spoil.payload(_said, _wrong_seq, last=True))(_in_order(_kind))


@check("payloads-sequence-num-always-included", spoil=spoil.payload(spoil.said("edge", "DDEATH"), _drop("seq")))
def every_message_but_ndeath_has_a_sequence_number(rec: Recording) -> None:
    assert {e.type for e in rec.said("edge")} == set(EDGE_KINDS)
    assert all((e.seq is not None) == (e.type != "NDEATH") for e in rec.said("edge"))


@check("payloads-sequence-num-incrementing", spoil=spoil.without(lambda e: e.who == "edge" and e.seq == 255))
def the_sequence_number_grows_by_one_and_turns(rec: Recording) -> None:
    for kind in EDGE_KINDS[:5]:
        follows(rec, kind)
    turned = [s for s in rec.born() for a, b in pairwise(s) if (a.seq, b.seq) == (255, 0)]
    assert turned, "no session was long enough"


@check("topics-ndeath-seq", "payloads-ndeath-seq", spoil=spoil.payload(
    spoil.packet("edge", "CONNECT"), lambda p: p.update(seq="0")))  # fmt: skip
def ndeath_has_no_sequence_number(rec: Recording) -> None:
    deaths = [*rec.said("edge", "NDEATH"), *rec.packets("edge", "CONNECT"), *rec.heard("NDEATH")]
    assert all(e.seq is None for e in deaths)


@check("topics-ndeath-topic", spoil=spoil.changed(spoil.packet("edge", "CONNECT"), topic="spBv1.0/plant/NDEATH/x"))
def ndeath_has_the_topic_of_the_node(rec: Recording) -> None:
    _topic("NDEATH")(rec)
    assert {e.topic for e in rec.packets("edge", "CONNECT")} == {"spBv1.0/plant/NDEATH/gw"}


@check("topics-ndeath-payload", spoil=spoil.payload(spoil.said("edge", "NDEATH"), lambda p: p["metrics"].append({})))
def ndeath_bears_bd_seq_alone(rec: Recording) -> None:
    for e in [*rec.said("edge", "NDEATH"), *rec.packets("edge", "CONNECT"), *rec.heard("NDEATH")]:
        assert [m.get("name") for m in e.metrics] == ["bdSeq"]


@check("topic-structure", "topic-structure-namespace-a", spoil=spoil.changed(
    spoil.said("edge", "DDATA"), topic="spAv1.0/plant/DDATA/gw/pump"))  # fmt: skip
def topics_are_of_the_namespace(rec: Recording) -> None:
    for e in [*rec.packets("edge", "PUBLISH"), *rec.packets("host", "PUBLISH")]:
        assert e.levels[0] == "spBv1.0"
        assert e.type == "STATE" or e.type in (*EDGE_KINDS, "NCMD")
        assert len(e.levels) == (5 if e.type[0] == "D" else 3 if e.type == "STATE" else 4)


@check("topic-structure-namespace-device-id-associated-message-types", spoil=spoil.changed(
    spoil.said("edge", "DDATA"), topic="spBv1.0/plant/DDATA/gw"))  # fmt: skip
def device_messages_name_the_device(rec: Recording) -> None:
    assert all(e.device in DEVICES for e in rec.said("edge", "DBIRTH", "DDATA", "DDEATH"))


@check("topic-structure-namespace-device-id-non-associated-message-types", spoil=spoil.changed(
    spoil.said("host", "NCMD"), topic="spBv1.0/plant/NCMD/gw/pump"))  # fmt: skip
def node_messages_name_no_device(rec: Recording) -> None:
    messages = [*rec.said("edge", "NBIRTH", "NDATA", "NDEATH"), *rec.said("host", "NCMD"), *rec.said("host", "STATE")]
    assert all(len(e.levels) == (3 if e.type == "STATE" else 4) for e in messages)


def _level(at: int, what: str, *names: str) -> None:
    def judge(rec: Recording) -> None:
        for e in rec.said("edge"):
            if len(e.levels) > at:
                assert not set(e.levels[at]) & set("+#/\0"), e.topic
        for wrong in ("a+b", "a/b", "a#", ""):
            with pytest.raises(ConfigError):
                check_id(wrong, what)
        assert max(len(e.levels) for e in rec.said("edge")) > at

    levels = ["spBv1.0", "plant", "DDATA", "gw", "pump"]
    levels[at] += "+"
    check(*names, spoil=spoil.changed(spoil.said("edge", "DDATA"), topic="/".join(levels)))(judge)


_level(1, "group", "intro-group-id-string", "intro-group-id-chars", "topic-structure-namespace-valid-group-id")
_level(
    3, "gateway", "intro-edge-node-id-string", "intro-edge-node-id-chars",
    "topic-structure-namespace-valid-edge-node-id",
)  # fmt: skip
_level(4, "device", "intro-device-id-string", "intro-device-id-chars", "topic-structure-namespace-valid-device-id")


@check("case-sensitivity-sparkplug-ids", spoil=spoil.changed(
    spoil.said("edge", "DBIRTH"), topic="spBv1.0/plant/DBIRTH/gw/FAN"))  # fmt: skip
def ids_differ_by_more_than_case(rec: Recording) -> None:
    for at in (1, 3, 4):
        ids = {e.levels[at] for e in rec.said("edge") if len(e.levels) > at}
        assert len(ids) == len({name.lower() for name in ids})


@check("case-sensitivity-metric-names", spoil=spoil.metric(
    spoil.said("edge", "DBIRTH"), lambda m: m.update(name="FLOW"), "flow"))  # fmt: skip
def metric_names_differ_by_more_than_case(rec: Recording) -> None:
    names = {str(m["name"]) for _, m in rec.birth_metrics()}
    assert len(names) == len({name.lower() for name in names})
