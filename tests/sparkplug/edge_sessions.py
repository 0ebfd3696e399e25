"""Checks of the edge node's connections: wills, subscriptions, its primary host."""

from __future__ import annotations

from dataclasses import replace

from tests.sparkplug import spoil
from tests.sparkplug.edge_births import BIRTH, IN_FLIGHT
from tests.sparkplug.recording import NODE, STATE, Event, Recording
from tests.sparkplug.table import check

NDEATH = f"spBv1.0/{NODE[0]}/NDEATH/{NODE[1]}"
CONNECT, DEATH = spoil.packet("edge", "CONNECT"), spoil.said("edge", "NDEATH")


def connects(rec: Recording) -> list[Event]:
    found = rec.packets("edge", "CONNECT")
    assert len(found) >= 4
    return found


# The connection and its will


@check("principles-persistence-clean-session-311", spoil=spoil.changed(CONNECT, said={"level": 4, "clean": False}))
def sessions_are_clean(rec: Recording) -> None:
    assert all((e.said["level"], e.said["clean"]) == (4, True) for e in connects(rec))


@check(
    "message-flow-edge-node-birth-publish-will-message", "payloads-ndeath-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic", spoil=spoil.changed(CONNECT, topic=""),
)  # fmt: skip
def the_will_is_the_ndeath_and_the_broker_says_it(rec: Recording) -> None:
    assert {e.topic for e in connects(rec)} == {NDEATH}
    torn = [s for s in rec.sessions("edge") if not any(e.kind == "DISCONNECT" for e in s)]
    assert len(torn) == 1, "one connection was cut"
    after = rec.after(rec.note("EDGE CUT"), before=rec.note("HOST CUT"))
    deaths = [e for e in after if e.who == "witness" and e.topic == NDEATH]
    assert [e.body for e in deaths] == [torn[0][0].body]


@check("message-flow-edge-node-birth-publish-will-message-payload", spoil=spoil.payload(
    CONNECT, lambda p: p.update(fault="no payload")))  # fmt: skip
def the_will_is_a_payload(rec: Recording) -> None:
    assert all("fault" not in e.payload and e.metrics for e in connects(rec))


@check("message-flow-edge-node-birth-publish-will-message-qos", "payloads-ndeath-will-message-qos",
       spoil=spoil.changed(CONNECT, qos=0))  # fmt: skip
def the_will_has_qos_1(rec: Recording) -> None:
    assert {e.qos for e in connects(rec)} == {1}
    assert {e.qos for e in rec.heard("NDEATH")} == {1}


@check("message-flow-edge-node-birth-publish-will-message-will-retained", "payloads-ndeath-will-message-retain",
       spoil=spoil.changed(CONNECT, retain=True))  # fmt: skip
def the_will_is_not_retained(rec: Recording) -> None:
    assert not any(e.retain for e in [*connects(rec), *rec.heard("NDEATH")])


@check(
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq", "topics-nbirth-bdseq-increment",
    spoil=spoil.metric(CONNECT, lambda m: m.update(longValue="9")),
)  # fmt: skip
def bd_seq_begins_at_0_and_grows_with_every_connect(rec: Recording) -> None:
    assert [e.bd_seq for e in connects(rec)] == [n % 256 for n in range(len(connects(rec)))]
    assert {(m["datatype"], m["understood"]["type"]) for e in connects(rec) for m in e.metrics} == {(4, "Int64")}


def _bd_seq_matches(rec: Recording) -> None:
    born = 0
    for session in rec.sessions("edge"):
        for e in session:
            if e.kind == "PUBLISH" and e.up and e.type in ("NBIRTH", "NDEATH"):
                born += e.type == "NBIRTH"
                assert e.bd_seq == session[0].bd_seq
    assert born >= 6


