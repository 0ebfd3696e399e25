"""Samples by columns are screened like single ones, and weigh as much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud.pending import weight
from cloud.screen import EARLIEST_MS, LATEST_MS, LONGEST_TEXT, digest_fits, screened
from tests.wire.strategies import samples
from wire.block import Sample
from wire.columns import Columns, fields_of
from wire.delivery import BatchTag, batch_digest, sample_bytes
from wire.host_events import Data
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw")
TEXTS = {Datatype.STRING, Datatype.TEXT}


@st.composite
def strange(draw: st.DrawFn) -> Sample:
    """A sample that a database may have something against."""
    found = draw(samples())
    if draw(st.booleans()):
        found = found._replace(ts_ms=draw(st.sampled_from([EARLIEST_MS, EARLIEST_MS - 1, LATEST_MS, LATEST_MS - 1])))
    if draw(st.integers(0, 4)) == 0:
        found = found._replace(name=draw(st.sampled_from(["", "a\n", "a\\", "x" * 1001, "flow"])))
    if found.datatype in TEXTS and found.value is not None:
        text = draw(st.sampled_from(["\0", "x" * 200, "x" * LONGEST_TEXT, "x" * (LONGEST_TEXT + 1), "ok"]))
        found = found._replace(value=text)
    return found


@given(st.lists(st.one_of(samples(), strange()), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_columns_are_screened_like_single_samples(found: list[Sample], twice: bool, keyed: bool) -> None:
    found = found * 2 if twice else found
    names = [s.name for s in found]
    columns = Columns(
        fields_of(found),
        b"".join(map(sample_bytes, found)),
        plain=not any(s.datatype in TEXTS for s in found),
        distinct=len(set(names)) == len(names),
    )
    digest = batch_digest(NODE, "pump", "e", 1, found)
    tag = BatchTag("e", 1, len(found), digest) if keyed else None
    single = Data(NODE, "pump", tuple(found), tag, False, True)
    together = single._replace(samples=columns)
    assert screened(together, 5) == screened(single, 5)
    assert weight(together) == weight(single)
    assert digest_fits(together) is digest_fits(single) is keyed
    assert not digest_fits(together._replace(batch=BatchTag("e", 2, len(found), digest)))
