"""Random devices over a real socket: random tags, random holes, and every value is the one that stands there."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline import read_cycles
from agent.spec import DeviceSpec, PointSpec
from tests.agent.points import device, point
from tests.agent.slaves import TcpSlave, bit, register, reply_pdu
from tests.agent.test_pipeline import now_ms, tcp_line
from wire.block import Quality, Reason

CODES = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


@st.composite
def any_point(draw: st.DrawFn, index: int) -> PointSpec:
    table = draw(st.sampled_from(["coil", "discrete", "input", "holding"]))
    address = draw(st.integers(0, 300) | st.integers(60_000, 60_100))
    if table in ("coil", "discrete"):
        return point(f"t{index}", table, address, "bool")
    raw = draw(st.sampled_from(sorted(CODES)))
    return point(f"t{index}", table, address, raw, order=draw(st.sampled_from(ORDERS)))


@st.composite
def any_device(draw: st.DrawFn) -> DeviceSpec:
    points = [draw(any_point(i)) for i in range(draw(st.integers(1, 25)))]
    return device(*points, max_registers=draw(st.integers(4, 125)), max_bits=draw(st.integers(1, 2000)), period_s=0.01)


holes_of = st.sets(
    st.tuples(st.sampled_from(["coil", "discrete", "input", "holding"]), st.integers(0, 300)), max_size=12
)


def right(p: PointSpec) -> Any:
    """What the slave holds there, by struct."""
    if p.type == "bool":
        return bool(bit(str(p.table), p.address))
    words = [register(str(p.table), p.address + i) for i in range(p.registers)]
    if p.order in ("CDAB", "DCBA"):
        words.reverse()
    if p.order in ("BADC", "DCBA"):
        words = [(w >> 8) | (w & 0xFF) << 8 for w in words]
    return struct.unpack(">" + CODES[p.type], struct.pack(f">{len(words)}H", *words))[0]


@settings(max_examples=60, deadline=None)
@given(any_device(), holes_of)
def test_every_tag_has_its_value_and_only_those_in_holes_are_refused(
    spec: DeviceSpec, holes: set[tuple[str, int]]
) -> None:
    def illegal(table: str, address: int, count: int) -> bool:
        return any(t == table and address <= a < address + count for t, a in holes)

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        pdu = reply_pdu(request[7:12], illegal)
        writer.write(request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu)

    async def read() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        async with TcpSlave(answer) as slave:
            line = tcp_line(slave, spec, timeout_s=2.0)
            async for _, block in read_cycles([line], 2, now_ms):
                for s in block.samples():
                    found.setdefault(s.name, []).append((s.value, s.quality, s.reason))
        return found

    found = asyncio.run(read())
    for p in spec.points:
        if illegal(str(p.table), p.address, p.registers):
            assert set(found[p.tag.name]) == {(None, Quality.BAD, Reason.REFUSED)}
        else:
            assert set(found[p.tag.name]) == {(right(p), Quality.GOOD, Reason.NONE)}
