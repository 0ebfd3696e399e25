"""Random samples of every datatype, as hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from wire.block import Quality, Reason, Sample
from wire.tag import Datatype

BOUNDS = {
    Datatype.INT8: (-(2**7), 2**7 - 1),
    Datatype.INT16: (-(2**15), 2**15 - 1),
    Datatype.INT32: (-(2**31), 2**31 - 1),
    Datatype.INT64: (-(2**63), 2**63 - 1),
    Datatype.UINT8: (0, 2**8 - 1),
    Datatype.UINT16: (0, 2**16 - 1),
    Datatype.UINT32: (0, 2**32 - 1),
    Datatype.UINT64: (0, 2**64 - 1),
    Datatype.DATETIME: (0, 2**63 - 1),
}


def values(datatype: Datatype) -> st.SearchStrategy[object]:
    if datatype in BOUNDS:
        return st.integers(*BOUNDS[datatype])
    if datatype is Datatype.FLOAT:
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    if datatype is Datatype.DOUBLE:
        return st.floats(allow_nan=False, allow_infinity=False)
    if datatype is Datatype.BOOLEAN:
        return st.booleans()
    return st.text(max_size=40)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    datatype = draw(st.sampled_from(Datatype))
    quality = draw(st.sampled_from(Quality))
    good = quality is Quality.GOOD
    return Sample(
        name=draw(st.from_regex(r"[a-z][a-z0-9_/]{0,20}[a-z0-9]", fullmatch=True)),
        datatype=datatype,
        ts_ms=draw(st.integers(0, 4_102_444_800_000)),
        quality=quality,
        value=None if quality is Quality.BAD else draw(values(datatype)),
        reason=Reason.NONE if good else draw(st.sampled_from(Reason)),
    )
