"""Data decoded by columns is data decoded with care, whatever the message: the same events, samples and digests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.wire.strategies import samples
from wire.block import Quality, Reason, Sample, Value
from wire.body import as_historical, stamped
from wire.columns import Columns, fields_of, joined_fields
from wire.compressed import compressed
from wire.delivery import BATCH, PROTOCOL, PROTOCOL_METRIC, BatchTag, batch_digest
from wire.edge_session import DeviceBirth, EdgeSession
from wire.errors import PayloadError
from wire.host_data import heard, understood
from wire.host_events import Data, Event
from wire.host_node import Node, decoded
from wire.host_session import HostSession
from wire.ids import NodeId
from wire.payload import Metric, Payload, data_metrics, encode
from wire.quick import MOST_FORMS, Quick, quick
from wire.tag import Datatype
from wire.thinned import REPLACES, replaces_sample
from wire.topic import Topic

NODE = NodeId("site", "gw")
T0 = 1_700_000_000_000
DATA = Topic(*NODE[:1], "DDATA", NODE.node, "pump")


class Said(NamedTuple):
    """A device's tags as born, and one message of its data."""

    tags: dict[str, Datatype]
    aliases: dict[str, int]
    payload: bytes


def birth(tags: dict[str, Datatype], aliases: dict[str, int], host: HostSession) -> None:
    """The births of a gateway with one device, heard by a host."""
    session = EdgeSession(NODE, 0)
    node = [Metric(name=PROTOCOL_METRIC, alias=1, datatype=Datatype.STRING, value=PROTOCOL)]
    device = [Metric(name=n, alias=aliases[n], datatype=k, quality=Quality.BAD) for n, k in tags.items()]
    device.append(Metric(name=BATCH, alias=aliases[BATCH], datatype=Datatype.STRING))
    for message in session.births(T0, node, [DeviceBirth("pump", tuple(device))]):
        host.receive(message.topic, message.payload, T0)


def body_of(found: Sequence[Sample], aliases: dict[str, int], epoch: str = "epoch", number: int = 7) -> bytes:
    tag = BatchTag(epoch, number, len(found), batch_digest(NODE, "pump", epoch, number, found))
    key = Metric(alias=aliases[BATCH], ts_ms=T0, datatype=Datatype.STRING, value=str(tag))
    return encode(Payload(metrics=(*data_metrics(found, aliases), key)))


@st.composite
def messages(draw: st.DrawFn) -> Said:
    """What a gateway of ours might say, historical or not, compressed or not."""
    found = draw(st.lists(samples(), min_size=1, max_size=12))
    tags = {s.name: s.datatype for s in found}
    found = [s._replace(ts_ms=s.ts_ms + 2**35) for s in found if s.datatype is tags[s.name]]
    first = draw(st.sampled_from([2, 120, 16_380, 2**28]))
    aliases = {name: first + i for i, name in enumerate([*tags, BATCH])}
    body = body_of(found, aliases)
    if draw(st.booleans()):
        body = as_historical(body)
    seq = draw(st.sampled_from([2, 1]))
    return Said(tags, aliases, compressed(body, T0, seq) if draw(st.booleans()) else stamped(body, T0, seq))


def both(said: Said, payload: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Event], list[Event]]:
    """The events of a host that decodes by columns where it can, and of one that never does."""
    found = []
    for way in (heard, decoded):
        monkeypatch.setattr("wire.host_session.heard", way)
        host = HostSession()
        birth(said.tags, said.aliases, host)
        # What waits for a seq before it is taken later, decoded anew.
        found.append([*host.receive(DATA, payload, T0), *host.tick(T0 + 10_000)])
    return found[0], found[1]


def typed(events: Sequence[Event]) -> list[object]:
    """1, 1.0 and True are equal, and so are 0.0 and -0.0: not here."""
    return [[repr(tuple(e.samples)), e._replace(samples=())] if isinstance(e, Data) else e for e in events]


@pytest.mark.no_cover
@given(messages())
def test_any_message_gives_the_same_either_way(said: Said) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quickly, carefully = both(said, said.payload, patch)
    assert typed(quickly) == typed(carefully)
    assert [type(e).__name__ for e in quickly] in ([["Data"]], ["Data"], ["RebirthWanted", "Data"])
    (data,) = [e for e in quickly if isinstance(e, Data)]
    assert data.batch is not None
    assert batch_digest(NODE, "pump", data.batch.epoch, data.batch.number, data.samples) == data.batch.digest
    assert batch_digest(NODE, "pump", data.batch.epoch, data.batch.number, list(data.samples)) == data.batch.digest