_wrong_bd_seq = spoil.metric(BIRTH, lambda m: m.update(longValue="200"), "bdSeq")
check(
    "topics-nbirth-bdseq-matching", "payloads-nbirth-bdseq-repeat", "topics-nbirth-bdseq-included",
    "payloads-nbirth-bdseq", spoil=_wrong_bd_seq,
)(_bd_seq_matches)  # fmt: skip
check("payloads-ndeath-bdseq", spoil=spoil.metric(DEATH, lambda m: m.update(longValue="200")))(_bd_seq_matches)


@check("message-flow-edge-node-birth-publish-nbirth-payload-bdSeq", spoil=spoil.metric(
    BIRTH, lambda m: m.update(datatype=8), "bdSeq"))  # fmt: skip
def bd_seq_of_nbirth_is_an_int64(rec: Recording) -> None:
    _bd_seq_matches(rec)
    assert {e.named("bdSeq")["datatype"] for e in rec.said("edge", "NBIRTH")} == {4}


@check("message-flow-edge-node-birth-publish-connect", spoil=spoil.put(BIRTH, spoil.note("ALONE"), 1))
def births_are_said_within_a_connection(rec: Recording) -> None:
    accepted: set[int] = set()
    alone = rec.note("ALONE STILL")
    for e in rec.events:
        if e.who == "edge" and e.kind == "CONNACK":
            accepted.add(e.session)
        if e.who == "edge" and e.type in ("NBIRTH", "DBIRTH") and e.up:
            assert e.session in accepted
            assert rec.events.index(e) > rec.events.index(alone)


@check("operational-behavior-primary-application-state-with-multiple-servers-single-server",
       spoil=spoil.put(CONNECT, spoil.note("ALONE")))  # fmt: skip
def one_connection_at_a_time(rec: Recording) -> None:
    open_now = 0
    for e in rec.events:
        if e.who == "edge" and e.kind in ("CONNECT", "LOST"):
            open_now += 1 if e.kind == "CONNECT" else -1
            assert open_now <= 1


def _filters(rec: Recording) -> list[dict[str, int]]:
    """The subscriptions of every session that came so far."""
    of = [[f for e in s if e.kind == "SUBSCRIBE" for f in e.said["filters"]] for s in rec.sessions("edge")]
    assert len(of) >= 4
    return [dict(filters) for filters in of]


@check("message-flow-edge-node-ncmd-subscribe", spoil=spoil.filters(
    "edge", lambda topic, qos: (topic, 0 if "NCMD" in topic else qos)))  # fmt: skip
def ncmd_is_subscribed_at_qos_1(rec: Recording) -> None:
    assert all(f.get("spBv1.0/plant/NCMD/gw") == 1 for f in _filters(rec))


@check("message-flow-device-dcmd-subscribe", spoil=spoil.filters(
    "edge", lambda topic, qos: None if "DCMD" in topic else (topic, qos)))  # fmt: skip
def dcmd_of_every_device_is_subscribed_at_qos_1(rec: Recording) -> None:
    assert all(f.get("spBv1.0/plant/DCMD/gw/#") == 1 for f in _filters(rec))


@check("operational-behavior-primary-application-state-with-multiple-servers-state-subs", spoil=spoil.filters(
    "edge", lambda topic, qos: None if "STATE" in topic else (topic, qos)))  # fmt: skip
def the_state_of_the_primary_host_is_subscribed(rec: Recording) -> None:
    assert all(f.get(STATE) == 1 for f in _filters(rec))


# The primary host


def _silent(rec: Recording, start: str, end: str) -> None:
    between = rec.after(rec.note(start), before=rec.note(end))
    said = [e for e in between if e.who == "edge" and e.up and e.kind == "PUBLISH" and e.type != "NDEATH"]
    assert not said, f"{said[0].topic} before the host was online"


