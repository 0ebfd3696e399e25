"""Derived tags: when they have a value, and why they have none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.derive import Deriver
from agent.pipeline import read_cycles
from agent.spec import DerivedSpec, DeviceSpec, LineSpec
from tests.agent.points import device, point
from tests.agent.slaves import TcpSlave, register
from tests.agent.test_pipeline import now_ms, running, tcp_line
from wire.block import Block, Quality, Reason
from wire.tag import Tag, TagTable


def derived(name: str, expression: str, *inputs: str, raw: Any = "float64", **rest: Any) -> DerivedSpec:
    keys = tuple((d or "dev", t) for d, _, t in (i.rpartition("/") for i in inputs))
    return DerivedSpec(point(name, None, raw=raw, device="dev", **rest), expression, keys, 1.0)


def deriver(*specs: DerivedSpec, slow: float | None = None) -> Deriver:
    pump = device(point("flow"), point("pressure", address=1), point("total", address=4, raw="uint64", period_s=slow))
    tank = device(point("level", device="tank"), period_s=1.0, id="tank", unit_id=2)
    line = LineSpec("plc", "modbus-tcp", host="h", devices=(replace(pump, derived=specs), tank))
    return Deriver([line], {})


def block(ts_ms: int, dev: str = "dev", why: Reason = Reason.NONE, **values: Any) -> Block:
    key = (dev, tuple(values))
    table = TABLES.setdefault(
        key, TagTable([Tag(n, dev, point(n, raw=RAW.get(n, "uint16")).tag.datatype) for n in values])
    )
    if why is not Reason.NONE:
        return Block.bad(ts_ms, table, why)
    others = {i: v for i, (n, v) in enumerate(values.items()) if n == "total"}
    numbers = np.array([np.nan if n == "total" else float(v) for n, v in values.items()])
    good = np.full(len(values), Quality.GOOD, np.uint8)
    return Block(ts_ms, table, numbers, good, np.zeros(len(values), np.uint8), others)


RAW = {"total": "uint64"}
TABLES: dict[Any, TagTable] = {}


def told(d: Deriver, b: Block) -> list[tuple[int, Any, Reason]]:
    return [(s.ts_ms, s.value, s.reason) for x in d.derive(b).told for s in x.samples()]


def test_it_waits_for_every_input_and_has_the_stamp_of_the_newest() -> None:
    d = deriver(derived("power", "flow * pressure / 36", "flow", "pressure"))
    assert told(d, block(10, flow=72)) == []
    assert told(d, block(12, pressure=3)) == [(12, 6.0, Reason.NONE)]
    assert told(d, block(13, pressure=4)) == []
    assert told(d, block(20, flow=36, pressure=5)) == [(20, 5.0, Reason.NONE)]


@pytest.mark.parametrize(
    ("expression", "flow", "reason"),
    [
        ("1 / flow", 0, Reason.DIVISION_BY_ZERO),
        ("sqrt(flow - 5)", 1, Reason.NOT_A_NUMBER),
        ("10 ** flow", 400, Reason.OUT_OF_RANGE),
        ("flow * 1e308 * 10", 10, Reason.OUT_OF_RANGE),
        ("flow * 1.0", 101, Reason.OUT_OF_RANGE),
    ],
)
def test_what_has_no_value_is_bad_with_its_reason(expression: str, flow: float, reason: Reason) -> None:
    d = deriver(derived("x", expression, "flow", high=100.0))
    assert told(d, block(1, flow=flow)) == [(1, None, reason)]
    assert told(d, block(2, flow=9.0)) != [(2, None, reason)] or "10 **" in expression or "e308" in expression


def test_a_bad_input_makes_it_bad_at_once_and_a_lost_one_only_once() -> None:
    d = deriver(derived("x", "flow + 'tank/level'", "flow", "tank/level"))
    told(d, block(1, flow=1))
    assert told(d, block(2, dev="tank", level=2)) == [(2, 3.0, Reason.NONE)]
    assert told(d, block(3, dev="tank", why=Reason.TIMEOUT, level=0)) == [(3, None, Reason.INPUT_BAD)]
    assert told(d, block(4, flow=1)) == [(4, None, Reason.INPUT_BAD)], "never a gap while its device is only silent"
    assert told(d, block(5, dev="tank", why=Reason.DEVICE_DEAD, level=0)) == []
    assert told(d, block(6, flow=1)) == [] == told(d, block(7, flow=1))
    assert told(d, block(8, dev="tank", level=5)) == [(8, 6.0, Reason.NONE)]


def test_64_bits_are_calculated_exactly_and_slow_inputs_do_not_set_the_pace() -> None:
    d = deriver(derived("x", "total - 18446744073709551610 + flow", "total", "flow"), slow=60.0)
    assert told(d, block(1, flow=1)) == []
    assert told(d, block(2, total=2**64 - 1)) == [(2, 6.0, Reason.NONE)]
    assert told(d, block(3, flow=2)) == [(3, 7.0, Reason.NONE)] and told(d, block(4, total=2**64 - 2)) == []
    assert told(d, block(5, flow=2)) == [(5, 6.0, Reason.NONE)]


def test_types_deadband_and_what_is_held_back() -> None:
    d = deriver(
        derived("high", "flow > 5", "flow", raw="bool"), derived("x", "flow / 3", "flow", raw="float32", deadband=1.0)
    )
    assert told(d, block(1, flow=9)) == [(1, True, Reason.NONE), (1, 3.0, Reason.NONE)]
    again = d.derive(block(2, flow=8))
    assert [b.tags.names for b in again.told] == [("high",)] and again.suppressed == {"dev": 1}
    assert len(again.blocks) == 2 and again.blocks[1].value(0) == float(np.float32(8 / 3))


async def test_it_runs_with_its_line_and_stands_in_a_reading() -> None:
    spec: DeviceSpec = replace(
        device(point("a"), point("b", "input", 3), period_s=0.02),
        derived=(derived("sum", "a + b", "a", "b"), derived("none", "a / (b - b)", "a", "b")),
    )
    async with TcpSlave() as slave, running(tcp_line(slave, spec)) as (notes, _):
        await notes.until(lambda: len(notes.samples("dev")) >= 12)
    sums = [s for s in notes.samples("dev") if s.name == "sum"]
    assert {s.value for s in sums} == {float(register("holding", 0) + register("input", 3))}
    assert [s.ts_ms for s in sums] == sorted({s.ts_ms for s in sums})
    assert {s.reason for s in notes.samples("dev") if s.name == "none"} == {Reason.DIVISION_BY_ZERO}
    async with TcpSlave() as slave:
        found = [b.tags.names async for _, b in read_cycles([tcp_line(slave, spec)], 1, now_ms)]
    assert found == [("a",), ("b",), ("sum",), ("none",)]
    await asyncio.sleep(0)


def test_another_configuration_lets_a_tag_go_on_where_no_line_of_it_changes() -> None:
    flow, level = device(point("flow")), device(point("level", device="tank"), id="tank")
    both = DerivedSpec(
        point("both", None, raw="float64", device="dev"), "a + b", (("dev", "flow"), ("tank", "level")), 1
    )
    own = derived("own", "flow * 2", "flow")
    a = LineSpec("a", "modbus-tcp", host="a", devices=(replace(flow, derived=(own, both)),))
    b = LineSpec("b", "modbus-tcp", host="b", devices=(level,))
    d = Deriver([a, b], {})
    assert told(d, block(1, "tank", level=4)) == []
    # Line b has another host: what its device said before does not count any more.
    new = d.renewed([a, replace(b, host="c")])
    d.adopt(d.shared(new))
    assert told(d, block(2, flow=3)) == [(2, 6.0, Reason.NONE)]
    d.adopt(new)
    assert told(d, block(3, flow=4)) == [(3, 8.0, Reason.NONE)]
    assert told(d, block(4, "tank", level=5)) == [(4, 9.0, Reason.NONE)]
    # Stamps go on rising, also above what was told under another configuration.
    d.adopt(d.renewed([a, b]), {("dev", "own"): 90})
    assert told(d, block(50, flow=1)) == [(91, 2.0, Reason.NONE)]
    changed = LineSpec(
        "a", "modbus-tcp", host="a", devices=(replace(flow, derived=(derived("own", "flow * 3", "flow"),)),)
    )
    d.adopt(d.renewed([changed, b]), {})
    assert told(d, block(60, flow=1)) == [(60, 3.0, Reason.NONE)]


def test_a_bool_of_what_is_no_number_is_bad() -> None:
    huge = "flow * 1e308 * 10"
    spec = device(point("flow"))
    made = DerivedSpec(point("odd", None, raw="bool", device="dev"), f"{huge} - {huge}", (("dev", "flow"),), 1)
    d = Deriver([LineSpec("a", "modbus-tcp", host="a", devices=(replace(spec, derived=(made,)),))], {})
    (found,) = d.derive(block(1, flow=3)).blocks
    assert list(found.reason) == [Reason.NOT_A_NUMBER]
