"""Random plants: units with tables of signals for the simulator, the tags that the agent reads of them, and what a
tag must say when the simulator says what it served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from agent.spec import DeviceSpec, Illegal, PointSpec
from tests.agent.points import device, point
from wire.block import Reason
from wire.tag import Datatype

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
# raw type -> registers, bits, signed
WHOLE = {
    "uint16": (1, 16, False), "int16": (1, 16, True), "uint32": (2, 32, False), "int32": (2, 32, True),
    "uint64": (4, 64, False), "int64": (4, 64, True),
}  # fmt: skip
BCD = {"bcd16": 1, "bcd32": 2}
FLOATS = {"float32": 2, "float64": 4}
SCALES = (0.1, 0.01, 0.001, 0.5, 2.0, 10.0, 0.125, 3.7)
OFFSETS = (0.0, 0.0, -40.0, 100.0, 0.25)


@dataclass(frozen=True)
class Read:
    """A tag. signal: its name in the simulator, None where the device has nothing. scaled: by the simulator, too."""

    point: PointSpec
    signal: str | None
    type: str = "uint16"
    scaled: bool = False


@dataclass(frozen=True)
class Plant:
    """One line with its units: what the simulator is told, what the agent is told."""

    simulated: list[dict[str, Any]]
    devices: tuple[DeviceSpec, ...]
    reads: dict[tuple[str, str], Read] = field(repr=False)


@st.composite
def any_plant(draw: st.DrawFn, most_items: int = 14, least_registers: int = 16) -> Plant:
    """least_registers: the shortest limit of a device's answers."""
    unit_ids = draw(st.lists(st.integers(1, 247), min_size=1, max_size=3, unique=True))
    simulated: list[dict[str, Any]] = []
    devices: list[DeviceSpec] = []
    reads: dict[tuple[str, str], Read] = {}
    for i, unit_id in enumerate(unit_ids):
        rows, found, illegal = draw(any_unit(f"dev{i}", most_items))
        simulated.append({"id": f"dev{i}", "model": "registers", "unit_id": unit_id, "step_s": 0.001, "signals": rows})
        devices.append(
            device(
                *(r.point for r in found), id=f"dev{i}", unit_id=unit_id, period_s=0.01, illegal=tuple(illegal),
                max_registers=draw(st.integers(least_registers, 125)), max_bits=draw(st.integers(1, 2000)),
            )
        )  # fmt: skip
        reads |= {(f"dev{i}", r.point.tag.name): r for r in found}
    return Plant(simulated, tuple(devices), reads)


@st.composite
def any_unit(draw: st.DrawFn, name: str, most: int) -> tuple[list[dict[str, Any]], list[Read], list[Illegal]]:
    """Rows for the simulator, tags, and some of the gaps as the device's own list of illegal addresses."""
    rows: list[dict[str, Any]] = []
    reads: list[Read] = []
    illegal: list[Illegal] = []
    free = dict.fromkeys(("coil", "discrete", "input", "holding"), 0)
    for i in range(draw(st.integers(1, most))):
        table = draw(st.sampled_from(sorted(free)))
        gap = draw(st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 5, 30, 200]) | st.integers(0, 20_000))
        address = free[table] + gap
        bits = table in ("coil", "discrete")
        more, found = draw(any_bit(i, table, address) if bits else any_registers(i, table, address))
        ends = [row["address"] + width_of(row) for row in more]
        width = max([*ends, *(r.point.address + r.point.registers for r in found)])
        if width > 65_536:
            continue
        if not found or draw(st.integers(0, 9)) < 9:
            rows += more
        else:  # the agent is told of something that the device does not have
            found = [replace(r, signal=None) for r in found]
        if gap and draw(st.integers(0, 3)) == 0:
            illegal.append(Illegal(table, free[table], address))  # type: ignore[arg-type]
        free[table] = width
        slow = draw(st.sampled_from([None, None, None, 0.03]))
        for r in found:
            tag = replace(r.point.tag, device=name)
            reads.append(replace(r, point=replace(r.point, period_s=slow, tag=tag)))
    if not any(r.signal for r in reads):
        rows.append({"name": "lone", "table": "coil", "address": free["coil"], "type": "bool", "source": True})
        reads.append(Read(point("lone", "coil", free["coil"], "bool", device=name), "lone", "bool"))
    return rows, reads, illegal


