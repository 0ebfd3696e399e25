"""The edge node's session says the right thing in the right order."""

from __future__ import annotations

import pytest

from wire.delivery import BATCH, WITHOUT_ALIAS
from wire.edge_session import DeviceBirth, EdgeSession, SessionFault, next_bd_seq
from wire.ids import NodeId
from wire.payload import Metric, Payload, decode, encode
from wire.tag import Datatype

NODE = NodeId("plant", "gw")
BATCH_METRIC = Metric(name=BATCH, alias=1, datatype=Datatype.STRING)
PUMP = DeviceBirth("pump", (Metric(name="flow", alias=7, datatype=Datatype.FLOAT, value=1.5),))
FAN = DeviceBirth("fan", (Metric(name="speed", alias=8, datatype=Datatype.FLOAT),))
BODY = encode(Payload(metrics=(Metric(alias=7, ts_ms=5, datatype=Datatype.FLOAT, value=2.0),)))


def born(bd_seq: int = 3) -> EdgeSession:
    session = EdgeSession(NODE, bd_seq)
    session.births(1000, [BATCH_METRIC], [PUMP, FAN])
    return session


def test_bd_seq_grows_by_one_at_every_connect_and_wraps_after_255() -> None:
    assert [next_bd_seq(None), next_bd_seq(0), next_bd_seq(254), next_bd_seq(255)] == [0, 1, 255, 0]


@pytest.mark.parametrize("wrong", [-1, 256])
def test_a_bd_seq_outside_its_range_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="bdSeq"):
        EdgeSession(NODE, wrong)


def test_the_will_bears_only_bd_seq_without_seq_at_qos_1() -> None:
    death = EdgeSession(NODE, 9).death(77)
    assert (str(death.topic), death.qos) == ("spBv1.0/plant/NDEATH/gw", 1)
    payload = decode(death.payload)
    assert payload.seq is None
    assert [(m.name, m.value, m.alias) for m in payload.metrics] == [("bdSeq", 9, None)]


def test_nbirth_comes_first_with_seq_0_then_every_dbirth() -> None:
    messages = EdgeSession(NODE, 3).births(1000, [BATCH_METRIC], [PUMP, FAN])
    assert [str(m.topic) for m in messages] == [
        "spBv1.0/plant/NBIRTH/gw",
        "spBv1.0/plant/DBIRTH/gw/pump",
        "spBv1.0/plant/DBIRTH/gw/fan",
    ]
    assert [decode(m.payload).seq for m in messages] == [0, 1, 2]
    assert all(m.qos == 0 for m in messages)


def test_nbirth_bears_the_bd_seq_of_the_will_and_commands_without_alias() -> None:
    session = EdgeSession(NODE, 200)
    will = decode(session.death(1).payload).metrics[0].value
    metrics = {m.name: m for m in decode(session.births(1000, [BATCH_METRIC], [])[0].payload).metrics}
    assert metrics["bdSeq"].value == will == 200
    assert {n for n, m in metrics.items() if m.alias is None} == WITHOUT_ALIAS
    assert metrics["Node Control/Rebirth"].value is False
    assert metrics[BATCH].alias == 1
    assert {metrics[n].ts_ms for n in WITHOUT_ALIAS} == {1000}, "tck-id-payloads-name-birth-data-requirement"


def test_seq_runs_over_node_and_device_messages_and_wraps_after_255() -> None:
    session = born()
    seen = []
    for i in range(300):
        device = ("pump", "fan", "")[i % 3]
        seen.append(decode(session.data(i, device, BODY).payload).seq)
    assert seen == [(3 + i) % 256 for i in range(300)]


def test_a_rebirth_begins_again_at_seq_0_with_the_same_bd_seq() -> None:
    session = born(5)
    session.data(1, "pump", BODY)
    again = decode(session.births(2000, [BATCH_METRIC], [PUMP])[0].payload)
    assert again.seq == 0
    assert next(m.value for m in again.metrics if m.name == "bdSeq") == 5
    assert session.born == {"pump"}


def test_data_keeps_body_and_gets_time_and_seq() -> None:
    message = born().data(4321, "pump", BODY)
    assert str(message.topic) == "spBv1.0/plant/DDATA/gw/pump"
    payload = decode(message.payload, {7: Datatype.FLOAT})
    assert (payload.ts_ms, payload.seq, payload.metrics[0].value) == (4321, 3, 2.0)
    assert str(born().data(1, "", BODY).topic) == "spBv1.0/plant/NDATA/gw"


def test_nothing_but_a_death_may_come_before_the_birth() -> None:
    session = EdgeSession(NODE, 0)
    with pytest.raises(SessionFault, match="NDATA before NBIRTH"):
        session.data(1, "", BODY)
    with pytest.raises(SessionFault, match="before NBIRTH"):
        session.data(1, "pump", BODY)
    with pytest.raises(SessionFault, match="before NBIRTH"):
        session.device_birth(1, PUMP)
    assert not session.node_born


def test_a_dead_device_says_nothing_until_it_is_born_again() -> None:
    session = born()
    death = session.device_death(9, "pump")
    assert str(death.topic) == "spBv1.0/plant/DDEATH/gw/pump"
    assert decode(death.payload) == Payload(9, 3, ())
    for say in (lambda: session.data(1, "pump", BODY), lambda: session.device_death(1, "pump")):
        with pytest.raises(SessionFault, match="before its DBIRTH"):
            say()
    session.device_birth(10, PUMP)
    assert decode(session.data(11, "pump", BODY).payload).seq == 5


def test_after_the_nodes_death_nothing_is_said() -> None:
    session = born()
    session.death(1)
    with pytest.raises(SessionFault):
        session.data(1, "pump", BODY)


@pytest.mark.parametrize(
    "metric",
    [
        Metric(alias=4, datatype=Datatype.FLOAT),
        Metric(name="flow", alias=4),
        Metric(name="flow", datatype=Datatype.FLOAT),
        Metric(name="bdSeq", alias=4, datatype=Datatype.INT64),
    ],
)
def test_a_birth_metric_without_name_datatype_or_right_alias_is_our_fault(metric: Metric) -> None:
    with pytest.raises(SessionFault):
        EdgeSession(NODE, 0).births(1, [metric], [])