@pytest.mark.no_cover
@settings(max_examples=150)
@given(messages(), st.data())
def test_any_damage_gives_the_same_either_way(said: Said, draws: st.DataObject) -> None:
    payload = bytearray(said.payload)
    for _ in range(draws.draw(st.integers(1, 3))):
        at = draws.draw(st.integers(0, len(payload) - 1))
        kind = draws.draw(st.sampled_from(["set", "flip", "cut", "insert", "repeat", "end"]))
        if kind == "set":
            payload[at] = draws.draw(
                st.sampled_from([0, 1, 0x12, 0x28, 0x38, 0x4A, 0x50, 0x58, 0x65, 0x7A, 0x80, 0xFF])
            )
        elif kind == "flip":
            payload[at] ^= 1 << draws.draw(st.integers(0, 7))
        elif kind == "cut":
            del payload[at : at + draws.draw(st.integers(1, 4))]
        elif kind == "insert":
            payload[at:at] = draws.draw(st.binary(min_size=1, max_size=4))
        elif kind == "repeat":
            payload += payload[at:]
        else:
            del payload[at:]
        assume(payload)
    with pytest.MonkeyPatch.context() as patch:
        quickly, carefully = both(said, bytes(payload), patch)
    assert typed(quickly) == typed(carefully)


KINDS: dict[str, tuple[Datatype, Value]] = {
    "flow": (Datatype.FLOAT, 1.5), "power": (Datatype.DOUBLE, -2.25), "on": (Datatype.BOOLEAN, True),
    "count": (Datatype.UINT32, 4_000_000_000), "step": (Datatype.INT16, -3), "energy": (Datatype.UINT64, 2**63 + 1),
    "total": (Datatype.INT64, -(2**40)), "state": (Datatype.STRING, "running"), "since": (Datatype.DATETIME, T0),
}  # fmt: skip
TAGS = {name: kind for name, (kind, _) in KINDS.items()}
ALIASES = {name: i for i, name in enumerate([*TAGS, BATCH, REPLACES], 100)}
PLAIN = [Sample(name, kind, T0, Quality.GOOD, value) for name, (kind, value) in KINDS.items()]
MARKED = [
    Sample("flow", Datatype.FLOAT, T0, Quality.BAD, None, Reason.TIMEOUT),
    Sample("power", Datatype.DOUBLE, T0 + 1, Quality.UNCERTAIN, 3.5, Reason.CLOCK_UNKNOWN),
    Sample("count", Datatype.UINT32, T0 + 2, Quality.UNCERTAIN, 300),
    Sample("flow", Datatype.FLOAT, T0 + 3, Quality.GOOD, 0.5),
]


def known_node() -> Node:
    """A node with the device `pump`, as a host knows it after its births."""
    host = HostSession()
    tags = {**TAGS, REPLACES: Datatype.STRING}
    birth(tags, ALIASES, host)
    return host.remember()[NODE]


@pytest.mark.parametrize("found", [PLAIN, MARKED, [replaces_sample(BatchTag("e", 1, 9, "0" * 32), T0), *PLAIN]])
@pytest.mark.parametrize(
    "how", [stamped, compressed, lambda body, ts_ms, seq: stamped(as_historical(body), ts_ms, seq)]
)
def test_what_gateways_say_is_decoded_by_columns(found: list[Sample], how: object) -> None:
    node = known_node()
    assert callable(how)
    payload = how(body_of(found, ALIASES), T0, 2)
    seen = quick(node, "pump", payload)
    assert seen is not None
    assert (seen.ts_ms, seen.seq, seen.historical) == (T0, 2, b"\x28\x01" in payload)
    assert isinstance(seen.samples, Columns)
    assert repr(tuple(seen.samples)) == repr(tuple(found))
    careful = understood(node, "pump", decoded(node, DATA, payload))
    assert understood(node, "pump", seen) == careful


def metrics(*more: Metric) -> bytes:
    """One good metric and others."""
    first = Metric(alias=ALIASES["flow"], ts_ms=T0, datatype=Datatype.FLOAT, value=1.0)
    return encode(Payload(metrics=(first, *more)))


def head(body: bytes) -> bytes:
    """A body as data is said: stamp and seq ahead of it."""
    return stamped(body, T0, 2)