def width_of(row: dict[str, Any]) -> int:
    kind = row.get("type", "uint16")
    if kind == "string":
        return int(row["words_long"])
    return WHOLE[kind][0] if kind in WHOLE else BCD.get(kind, FLOATS.get(kind, 1))


Item = tuple[list[dict[str, Any]], list[Read]]


@st.composite
def any_bit(draw: st.DrawFn, i: int, table: str, address: int) -> Item:
    row = {"name": f"s{i}", "table": table, "address": address, "type": "bool", "source": draw(flickering)}
    tagged = draw(st.integers(0, 7)) > 0  # else it only fills a gap
    return [row], [Read(point(f"t{i}", table, address, "bool"), f"s{i}", "bool")] if tagged else []


flickering: st.SearchStrategy[Any] = st.booleans() | st.just(
    {"kind": "counter", "start": 0, "rate_per_s": 1000, "wraps_at": 2}
)


@st.composite
def any_registers(draw: st.DrawFn, i: int, table: str, address: int) -> Item:
    where = {"table": table, "address": address}
    kind = draw(st.sampled_from(["whole", "whole", "scaled", "float", "bcd", "string", "bits", "shared", "filler"]))
    name, tag = f"s{i}", f"t{i}"
    if kind == "filler":
        return [{"name": name, **where, "type": draw(st.sampled_from(sorted(WHOLE))), "source": 7}], []
    if kind == "bits":
        chosen = draw(st.lists(st.integers(0, 15), min_size=1, max_size=5, unique=True))
        rows = [{"name": f"{name}b{b}", **where, "type": "bool", "bit": b, "source": draw(flickering)} for b in chosen]
        return rows, [Read(point(f"{tag}b{b}", table, address, "bool", bit=b), f"{name}b{b}", "bool") for b in chosen]
    order = draw(st.sampled_from(ORDERS))
    if kind == "string":
        words = draw(st.integers(1, 8))
        text = draw(st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=2 * words))
        row = {"name": name, **where, "type": "string", "words_long": words, "order": order, "source": text}
        length = draw(st.sampled_from([2 * words, 2 * words - 1]))
        return [row], [Read(point(tag, table, address, "string", length=length, order=order), name, "string")]
    if kind == "shared":
        return draw(shared_register(i, table, address))
    if kind == "float":
        return draw(any_float(i, table, address, order))
    if kind == "bcd":
        raw = draw(st.sampled_from(sorted(BCD)))
        most = 10 ** (4 * BCD[raw]) - 1
        source, seen = draw(whole_source(0, most))
        row = {"name": name, **where, "type": raw, "order": order, "source": source}
        rest = draw(limits(seen))
        return [row], [Read(point(tag, table, address, raw, order=order, **rest), name, raw)]
    raw = draw(st.sampled_from(sorted(WHOLE)))
    _, bits, signed = WHOLE[raw]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    row = {"name": name, **where, "type": raw, "order": order}
    if kind == "scaled" and bits < 64:
        scale, offset = draw(st.sampled_from(SCALES)), draw(st.sampled_from(OFFSETS))
        source = draw(st.integers(low, high).map(lambda n: n * scale + offset) | waving(low * scale, high * scale))
        rest = draw(st.sampled_from([{}, {"low": -1000.0, "high": 1e6}]))
        row |= {"scale": scale, "offset": offset, "source": source}
        spec = point(tag, table, address, raw, order=order, scale=scale, offset=offset, **rest)
        return [row], [Read(spec, name, raw, scaled=True)]
    source, seen = draw(whole_source(low, high))
    rest = draw(limits(seen, signed=signed, bits=bits))
    if draw(st.integers(0, 4)) == 0 and "low" not in rest:  # scaled by the agent alone
        rest |= {"scale": draw(st.sampled_from((*SCALES, -1.0, -0.1))), "offset": draw(st.sampled_from(OFFSETS))}
    row["source"] = source
    return [row], [Read(point(tag, table, address, raw, order=order, **rest), name, raw)]


