"""Names, topics, tags, Blocks and the error tree."""

from __future__ import annotations

import re

import numpy as np
import pytest

import wire.errors as errors
from wire.block import Block, Quality, Reason, Sample
from wire.errors import ConfigError, PayloadError
from wire.ids import NodeId, check_id, check_tag_name
from wire.tag import Asset, Datatype, Tag, TagTable, birth_properties
from wire.topic import Topic, parse_topic, state_topic


@pytest.mark.parametrize("name", ["pump-1", "A", "p.1_x", "9"])
def test_legal_ids_pass(name: str) -> None:
    assert check_id(name, "device") == name


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "#", "-a", "a b", "ü", "a" * 65])
def test_illegal_ids_are_told_what_is_legal(name: str) -> None:
    with pytest.raises(ConfigError, match=r"device id .*1 to 64 letters"):
        check_id(name, "device")


def test_tag_names_may_be_grouped_and_never_hold_the_retired_mark() -> None:
    assert check_tag_name("share/motor.current") == "share/motor.current"
    for name in ("a@7", "/a", "a//b", "", "x" * 129):
        with pytest.raises(ConfigError):
            check_tag_name(name)


@pytest.mark.parametrize(
    "topic",
    [Topic("g", "NBIRTH", "n"), Topic("g", "DDATA", "n", "d"), Topic("g", "NCMD", "n"), Topic("g", "DDEATH", "n", "d")],
)
def test_topics_read_as_they_were_written(topic: Topic) -> None:
    assert parse_topic(str(topic)) == topic


@pytest.mark.parametrize(
    "text", ["spBv1.0/g/NBIRTH", "spBv1.0/g/NBIRTH/n/d", "spBv1.0/g/DDATA/n", "spAv1.0/g/NDATA/n", "spBv1.0//NDATA/n",
             "spBv1.0/g/XDATA/n", "spBv1.0/STATE/host", "", "spBv1.0/g/DDATA/n/d/e"]
)  # fmt: skip
def test_topics_that_are_no_messages_of_nodes_are_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        parse_topic(text)


def test_the_state_topic_and_the_node_read_as_people_write_them() -> None:
    assert state_topic("gaugeline") == "spBv1.0/STATE/gaugeline"
    assert str(NodeId("plant", "gw")) == "plant/gw"


FLOW = Tag("flow", "pump", Datatype.FLOAT, "m3/h", asset="pump-1", measures="flow")
COUNT = Tag("count", "pump", Datatype.UINT64)
RUNS = Tag("runs", "pump", Datatype.UINT16)
TABLE = TagTable([FLOW, COUNT, RUNS])


def test_a_block_gives_its_samples_with_their_own_types() -> None:
    block = Block(
        1000,
        TABLE,
        np.array([1.5, np.nan, 7.0]),
        np.array([Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN], np.uint8),
        np.array([0, 0, Reason.OUT_OF_RANGE], np.uint8),
        {1: 2**63 + 1},
    )
    assert list(block.samples()) == [
        Sample("flow", Datatype.FLOAT, 1000, Quality.GOOD, 1.5),
        Sample("count", Datatype.UINT64, 1000, Quality.GOOD, 2**63 + 1),
        Sample("runs", Datatype.UINT16, 1000, Quality.UNCERTAIN, 7, Reason.OUT_OF_RANGE),
    ]
    assert isinstance(block.value(2), int)
    with pytest.raises(ValueError, match="read-only"):
        block.values[0] = 2.0


def test_a_bad_block_has_every_tag_and_no_value() -> None:
    block = Block.bad(5, TABLE, Reason.TIMEOUT)
    assert [(s.name, s.value, s.quality, s.reason) for s in block.samples()] == [
        (name, None, Quality.BAD, Reason.TIMEOUT) for name in ("flow", "count", "runs")
    ]


def test_a_block_whose_arrays_do_not_fit_its_table_cannot_exist() -> None:
    with pytest.raises(ValueError, match="arrays of shape"):
        Block(1, TABLE, np.zeros(2), np.zeros(3, np.uint8), np.zeros(3, np.uint8))


def test_a_tag_table_is_of_one_device_and_names_each_tag_once() -> None:
    assert TABLE.column("runs") == 2
    assert len(TABLE) == 3
    with pytest.raises(ValueError, match="one device"):
        TagTable([FLOW, Tag("flow", "other", Datatype.FLOAT)])
    with pytest.raises(ValueError, match="twice"):
        TagTable([FLOW, FLOW])


def test_a_tag_describes_itself_in_its_birth() -> None:
    assert birth_properties(FLOW, Asset("pump-1", "Feed pump", "machine")) == {
        "engUnit": "m3/h",
        "measures": "flow",
        "asset": "pump-1",
        "assetName": "Feed pump",
        "assetKind": "machine",
    }
    assert birth_properties(COUNT, None) == {}


def test_only_64_bit_integers_booleans_and_texts_stay_out_of_float64() -> None:
    outside = {t for t in Datatype if not t.in_float64}
    assert outside == {
        Datatype.INT64, Datatype.UINT64, Datatype.BOOLEAN, Datatype.STRING, Datatype.TEXT, Datatype.DATETIME
    }  # fmt: skip


def test_the_error_tree_is_drawn_as_it_is() -> None:
    ends = "Error|Down|Silent|Garbled|Refused|Full|Lost"
    drawn = re.findall(rf"(?:├──|└──|^) ?(\w+(?:{ends}))", errors.__doc__ or "", re.M)
    real = [c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GaugelineError)]
    assert sorted(drawn) == sorted(real)


def test_a_config_error_keeps_every_problem() -> None:
    assert ConfigError(["a", "b"]).problems == ("a", "b")
    assert str(ConfigError("one")) == "one"