@check("message-flow-edge-node-birth-publish-phid-wait-id", spoil=spoil.put(BIRTH, spoil.note("ALONE")))
def another_host_is_not_waited_for(rec: Recording) -> None:
    between = rec.after(rec.note("ALONE"), before=rec.note("ALONE STILL"))
    assert any(e.who == "witness" and e.topic.endswith("/other") and e.payload["online"] for e in between)
    _silent(rec, "ALONE", "ALONE STILL")
    assert all(set(f) & {STATE} and not any(t.endswith("/other") for t in f) for f in _filters(rec))


@check("message-flow-edge-node-birth-publish-phid-wait-online", spoil=spoil.put(BIRTH, spoil.note("ALONE")))
def a_state_that_says_offline_is_not_online(rec: Recording) -> None:
    between = rec.after(rec.note("ALONE"), before=rec.note("ALONE STILL"))
    heard = [e for e in between if e.who == "edge" and not e.up and e.topic == STATE]
    assert [e.payload["online"] for e in heard] == [False]
    _silent(rec, "ALONE", "ALONE STILL")


@check("message-flow-edge-node-birth-publish-phid-wait-timestamp", spoil=spoil.put(BIRTH, spoil.note("ALONE STILL")))
def an_online_state_that_is_older_than_the_last_does_not_count(rec: Recording) -> None:
    between = rec.after(rec.note("ALONE STILL"), before=rec.note("TIME IS OLD"))
    assert any(e.who == "edge" and not e.up and e.topic == STATE and e.payload["online"] for e in between)
    _silent(rec, "ALONE STILL", "TIME IS OLD")


@check(
    "message-flow-edge-node-birth-publish-phid-wait", "operational-behavior-edge-node-birth-sequence-wait",
    spoil=spoil.every(
        lambda e: e.who == "edge" and not e.up and e.topic == STATE,
        lambda e: replace(e, payload={**e.payload, "online": False}),
    ),
)  # fmt: skip
def births_follow_an_online_state_in_every_session(rec: Recording) -> None:
    for session in rec.sessions("edge"):
        online = False
        for e in session:
            if e.topic == STATE and not e.up and e.kind == "PUBLISH":
                online = online or e.payload["online"]
            assert online or e.type not in ("NBIRTH", "DBIRTH") or not e.up


@check("operational-behavior-edge-node-termination-host-offline-timestamp", spoil=spoil.put(
    spoil.packet("edge", "DISCONNECT"), spoil.note("OLD OFFLINE")))  # fmt: skip
def an_offline_state_of_before_the_birth_changes_nothing(rec: Recording) -> None:
    between = rec.after(rec.note("OLD OFFLINE"), before=rec.note("NEW OFFLINE"))
    heard = [e for e in between if e.who == "edge" and not e.up and e.topic == STATE]
    assert [e.payload["online"] for e in heard][:1] == [False]
    assert not any(e.who == "edge" and e.kind in ("DISCONNECT", "LOST", "CONNECT") for e in between)
    assert any(e.who == "edge" and e.up and e.type == "DDATA" for e in between)


@check(
    "message-flow-edge-node-birth-publish-phid-offline", "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-termination-host-offline-reconnect",
    "operational-behavior-primary-application-state-with-multiple-servers-walk",
    spoil=spoil.without(
        lambda e: e.who == "edge" and e.kind == "DISCONNECT" and e.session == 2
    ),
)  # fmt: skip
def an_offline_state_of_now_ends_the_session(rec: Recording) -> None:
    between = rec.after(rec.note("NEW OFFLINE"), before=rec.note("RETURNED"))
    mine = [e for e in between if e.who == "edge"]
    heard = next(i for i, e in enumerate(mine) if not e.up and e.topic == STATE and not e.payload["online"])
    kinds = [e.type if e.kind == "PUBLISH" else e.kind for e in mine[heard:] if e.up and e.kind != "PUBACK"]
    left = kinds.index("NDEATH")
    assert left <= IN_FLIGHT
    assert kinds[left + 1 : left + 4] == ["DISCONNECT", "LOST", "CONNECT"], kinds[left : left + 5]
    assert "NBIRTH" in kinds[left + 4 :]