@st.composite
def whole_source(draw: st.DrawFn, low: int, high: int) -> tuple[Any, int]:
    """A source within the range (or a little beyond), and a value that it may have."""
    kind = draw(st.sampled_from(["constant", "edge", "counter", "walk", "ramp"]))
    if kind == "constant":
        value = draw(st.integers(low, high))
        return value, value
    if kind == "edge":
        value = draw(st.sampled_from([low, high, low + 1, high - 1, 0, 1]))
        return value, value
    if kind == "counter":
        start, wraps = draw(st.integers(0, 50)), draw(st.integers(2, 60))
        return {"kind": "counter", "start": start, "rate_per_s": 1000, "wraps_at": wraps}, draw(st.integers(0, wraps))
    middle, half = (low + high) // 2, (high - low) // 2
    if kind == "walk":
        return {"kind": "random_walk", "mean": middle, "amplitude": 1.1 * half, "period_s": 0.02}, middle
    return {"kind": "ramp", "low": low, "high": high, "period_s": 0.05}, middle


def waving(low: float, high: float) -> st.SearchStrategy[Any]:
    middle, half = (low + high) / 2, (high - low) / 2
    return st.sampled_from(["sine", "random_walk"]).map(
        lambda kind: {"kind": kind, "mean": middle, "amplitude": 1.05 * half, "period_s": 0.05}
    )


@st.composite
def limits(draw: st.DrawFn, seen: int, signed: bool = False, bits: int = 0) -> dict[str, Any]:
    """Invalid markers and a range, often such that the value seen is hit."""
    rest: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        marker = draw(st.sampled_from([seen, 0x8000, 0xFFFF, 0x7FFF]))
        if signed and draw(st.booleans()):
            marker &= (1 << bits) - 1  # as the unsigned pattern
        rest["invalid"] = (marker,)
    if draw(st.integers(0, 3)) == 0:
        first, last = sorted((seen, draw(st.integers(-100, 100_000))))
        rest |= {"low": first, "high": last - draw(st.integers(0, 1))}
        if rest["low"] > rest["high"]:
            rest["high"] = rest["low"]
    return rest


@st.composite
def any_float(draw: st.DrawFn, i: int, table: str, address: int, order: str) -> Item:
    raw = draw(st.sampled_from(sorted(FLOATS)))
    value = draw(st.floats(width=32 if raw == "float32" else 64) | st.sampled_from([-9999.0, 1.0, math.nan, math.inf]))
    source = draw(st.just(value) | waving(-1e4, 1e4))
    row = {"name": f"s{i}", "table": table, "address": address, "type": raw, "order": order, "source": source}
    rest: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        rest["invalid"] = draw(st.sampled_from([(-9999.0,), (math.nan,), (1.0, -9999.0)]))
    if draw(st.integers(0, 2)) == 0:
        rest |= {"low": -5000.0, "high": draw(st.sampled_from([0.0, 2.5, 5e3]))}
    if draw(st.integers(0, 3)) == 0:
        rest |= {"scale": draw(st.sampled_from((*SCALES, -1.0))), "offset": draw(st.sampled_from(OFFSETS))}
    return [row], [Read(point(f"t{i}", table, address, raw, order=order, **rest), f"s{i}", raw)]


