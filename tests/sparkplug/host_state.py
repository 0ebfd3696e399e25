"""Checks of the host application: its connections, its STATE, its subscriptions."""

from __future__ import annotations

from dataclasses import replace

from tests.sparkplug import spoil
from tests.sparkplug.edge_messages import NEAR_MS, REACTS_MS
from tests.sparkplug.recording import STATE, Event, Json, Recording
from tests.sparkplug.table import check

CONNECT = spoil.packet("host", "CONNECT")
BIRTH, DEATH, NCMD = spoil.own_state(True), spoil.own_state(False), spoil.said("host", "NCMD")
TYPES = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")
_OB = "operational-behavior-host-application-"
_PHID = "host-topic-phid-"


def connects(rec: Recording) -> list[Event]:
    found = rec.packets("host", "CONNECT")
    assert len(found) == 2
    return found


def births(rec: Recording) -> list[Event]:
    """The first STATE of every session."""
    found = [next(e for e in s if e.up and e.kind == "PUBLISH") for s in rec.sessions("host")]
    assert len(found) == 2
    return found


def onlines(rec: Recording) -> list[Event]:
    found = [e for e in rec.said("host", "STATE") if e.payload["online"] is True]
    assert len(found) >= 4
    return found


def death(rec: Recording) -> Event:
    found = [e for e in rec.said("host", "STATE") if e.payload["online"] is False]
    assert len(found) == 1, "the host left once"
    return found[0]


def _state(payload: Json, online: bool) -> bool:
    time = payload.get("timestamp")
    return set(payload) == {"online", "timestamp"} and payload["online"] is online and type(time) is int


# The connection and its will


@check("message-flow-phid-sparkplug-clean-session-311", spoil=spoil.changed(CONNECT, said={"level": 4, "clean": False}))
def sessions_are_clean(rec: Recording) -> None:
    assert all((e.said["level"], e.said["clean"]) == (4, True) for e in connects(rec))


@check(
    f"{_OB}connect-will", f"{_OB}connect-will-topic", f"{_PHID}death-required", "payloads-state-will-message",
    spoil=spoil.changed(CONNECT, topic="", last=True),
)  # fmt: skip
def the_will_is_the_own_state_and_the_broker_says_it(rec: Recording) -> None:
    assert {e.topic for e in connects(rec)} == {STATE}
    after = rec.after(rec.note("HOST CUT"), before=rec.note("HOST BACK"))
    heard = [e.body for e in after if e.who == "witness" and e.topic == STATE]
    assert heard[0] == connects(rec)[0].body


@check(f"{_OB}connect-will-qos", "payloads-state-will-message-qos", spoil=spoil.changed(CONNECT, qos=0))
def the_will_has_qos_1(rec: Recording) -> None:
    assert {e.qos for e in connects(rec)} == {1}


@check(f"{_OB}connect-will-retained", "payloads-state-will-message-retain", spoil=spoil.changed(CONNECT, retain=False))
def the_will_is_retained(rec: Recording) -> None:
    assert all(e.retain for e in connects(rec))


@check(f"{_OB}connect-will-payload", "payloads-state-will-message-payload", spoil=spoil.json_of(CONNECT, online=True))
def the_will_says_offline(rec: Recording) -> None:
    assert all(_state(e.payload, False) for e in connects(rec))


@check(f"{_PHID}death-payload-timestamp-connect", spoil=spoil.json_of(CONNECT, timestamp=1))
def the_will_has_the_time_of_the_connect(rec: Recording) -> None:
    assert all(abs(e.payload["timestamp"] - e.at_ms) < NEAR_MS for e in connects(rec))


# Subscriptions and birth


def _subscribed(rec: Recording) -> None:
    for session in rec.sessions("host"):
        up = [e for e in session if e.up and e.kind in ("CONNECT", "SUBSCRIBE", "PUBLISH")]
        assert [e.kind for e in up[:3]] == ["CONNECT", "SUBSCRIBE", "PUBLISH"]
        filters = dict(up[1].said["filters"])
        assert filters.get(STATE) == 1
        for kind in TYPES:
            assert filters.get(f"spBv1.0/+/{kind}/+" + ("/+" if kind[0] == "D" else "")) in (0, 1)


check(
    f"{_PHID}birth-sub-required", "message-flow-phid-sparkplug-subscription",
    spoil=spoil.filters("host", lambda topic, qos: None if "DDEATH" in topic else (topic, qos)),
)(_subscribed)  # fmt: skip
check("payloads-state-subscribe", spoil=spoil.filters(
    "host", lambda topic, qos: None if topic == STATE else (topic, qos)))(_subscribed)  # fmt: skip


@check(
    f"{_PHID}birth-message", f"{_PHID}birth-required", f"{_OB}connect-birth",
    "message-flow-phid-sparkplug-state-publish",
    "operational-behavior-primary-application-state-with-multiple-servers-state",
    spoil=spoil.put(NCMD, lambda e: e.who == "host" and e.kind == "SUBACK"),
)  # fmt: skip
def the_birth_is_the_first_message_after_the_subscription(rec: Recording) -> None:
    for session, birth in zip(rec.sessions("host"), births(rec), strict=True):
        assert (birth.topic, birth.payload.get("online")) == (STATE, True)
        granted = next(e for e in session if e.kind == "SUBACK")
        assert 0 <= birth.at_ms - granted.at_ms < REACTS_MS


