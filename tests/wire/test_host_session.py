"""The host's side of a Sparkplug session. Tests follow the specification's chapters 5 and 6."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import sparkplug_pb2
from wire.block import Quality, Reason, Sample
from wire.delivery import BATCH, COUNTERS, PROTOCOL, PROTOCOL_METRIC, BatchTag, batch_digest
from wire.edge_session import DeviceBirth, EdgeSession, Message
from wire.errors import PayloadError
from wire.host_events import Data, DeviceBorn, Event, Gone, LeftOut, NodeBorn, OldDeath, RebirthWanted, Rejected
from wire.host_node import remembered_node
from wire.host_session import REORDER_MS, HostSession
from wire.ids import NodeId
from wire.payload import Metric, Payload, data_metrics, encode
from wire.tag import Datatype
from wire.topic import Topic

NODE = NodeId("plant", "gw-1")
T0 = 1_700_000_000_000
TEXT = Datatype.STRING
ALIASES = {"flow": 10, "level": 11}


def metric(name: str, alias: int | None, datatype: Datatype = Datatype.FLOAT, value: float | None = None) -> Metric:
    return Metric(name=name, alias=alias, ts_ms=T0, datatype=datatype, value=value)


PUMP = DeviceBirth("pump", (metric("flow", 10), metric("level", 11), metric(BATCH, 12, TEXT)))
NODE_METRICS = (
    Metric(name=PROTOCOL_METRIC, alias=1, datatype=TEXT, value=PROTOCOL),
    metric(BATCH, 2, TEXT),
    Metric(name=COUNTERS, alias=3, ts_ms=T0, datatype=TEXT, value="{}"),
)


def flow(ts_ms: int, value: float) -> Sample:
    return Sample("flow", Datatype.FLOAT, ts_ms, Quality.GOOD, value)


class Edge:
    """An edge node and the host that hears it."""

    def __init__(self, bd_seq: int = 5) -> None:
        self.edge = EdgeSession(NODE, bd_seq)
        self.host = HostSession()
        self.now_ms = 0

    def hear(self, *messages: Message) -> list[Event]:
        return [e for m in messages for e in self.host.receive(m.topic, m.payload, self.now_ms)]

    def born(self, *devices: DeviceBirth) -> list[Event]:
        return self.hear(*self.edge.births(T0, NODE_METRICS, devices or (PUMP,)))

    def data(self, *samples: Sample, number: int = 1, device: str = "pump", alias: int = 12) -> Message:
        tag = BatchTag("e", number, len(samples), batch_digest(NODE, device, "e", number, samples))
        metrics = (*data_metrics(samples, ALIASES), Metric(alias=alias, ts_ms=T0, datatype=TEXT, value=str(tag)))
        return self.edge.data(T0, device, encode(Payload(metrics=metrics)))


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(e).__name__ for e in events]


def test_births_say_who_speaks_and_which_tags_there_are() -> None:
    node, own, counters, device = Edge().born()
    assert node == NodeBorn(NODE, 5, True, PROTOCOL)
    assert own == DeviceBorn(NODE, "", ())
    assert isinstance(counters, Data)
    assert [(s.name, s.value) for s in counters.samples] == [(COUNTERS, "{}")]
    assert isinstance(device, DeviceBorn)
    assert [(t.name, t.alias, t.datatype, t.current) for t in device.tags] == [
        ("flow", 10, Datatype.FLOAT, True),
        ("level", 11, Datatype.FLOAT, True),
    ]


def test_data_are_samples_with_names_and_the_batch_tag_apart() -> None:
    edge = Edge()
    edge.born()
    (data,) = edge.hear(edge.data(flow(T0, 1.0), flow(T0 + 1, 2.0), number=7))
    assert isinstance(data, Data)
    assert data.samples == (flow(T0, 1.0), flow(T0 + 1, 2.0))
    assert data.batch is not None
    assert data.batch.digest == batch_digest(NODE, "pump", "e", 7, data.samples)
    assert (data.device, data.historical, data.confirming) == ("pump", False, True)


def test_an_old_alias_keeps_its_name_without_the_suffix() -> None:
    edge = Edge()
    old = Metric(name="flow@9", alias=9, datatype=Datatype.INT32)
    *_, device = edge.born(DeviceBirth("pump", (*PUMP.metrics, old)))
    assert isinstance(device, DeviceBorn)
    assert [(t.name, t.alias, t.current) for t in device.tags if t.name == "flow"] == [
        ("flow", 10, True),
        ("flow", 9, False),
    ]
    body = encode(Payload(metrics=(Metric(alias=9, ts_ms=T0, datatype=Datatype.INT32, value=-4),)))
    (data,) = edge.hear(edge.edge.data(T0, "pump", body))
    assert isinstance(data, Data)
    assert data.samples == (Sample("flow", Datatype.INT32, T0, Quality.GOOD, -4),)


def test_data_before_birth_or_with_an_unknown_alias_ask_for_a_rebirth() -> None:
    edge = Edge()
    edge.edge.births(T0, NODE_METRICS, [PUMP])  # said, but not heard
    assert edge.hear(edge.data(flow(T0, 1.0))) == [RebirthWanted(NODE, "data before birth")]
    edge.born(DeviceBirth("pump", PUMP.metrics[1:]))
    message = edge.data(flow(T0, 1.0))
    rejected = Rejected(message.topic, message.payload, "unknown alias: 10")
    assert edge.hear(message) == [RebirthWanted(NODE, "unknown alias"), rejected]
    topic = Topic("plant", "DDATA", "gw-1", "nobody")
    assert edge.host.receive(topic, encode(Payload(T0, 3)), 0) == [RebirthWanted(NODE, "data before birth")]


def test_an_alias_of_another_device_is_not_known_to_this_one() -> None:
    edge = Edge()
    edge.born(PUMP, DeviceBirth("fan", (metric(BATCH, 22, TEXT),)))
    wanted, rejected = edge.hear(edge.data(flow(T0, 1.0), device="fan", alias=22))
    assert wanted == RebirthWanted(NODE, "unknown alias")
    assert isinstance(rejected, Rejected)


def test_messages_out_of_order_wait_for_each_other() -> None:
    edge = Edge()
    edge.born()
    first, second, third = (edge.data(flow(T0 + i, float(i)), number=i) for i in range(3))
    assert edge.hear(third, second) == []
    found = edge.hear(first)
    assert [d.batch.number for d in found if isinstance(d, Data) and d.batch] == [0, 1, 2]


def test_after_the_reorder_time_what_waited_is_taken_and_a_rebirth_wanted() -> None:
    edge = Edge()
    edge.born()
    lost, kept = edge.data(flow(T0, 1.0)), edge.data(flow(T0 + 1, 1.0), number=2)
    edge.hear(kept)
    assert edge.host.tick(REORDER_MS - 1) == []
    wanted, data = edge.host.tick(REORDER_MS)
    assert wanted == RebirthWanted(NODE, "sequence gap")
    assert isinstance(data, Data)
    assert edge.host.tick(10 * REORDER_MS) == []
    assert kinds(edge.hear(lost)) == ["Data"]  # late, but keyed: the ledger judges it
    assert kinds(edge.hear(edge.data(flow(T0 + 2, 1.0), number=3))) == ["Data"]


def test_a_birth_that_waited_is_understood_before_the_data_behind_it() -> None:
    edge = Edge()
    edge.born(DeviceBirth("fan", ()))
    missing = edge.edge.device_birth(T0, DeviceBirth("third", ()))
    birth = edge.edge.device_birth(T0, PUMP)
    data = edge.data(flow(T0, 1.0))
    assert edge.hear(data, birth) == []
    assert kinds(edge.hear(missing)) == ["DeviceBorn", "DeviceBorn", "Data"]


@given(st.permutations(range(6)))
def test_whatever_the_order_every_batch_is_handed_out_once(order: list[int]) -> None:
    edge = Edge()
    edge.born()
    messages = [edge.data(flow(T0 + i, float(i)), number=i) for i in range(6)]
    found = edge.hear(*(messages[i] for i in order)) + edge.host.tick(REORDER_MS)
    assert [d.batch.number for d in found if isinstance(d, Data) and d.batch] == list(range(6))


def test_seq_wraps() -> None:
    edge = Edge()
    edge.born()
    found = [e for i in range(600) for e in edge.hear(edge.data(flow(T0 + i, 0.0), number=i))]
    assert kinds(found) == ["Data"] * 600


def test_only_the_death_of_the_last_birth_counts() -> None:
    edge = Edge(bd_seq=255)
    edge.born()
    old_will = EdgeSession(NODE, 254).death(T0)
    assert edge.hear(old_will) == [OldDeath(NODE, 254)]
    assert edge.host.nodes == {NODE}
    assert edge.host.is_born(NODE, "pump")
    assert edge.hear(edge.edge.death(T0)) == [Gone(NODE, None)]
    assert edge.host.nodes == frozenset()
    assert not edge.host.is_born(NODE, "pump")


def test_a_device_that_died_is_not_heard_until_it_is_born_again() -> None:
    edge = Edge()
    edge.born()
    assert edge.hear(edge.edge.device_death(T0, "pump")) == [Gone(NODE, "pump", T0)]
    assert kinds(edge.hear(edge.edge.device_birth(T0, PUMP), edge.data(flow(T0, 1.0)))) == ["DeviceBorn", "Data"]


def test_a_rebirth_forgets_devices_that_it_does_not_name() -> None:
    edge = Edge()
    edge.born(PUMP, DeviceBirth("fan", ()))
    edge.born()
    assert not edge.host.is_born(NODE, "fan")


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("NBIRTH", Payload(T0, 3), "seq 3"),
        ("NBIRTH", Payload(T0, 0, (Metric(alias=3, value=1.0, datatype=Datatype.FLOAT),)), "without name"),
        ("DDATA", Payload(T0, None), "seq None"),
        ("DDATA", Payload(T0, 256), "seq 256"),
        ("DDATA", Payload(None, 2, (Metric(alias=10, datatype=Datatype.FLOAT, value=1.0),)), "no timestamp"),
        ("DDATA", Payload(2**63, 2, (Metric(alias=10, datatype=Datatype.FLOAT, value=1.0),)), "impossible timestamp"),
        ("DDATA", Payload(T0, 2, (Metric(alias=12, datatype=TEXT, value="no tag"),)), "not a batch tag"),
        ("DBIRTH", Payload(T0, 2, (metric("a", 2),)), "alias 2 is born"),
        ("DBIRTH", Payload(T0, 2, (metric("a", 50), metric("b", 50))), "alias 50 is born"),
        ("DDATA", Payload(T0, 2, (Metric(alias=10, datatype=Datatype.FLOAT, properties={"Quality": 7}),)), "quality 7"),
    ],
)
def test_what_breaks_the_rules_is_rejected_with_a_reason(kind: str, payload: Payload, why: str) -> None:
    edge = Edge()
    edge.born()
    topic = Topic("plant", kind, "gw-1", "pump" if kind[0] == "D" else "")
    (event,) = edge.host.receive(topic, encode(payload), 0)
    assert isinstance(event, Rejected)
    assert why in event.why
    assert event.payload == encode(payload)


def test_a_message_that_waited_and_is_malformed_is_rejected_too() -> None:
    edge = Edge()
    edge.born()
    birth = edge.edge.device_birth(T0, DeviceBirth("pump", (metric("flow", 10, Datatype.INT32),)))
    body = encode(Payload(metrics=(Metric(alias=10, ts_ms=T0, datatype=Datatype.FLOAT, value=1.0),)))
    assert edge.hear(edge.edge.data(T0, "pump", body)) == []
    assert kinds(edge.hear(birth)) == ["DeviceBorn", "Rejected"]


def test_commands_and_garbage_of_unknown_nodes_change_nothing() -> None:
    host = HostSession()
    assert host.receive(Topic("p", "NCMD", "x"), b"", 0) == []
    assert host.receive(Topic("p", "NDEATH", "x"), b"", 0) == [OldDeath(NodeId("p", "x"), None)]
    assert kinds(host.receive(Topic("p", "NDATA", "x"), b"\xff", 0)) == ["Rejected"]
    assert host.nodes == frozenset()


def test_a_third_party_node_needs_neither_aliases_nor_our_metrics() -> None:
    host = HostSession()
    topic = Topic("else", "NBIRTH", "x")
    metrics = (metric("bdSeq", None, Datatype.INT64, 1), metric("Node Control/Rebirth", None, Datatype.BOOLEAN, False))
    events = host.receive(topic, encode(Payload(T0, 0, (*metrics, metric("up", None, value=2.0)))), 0)
    assert kinds(events) == ["NodeBorn", "DeviceBorn", "Data"]
    data = events[-1]
    assert isinstance(data, Data)
    assert [(s.name, s.value) for s in data.samples] == [("up", 2.0)]
    assert (data.batch, data.confirming) == (None, False)
    host.receive(Topic("else", "DBIRTH", "x", "d"), encode(Payload(T0, 1, (metric("temp", None),))), 0)

    # Data that name the metric, without its datatype: as some encoders do.
    raw = sparkplug_pb2.Payload(timestamp=T0, seq=2)
    raw.metrics.add(name="temp", float_value=1.5)
    (data,) = host.receive(Topic("else", "DDATA", "x", "d"), raw.SerializeToString(), 0)
    assert isinstance(data, Data)
    assert data.samples == (Sample("temp", Datatype.FLOAT, T0, Quality.GOOD, 1.5),)
    body = encode(Payload(T0, 3, (metric("what", None, value=1.5),)))
    found = host.receive(Topic("else", "DDATA", "x", "d"), body, 0)
    why = "unknown metric: 'what'"
    assert found == [
        RebirthWanted(NodeId("else", "x"), "unknown metric"),
        Rejected(Topic("else", "DDATA", "x", "d"), body, why),
    ]
    body = encode(Payload(T0, 4, (metric("Node Control/Rebirth", None, Datatype.BOOLEAN, False),)))
    (data,) = host.receive(Topic("else", "NDATA", "x"), body, 0)
    assert isinstance(data, Data)
    assert data.samples == ()


def test_reason_and_quality_arrive() -> None:
    edge = Edge()
    edge.born()
    bad = Sample("flow", Datatype.FLOAT, T0, Quality.BAD, None, Reason.TIMEOUT)
    (data,) = edge.hear(edge.data(bad))
    assert isinstance(data, Data)
    assert data.samples == (bad,)


NOT_UTF8 = b"\xb0C \xfc"  # ISO 8859-1, as devices with umlauts say it


@pytest.mark.parametrize("place", ["name", "value", "property key", "property value"])
def test_text_that_is_not_utf8_is_rejected_wherever_it_stands(place: str) -> None:
    words = {p: f"marker-{p[-1]}{len(p)}" for p in ("name", "value", "property key", "property value")}
    one = Metric(
        name=words["name"],
        ts_ms=T0,
        datatype=Datatype.STRING,
        value=words["value"],
        properties={words["property key"]: words["property value"]},
    )
    data = encode(Payload(ts_ms=T0, seq=0, metrics=(one,)))
    raw = words[place].encode()
    [event] = HostSession().receive(Topic("plant", "NBIRTH", "other"), data.replace(raw, NOT_UTF8.ljust(len(raw))), T0)
    assert isinstance(event, Rejected)
    assert "UTF-8" in event.why


MESSAGES = (
    ("NBIRTH", "", Payload(ts_ms=T0, seq=0, metrics=(
        Metric(name="bdSeq", ts_ms=T0, datatype=Datatype.INT64, value=3),
        Metric(name="Delivery/Protocol", alias=1, ts_ms=T0, datatype=Datatype.STRING, value="gaugeline/1"),
        Metric(name=BATCH, alias=2, ts_ms=T0, datatype=Datatype.STRING)))),
    ("DBIRTH", "pump", Payload(ts_ms=T0, seq=1, metrics=(
        Metric(name="flow", alias=7, ts_ms=T0, datatype=Datatype.FLOAT, value=1.5, properties={"engUnit": "bar"}),
        Metric(name="text", alias=8, ts_ms=T0, datatype=Datatype.STRING, value="x", quality=Quality.UNCERTAIN),
        Metric(name=BATCH, alias=9, ts_ms=T0, datatype=Datatype.STRING)))),
    ("DDATA", "pump", Payload(ts_ms=T0, seq=2, metrics=(
        Metric(alias=7, ts_ms=T0, datatype=Datatype.FLOAT, value=2.5),
        Metric(alias=8, ts_ms=T0, datatype=Datatype.STRING, value="y"),
        Metric(alias=9, ts_ms=T0, datatype=Datatype.STRING, value="epoch:1:2:" + "0" * 32)))),
    ("DDEATH", "pump", Payload(ts_ms=T0, seq=3)),
    ("NDEATH", "", Payload(ts_ms=T0, metrics=(Metric(name="bdSeq", datatype=Datatype.INT64, value=3),))),
)  # fmt: skip


@given(st.data())
def test_no_damage_to_a_message_makes_the_session_raise_or_hand_out_what_cannot_be_kept(data: st.DataObject) -> None:
    session = HostSession()
    for kind, device, payload in MESSAGES:
        body = bytearray(encode(payload))
        for _ in range(data.draw(st.integers(0, 2))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        found = session.receive(Topic("plant", kind, "gw", device), bytes(body), T0) + session.tick(T0 + 10_000)
        for event in found:
            if isinstance(event, DeviceBorn):
                json.dumps([[t.name, t.datatype, dict(t.properties)] for t in event.tags])
            elif isinstance(event, Data):
                json.dumps([[s.name, s.value] for s in event.samples])


def third_party(alias: int | None = 7) -> tuple[HostSession, list[Event]]:
    """A node whose device bears a Template, a UUID and one number."""
    host = HostSession()
    host.receive(Topic("else", "NBIRTH", "x"), encode(Payload(T0, 0, ())), 0)
    raw = sparkplug_pb2.Payload(timestamp=T0, seq=1)
    raw.metrics.add(name="motor", datatype=19, timestamp=T0, **({"alias": alias} if alias else {}))
    raw.metrics.add(name="serial", datatype=15, timestamp=T0, string_value="123e4567")
    raw.metrics.add(name="temp", datatype=9, timestamp=T0, float_value=1.5, **({"alias": 8} if alias else {}))
    return host, host.receive(Topic("else", "DBIRTH", "x", "d"), raw.SerializeToString(), 0)


@pytest.mark.parametrize("alias", [7, None])
def test_metrics_of_other_datatypes_are_left_out_and_those_beside_them_taken(alias: int | None) -> None:
    host, events = third_party(alias)
    assert kinds(events) == ["DeviceBorn", "LeftOut", "Data"]
    assert LeftOut(NodeId("else", "x"), "d", (("motor", "Template"), ("serial", "UUID"))) in events
    raw = sparkplug_pb2.Payload(timestamp=T0, seq=2)
    names = ({"alias": 7}, {"alias": 8}) if alias else ({"name": "motor"}, {"name": "temp"})
    raw.metrics.add(timestamp=T0, **names[0])  # a Template's value is a field that we do not read
    raw.metrics.add(timestamp=T0 + 1, float_value=2.5, **names[1])
    raw.metrics.add(name="grid", datatype=16, timestamp=T0)
    left, data = host.receive(Topic("else", "DDATA", "x", "d"), raw.SerializeToString(), 0)
    assert left == LeftOut(NodeId("else", "x"), "d", (("grid", "DataSet"), ("motor", "Template")))
    assert isinstance(data, Data)
    assert data.samples == (Sample("temp", Datatype.FLOAT, T0 + 1, Quality.GOOD, 2.5),)


def test_a_message_of_other_datatypes_alone_is_no_data_and_no_fault() -> None:
    host, _ = third_party()
    raw = sparkplug_pb2.Payload(timestamp=T0, seq=2)
    raw.metrics.add(timestamp=T0, alias=7)
    assert kinds(host.receive(Topic("else", "DDATA", "x", "d"), raw.SerializeToString(), 0)) == ["LeftOut"]
    host.receive(Topic("else", "DDEATH", "x", "d"), encode(Payload(T0, 3)), 0)
    raw.seq = 4
    again = host.receive(Topic("else", "DDATA", "x", "d"), raw.SerializeToString(), 0)
    assert again == [RebirthWanted(NodeId("else", "x"), "data before birth")]


class TestMemory:
    """Births that were heard before a restart of the host."""

    def after_restart(self, edge: Edge) -> None:
        memory = json.loads(json.dumps(edge.host.memory(NODE)))
        edge.host = HostSession(remembered={NODE: remembered_node(NODE, memory)})

    def test_keyed_data_are_understood_before_the_node_is_born_again(self) -> None:
        edge = Edge()
        edge.born()
        edge.hear(edge.data(flow(T0, 1.0)))
        self.after_restart(edge)
        wanted, data = edge.hear(edge.data(flow(T0 + 1, 2.0), number=2))
        assert wanted == RebirthWanted(NODE, "births from before")
        assert isinstance(data, Data)
        assert data.samples == (flow(T0 + 1, 2.0),)
        assert edge.host.nodes == {NODE}
        assert edge.host.memory(NODE) is None, "what an earlier session heard is not written down again"
        edge.born()
        assert kinds(edge.hear(edge.data(flow(T0 + 2, 2.0), number=3))) == ["Data"]
        assert edge.hear(edge.edge.death(T0)) == [Gone(NODE, None)]
        assert set(edge.host.remember()) == {NODE}
        edge.host.forget(NODE)
        assert edge.host.remember() == {}

    def test_names_that_the_digest_does_not_prove_are_never_handed_out(self) -> None:
        edge = Edge()
        edge.born()
        self.after_restart(edge)
        edge.edge.births(T0, NODE_METRICS, [PUMP])
        tag = BatchTag("e", 1, 1, "0" * 32)
        metrics = (*data_metrics([flow(T0, 1.0)], ALIASES), Metric(alias=12, ts_ms=T0, datatype=TEXT, value=str(tag)))
        wrong = edge.edge.data(T0, "pump", encode(Payload(metrics=metrics)))
        assert edge.hear(wrong) == [RebirthWanted(NODE, "births from before")]
        assert edge.host.nodes == frozenset()
        assert edge.hear(edge.data(flow(T0, 1.0))) == [RebirthWanted(NODE, "data before birth")]

    def test_unkeyed_data_wait_for_the_birth(self) -> None:
        edge = Edge()
        edge.born()
        self.after_restart(edge)
        message = edge.edge.data(T0, "pump", encode(Payload(metrics=data_metrics([flow(T0, 1.0)], ALIASES))))
        assert edge.hear(message) == [RebirthWanted(NODE, "births from before")]

    @pytest.mark.parametrize(
        "memory", [{}, {"bd_seq": 1, "devices": [], "aliases": [[1, "d", "x", 9]]}, {"devices": 3}]
    )
    def test_a_damaged_memory_is_told(self, memory: dict[str, object]) -> None:
        with pytest.raises(PayloadError, match="memory"):
            remembered_node(NODE, memory)


def test_edge_nodes_are_not_taken_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.host_session.MOST_NODES", 2)
    host = HostSession()
    birth = encode(Payload(T0, 0, ()))
    found = [kinds(host.receive(Topic("g", "NBIRTH", name), birth, 0))[0] for name in "abca"]
    assert found == ["NodeBorn", "NodeBorn", "Rejected", "NodeBorn"]