TAG = str(BatchTag("e", 1, 1, "0" * 32))
UNUSUAL = {
    "no metric": head(b""),
    "nothing but a batch tag": head(body_of([], ALIASES)),
    "no seq": b"\x08" + head(b"")[1:7] + metrics(),
    "seq after the metrics": b"\x08" + head(b"")[1:7] + metrics() + b"\x18\x02",
    "an alias that nobody gave": head(metrics(Metric(alias=9, ts_ms=T0, datatype=Datatype.INT32, value=1))),
    "a name": head(encode(Payload(metrics=(Metric(name="flow", ts_ms=T0, datatype=Datatype.FLOAT, value=1.0),)))),
    "no stamp": head(encode(Payload(metrics=(Metric(alias=100, datatype=Datatype.FLOAT, value=1.0),)))),
    "a stamp of 1970": head(encode(Payload(metrics=(Metric(alias=100, ts_ms=5, datatype=Datatype.FLOAT, value=1.0),)))),
    "another kind of value": head(
        encode(Payload(metrics=(Metric(alias=100, ts_ms=T0, datatype=Datatype.DOUBLE, value=1.0),)))
    ),
    "not a number": head(body_of([PLAIN[0]._replace(value=math.nan)], ALIASES)),
    "infinity": head(body_of([PLAIN[1]._replace(value=math.inf)], ALIASES)),
    "finite numbers whose sum is not": head(body_of([PLAIN[1]._replace(value=1.7e308)] * 2, ALIASES)),
    "not a number among marked ones": head(body_of([*MARKED, PLAIN[0]._replace(value=math.nan)], ALIASES)),
    "a text that is not ASCII": head(body_of([PLAIN[7]._replace(value="läuft")], ALIASES)),
    "a long text": head(body_of([PLAIN[7]._replace(value="x" * 200)], ALIASES)),
    "a batch tag before the last metric": head(
        encode(Payload(metrics=(Metric(alias=ALIASES[BATCH], ts_ms=T0, datatype=Datatype.STRING, value=TAG),)))
        + body_of(PLAIN, ALIASES)
    ),
    "a batch tag that is none": head(
        metrics(Metric(alias=ALIASES[BATCH], ts_ms=T0, datatype=Datatype.STRING, value="e:1:2"))
    ),
    "bytes that belong to nothing": head(body_of(PLAIN, ALIASES)) + b"\x00",
    "a property of somebody else's": head(
        encode(
            Payload(metrics=(Metric(alias=100, ts_ms=T0, datatype=Datatype.FLOAT, value=1.0, properties={"a": True}),))
        )
    ),
    "a compressed payload that is cut": compressed(body_of(PLAIN, ALIASES), T0, 2)[:-9],
    "a compressed payload that is damaged": compressed(body_of(PLAIN, ALIASES), T0, 2)[:-4] + b"\xff\xff\xff\xff",
    "a number of more than 32 bits": head(
        b"\x12\x0f\x10\x67\x18" + bytes([0x80] * 5) + b"\x20\x50\xff\xff\xff\xff\x7f"
    ),
}


def test_the_bytes_that_the_unusual_ones_are_made_of_are_usual() -> None:
    """Or they would be refused for another reason than they stand for."""
    number = b"\x12\x0f\x10\x67\x18" + bytes([0x80] * 5) + b"\x20\x50\xff\xff\xff\xff\x0f"
    tag = Metric(alias=ALIASES[BATCH], ts_ms=T0, datatype=Datatype.STRING, value=TAG)
    for body in (metrics(), number, metrics(tag), body_of(PLAIN, ALIASES), body_of([*MARKED], ALIASES)):
        assert quick(known_node(), "pump", head(body)) is not None
    assert head(b"")[:1] + head(b"")[1:7] + b"\x18\x02" == head(b"")


@pytest.mark.parametrize("payload", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_unusual_is_looked_at_with_care(payload: bytes) -> None:
    node = known_node()
    assert quick(node, "pump", payload) is None
    assert quick(node, "fan", payload) is None


def test_an_alias_that_its_birth_lost_again_is_not_believed() -> None:
    node = known_node()
    payload = head(body_of(PLAIN, ALIASES))
    assert isinstance(heard(node, DATA, payload), Quick)
    del node.aliases[ALIASES["step"]]
    assert quick(node, "pump", payload) is None


def test_a_batch_tag_that_was_born_as_a_number_is_refused_either_way() -> None:
    node = known_node()
    alias = ALIASES[BATCH]
    node.aliases[alias] = node.aliases[alias]._replace(datatype=Datatype.INT32)
    node.datatypes[alias] = Datatype.INT32
    payload = head(body_of(PLAIN, ALIASES))
    assert quick(node, "pump", payload) is None
    with pytest.raises(PayloadError, match="needs int_value"):
        decoded(node, DATA, payload)


def test_a_device_that_says_ever_other_tags_is_understood_every_time() -> None:
    node = known_node()
    for i in range(MOST_FORMS + 20):
        found = [sample for bit, sample in enumerate(PLAIN) if i + 1 >> bit & 1]
        seen = quick(node, "pump", head(body_of(found, ALIASES)))
        assert seen is not None
        assert list(seen.samples) == found


def test_the_births_of_others_are_left_to_care() -> None:
    node = known_node()
    payload = head(body_of(PLAIN, ALIASES))
    node.confirming = False
    assert not isinstance(heard(node, DATA, payload), Quick)
    assert not isinstance(heard(None, DATA, payload), Quick)


def test_columns_are_a_sequence_of_samples_and_equal_to_it() -> None:
    seen = quick(known_node(), "pump", head(body_of(PLAIN, ALIASES)))
    assert seen is not None
    columns = seen.samples
    assert (len(columns), columns[1], columns[-1], columns[1:3]) == (9, PLAIN[1], PLAIN[-1], tuple(PLAIN[1:3]))
    assert columns == tuple(PLAIN)
    assert tuple(PLAIN) == columns
    assert columns != tuple(PLAIN[1:])
    assert columns != 9
    assert hash(columns) == hash(tuple(PLAIN))
    assert repr(columns).startswith("Columns(Sample(name='flow'")
    assert columns.texts == columns.fields.values
    assert joined_fields([columns, (), PLAIN]) == joined_fields([PLAIN, PLAIN])
    assert fields_of(()) == joined_fields([])