def _where(e: Event) -> bool:
    return e.who == "host" and e.up and e.kind == "PUBLISH" and e.type == "STATE"


_wrong_topic = spoil.changed(BIRTH, topic="spBv1.0/STATE/other")


@check(f"{_PHID}birth-topic", f"{_OB}connect-birth-topic", spoil=_wrong_topic)
def the_birth_has_the_own_topic(rec: Recording) -> None:
    assert {e.topic for e in births(rec)} == {STATE}


@check(f"{_PHID}birth-qos", f"{_OB}connect-birth-qos", spoil=spoil.changed(BIRTH, qos=0))
def the_birth_has_qos_1(rec: Recording) -> None:
    assert {e.qos for e in onlines(rec)} == {1}


@check(f"{_PHID}birth-retain", f"{_OB}connect-birth-retained", "payloads-state-birth",
       spoil=spoil.changed(BIRTH, retain=False))  # fmt: skip
def the_birth_is_retained(rec: Recording) -> None:
    assert all(e.retain and e.qos == 1 for e in onlines(rec))


def _birth_payload(rec: Recording) -> None:
    wills = {e.session: e.payload["timestamp"] for e in connects(rec)}
    for e in [*births(rec), *onlines(rec)]:
        assert _state(e.payload, True)
        assert e.payload["timestamp"] == wills[e.session]


check(f"{_PHID}birth-payload", spoil=spoil.payload(BIRTH, lambda p: p.update(online="true")))(_birth_payload)
check(
    f"{_PHID}birth-payload-timestamp", f"{_OB}connect-birth-payload", "payloads-state-birth-payload",
    "message-flow-phid-sparkplug-state-publish-payload",
    "message-flow-phid-sparkplug-state-publish-payload-timestamp",
    spoil=spoil.payload(BIRTH, lambda p: p.update(timestamp=p["timestamp"] + 1)),
)(_birth_payload)  # fmt: skip


@check("message-flow-hid-sparkplug-state-message-delivered", spoil=spoil.every(
    lambda e: _where(e) and e.session == 1, lambda e: replace(e, payload={**e.payload, "timestamp": 5})))  # fmt: skip
def an_own_offline_state_is_answered(rec: Recording) -> None:
    will = connects(rec)[0].payload["timestamp"]
    for start, end in (("OLD OFFLINE", "NEW OFFLINE"), ("NEW OFFLINE", "RETURNED")):
        mine = [e for e in rec.after(rec.note(start), before=rec.note(end)) if e.who == "host" and e.type == "STATE"]
        heard = next(i for i, e in enumerate(mine) if not e.up and e.payload["online"] is False)
        answer = next(e for e in mine[heard:] if e.up)
        assert answer.payload == {"online": True, "timestamp": will}
        assert (answer.qos, answer.retain) == (1, True)
        assert answer.at_ms - mine[heard].at_ms < REACTS_MS


# The end


@check("intro-sparkplug-host-state", "components-ph-state", "conformance-primary-host", f"{_OB}termination",
       spoil=spoil.without(DEATH))  # fmt: skip
def the_host_says_when_it_comes_and_goes(rec: Recording) -> None:
    assert all(e.payload["online"] for e in births(rec))
    assert rec.events.index(death(rec)) > rec.events.index(rec.note("HOST STOPS"))
    assert rec.heard("STATE")[-1].payload["online"] is False


@check(f"{_PHID}death-topic", f"{_OB}death-topic", spoil=spoil.changed(DEATH, qos=1, topic=f"{STATE}/x"))
def the_death_has_the_own_topic(rec: Recording) -> None:
    assert {e.topic for e in [*connects(rec), death(rec)]} == {STATE}


@check(f"{_PHID}death-qos", f"{_OB}death-qos", spoil=spoil.changed(DEATH, qos=0))
def the_death_has_qos_1(rec: Recording) -> None:
    assert death(rec).qos == 1


@check(f"{_PHID}death-retain", f"{_OB}death-retained", spoil=spoil.changed(DEATH, retain=False))
def the_death_is_retained(rec: Recording) -> None:
    assert death(rec).retain


@check(f"{_PHID}death-payload", f"{_OB}death-payload", spoil=spoil.json_of(CONNECT, timestamp="now"))
def deaths_say_offline(rec: Recording) -> None:
    assert all(_state(e.payload, False) for e in [*connects(rec), death(rec)])


@check(f"{_PHID}death-payload-timestamp-disconnect-clean", spoil=spoil.payload(
    DEATH, lambda p: p.update(timestamp=p["timestamp"] - 3000)))  # fmt: skip
def the_last_word_has_the_time_of_its_saying(rec: Recording) -> None:
    last = death(rec)
    assert abs(last.payload["timestamp"] - last.at_ms) < 1000
    assert last.payload["timestamp"] > births(rec)[-1].payload["timestamp"] + 1000


@check(f"{_OB}disconnect-intentional", spoil=spoil.without(spoil.packet("host", "DISCONNECT")))
def a_disconnect_follows_the_death(rec: Recording) -> None:
    said = [e for e in rec.sessions("host")[-1] if e.up and e.kind in ("PUBLISH", "DISCONNECT")]
    assert (said[-2], said[-1].kind) == (death(rec), "DISCONNECT")