@st.composite
def shared_register(draw: st.DrawFn, i: int, table: str, address: int) -> Item:
    """One register that several tags understand in their own way."""
    source, _ = draw(whole_source(0, 0xFFFF))
    row = {"name": f"s{i}", "table": table, "address": address, "type": "uint16", "source": source}
    numbers = draw(st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True))
    bits = draw(st.lists(st.integers(0, 15), min_size=1, max_size=6, unique=True))
    ways: dict[str, Any] = {
        "signed": point(f"t{i}signed", table, address, "int16"),
        "bcd": point(f"t{i}bcd", table, address, "bcd16"),
        "state": point(f"t{i}state", table, address, states=tuple((n, f"is {n}") for n in numbers),
                       datatype=Datatype.STRING),
        "alarms": point(f"t{i}alarms", table, address, bit_names=tuple((b, f"alarm {b}") for b in bits),
                        datatype=Datatype.STRING),
        "bit": point(f"t{i}bit", table, address, "bool", bit=bits[0]),
    }  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(sorted(ways)), min_size=1, unique=True))
    return [row], [Read(ways[way], f"s{i}") for way in chosen]


def agrees(read: Read, said: Any, value: Any, reason: Reason) -> bool:
    """Whether a tag may show this value for this reason, when the simulator served what it said."""
    p = read.point
    if p.type == "string":
        return (value, reason) == text_of(p, said)
    if p.type == "bool":
        bit = said if isinstance(said, bool) else bool(said >> (p.bit or 0) & 1)
        return value is bit and reason is Reason.NONE
    number: Any = said
    if p.type == "bcd16" and read.type == "uint16":
        digits = f"{said:04x}"
        if not digits.isdigit():
            return reason is Reason.NOT_A_NUMBER
        number = int(digits)
    elif p.type == "int16" and read.type == "uint16":
        number = said - 0x10000 if said & 0x8000 else said
    if marked(read, number):
        return reason is Reason.INVALID_MARKER
    if p.states:
        known = dict(p.states).get(number)
        return (value, reason) == (known, Reason.NONE if known else Reason.OUT_OF_RANGE)
    if p.bit_names:
        return (value, reason) == (", ".join(name for b, name in p.bit_names if number >> b & 1), Reason.NONE)
    if isinstance(number, float) and not math.isfinite(number):
        return reason is Reason.NOT_A_NUMBER
    return number_agrees(read, number, value, reason)


def text_of(p: PointSpec, said: str) -> tuple[str | None, Reason]:
    try:
        return said.encode("latin-1")[: p.length].split(b"\0")[0].decode().rstrip(" "), Reason.NONE
    except UnicodeDecodeError:
        return None, Reason.UNPARSED


def marked(read: Read, number: Any) -> bool:
    markers: Sequence[Any] = read.point.invalid
    if isinstance(number, float):
        return any(m == number or (m != m and number != number) for m in markers)
    if read.type in BCD:  # a marker is the pattern on the wire
        return int(str(number), 16) in markers
    return any((int(m) - number) % (1 << int(read.type[-2:])) == 0 for m in markers)


def number_agrees(read: Read, number: float, value: Any, reason: Reason) -> bool:
    p = read.point
    plain = p.scale == 1.0 and p.offset == 0.0
    right = number if plain or read.scaled else number * p.scale + p.offset
    single = p.tag.datatype is Datatype.FLOAT
    if single:
        with np.errstate(over="ignore"):
            right = float(np.float32(right))
    if math.isinf(right):
        return reason is Reason.OUT_OF_RANGE
    tolerance = 0 if plain else 1e-9 + (2e-7 if single else 1e-12) * (abs(number * p.scale) + abs(p.offset))
    beyond = (p.low is not None and right < p.low - tolerance) or (p.high is not None and right > p.high + tolerance)
    within = (p.low is None or right >= p.low + tolerance) and (p.high is None or right <= p.high - tolerance)
    if reason is Reason.OUT_OF_RANGE:
        return not within
    return reason is Reason.NONE and not beyond and abs(value - right) <= tolerance and type(value) is kind_of(p)


def kind_of(p: PointSpec) -> type:
    return float if p.tag.datatype in (Datatype.FLOAT, Datatype.DOUBLE) else int
