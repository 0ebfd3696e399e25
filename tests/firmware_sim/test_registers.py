"""The device that is a table: encodings, sources, many tags, and tables that cannot be."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin

from firmware_sim.devices import build
from firmware_sim.devices.registers import Registers, RegistersSettings
from firmware_sim.errors import ScenarioError
from firmware_sim.register_map import RegisterMap
from firmware_sim.scenario import load
from firmware_sim.signals import Signal
from tests.firmware_sim.running import running_text, truth
from tests.work import calls_made

PYMODBUS = ModbusClientMixin.DATATYPE
KINDS = {
    "uint16": PYMODBUS.UINT16,
    "int16": PYMODBUS.INT16,
    "uint32": PYMODBUS.UINT32,
    "int32": PYMODBUS.INT32,
    "uint64": PYMODBUS.UINT64,
    "int64": PYMODBUS.INT64,
    "float32": PYMODBUS.FLOAT32,
    "float64": PYMODBUS.FLOAT64,
}


def device(*rows: dict[str, Any], seed: int = 1, **more: Any) -> Registers:
    settings = RegistersSettings.model_validate(
        {"id": "d", "line": "l", "model": "registers", "signals": list(rows), **more}
    )
    built = build(settings, seed)
    assert isinstance(built, Registers)
    return built


def values(source: object, seconds: int = 100, seed: int = 1) -> list[float]:
    built = device({"name": "x", "address": 0, "type": "float32", "source": source}, seed=seed)
    return [float(built.at(step)["x"]) for step in range(seconds)]


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(["ABCD", "CDAB"]), st.data())
def test_pymodbus_decodes_every_type_to_the_bit(raw_type: str, order: str, data: st.DataObject) -> None:
    width = int(raw_type[-2:])
    if raw_type.startswith("float"):
        value: float = data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False))
    elif raw_type.startswith("u"):
        value = data.draw(st.integers(0, 2**width - 1))
    else:
        value = data.draw(st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1))
    words = Signal("x", "1", "table", "holding", 0, raw_type, order=order).words(value)  # type: ignore[arg-type]
    word_order = "big" if order == "ABCD" else "little"
    assert ModbusClientMixin.convert_from_registers(list(words), KINDS[raw_type], word_order) == value


@given(
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
    st.sampled_from(["uint32", "int64", "float64", "bcd32", "string"]),
    st.integers(0, 99_999_999),
)
def test_every_order_comes_back(order: str, raw_type: str, value: int) -> None:
    signal = Signal("x", "1", "table", "holding", 0, raw_type, order=order)  # type: ignore[arg-type]
    given = str(value) if raw_type == "string" else value
    assert signal.as_served(given) == given


def test_orders_by_hand() -> None:
    def words(order: str, raw_type: str, value: int) -> str:
        signal = Signal("x", "1", "table", "holding", 0, raw_type, order=order)  # type: ignore[arg-type]
        return " ".join(f"{word:04X}" for word in signal.words(value))

    assert [words(order, "uint32", 0x0A0B0C0D) for order in ("ABCD", "CDAB", "BADC", "DCBA")] == [
        "0A0B 0C0D",
        "0C0D 0A0B",
        "0B0A 0D0C",
        "0D0C 0B0A",
    ]
    assert words("DCBA", "uint64", 0x0102030405060708) == "0807 0605 0403 0201"
    assert words("ABCD", "bcd32", 12345678) == "1234 5678"
    assert words("ABCD", "bcd16", 123456) == "9999"
    scaled = Signal("x", "1", "table", "holding", 0, "int16", 0.1, offset=-40.0)
    assert scaled.words(-15.0) == (250,) and scaled.as_served(-15.04) == -15.0


def test_bits_share_a_register() -> None:
    built = device(
        {"name": "low", "address": 5, "type": "bool", "bit": 0, "source": True},
        {"name": "high", "address": 5, "type": "bool", "bit": 15, "source": True},
        {"name": "off", "address": 5, "type": "bool", "bit": 3},
    )
    found = RegisterMap(built.signals).read("holding", 5, 1, built.at(0))
    assert found == ([0x8001], {"low": True, "high": True, "off": False})


def test_sources() -> None:
    assert values({"kind": "ramp", "low": 10, "high": 20, "period_s": 10}, 12) == pytest.approx(
        [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 10, 11]
    )
    sine = values({"kind": "sine", "mean": 50, "amplitude": 10, "period_s": 20})
    assert sine[5] == pytest.approx(60) and sine[15] == pytest.approx(40)
    assert values(7, 2) == [7, 7]
    assert values({"kind": "counter", "start": 5, "rate_per_s": 0.5, "wraps_at": 6}, 4) == [5, 5.5, 0, 0.5]
    walk = values({"kind": "random_walk", "mean": 3, "amplitude": 2, "period_s": 10}, 1000)
    assert walk == values({"kind": "random_walk", "mean": 3, "amplitude": 2, "period_s": 10}, 1000)
    assert walk != values({"kind": "random_walk", "mean": 3, "amplitude": 2, "period_s": 10}, 1000, seed=2)
    assert 1 <= min(walk) < 2.2 and 3.8 < max(walk) <= 5
    assert max(abs(b - a) for a, b in itertools.pairwise(walk)) < 1.5


def test_a_counter_beyond_two_to_the_53_stays_exact() -> None:
    built = device({"name": "x", "address": 0, "type": "uint64", "source": {"kind": "constant", "value": 2**63 + 1}})
    assert RegisterMap(built.signals).read("holding", 0, 4, built.at(9)) == ([0x8000, 0, 0, 1], {"x": 2**63 + 1})


def test_count_makes_many_rows() -> None:
    built = device(
        {"name": "t", "address": 100, "type": "float32", "count": 12, "source": {"kind": "random_walk"}},
        {"name": "s", "address": 200, "count": 2, "stride": 10},
    )
    assert [(each.name, each.address) for each in built.signals][:2] == [("t01", 100), ("t02", 102)]
    assert [(each.name, each.address) for each in built.signals][-3:] == [("t12", 122), ("s1", 200), ("s2", 210)]
    assert built.at(5)["t01"] != built.at(5)["t02"]


def test_ten_thousand_tags_cost_what_is_read_of_them() -> None:
    def read(built: Registers) -> int:
        where = RegisterMap(built.signals)
        return calls_made(lambda: [where.read("holding", 900, 1, built.at(step)) for step in range(100)])

    def made(tags: int) -> Registers:
        return device({"name": "t", "address": 0, "count": tags, "source": {"kind": "random_walk", "mean": 500}})

    assert made(10_000).at(1)["t09000"] != made(10_000).at(2)["t09000"]
    assert read(made(10_000)) < 1.05 * read(made(1_000)) < 100 * 50
    assert calls_made(lambda: RegisterMap(made(10_000).signals)) < 10_000 * 70


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("{name: a, address: 0, type: float32}, {name: b, address: 1}", "holding 1 holds both 'a' and 'b'"),
        ("{name: a, address: 0}, {name: a, address: 1}", "the name 'a' is used twice"),
        ("{name: a, address: 65535, type: uint32}", "'a' ends beyond address 65535"),
        ("{name: a, address: 0, type: bool, bit: 1}, {name: b, address: 0}", "holding 0 holds both 'a' and 'b'"),
        ("{name: a, table: coil, address: 0}", "a coil is a bool, not uint16"),
        ("{name: a, table: input, address: 0, writable: true}", "only coils and holding registers can be written"),
        ("{name: a, address: 0, source: hello}", "the constant 'hello' does not fit the type uint16"),
        (
            "{name: a, address: 0, type: string, source: {kind: sine}}",
            "a string needs a constant source that is a text",
        ),
        ("{name: a, address: 0, source: {kind: csv, column: x}}", "a: a csv source needs the device's replay"),
        ("{name: a, address: 0, source: {kind: dice}}", "signals.a.source.kind: must be constant|ramp|sine"),
        ("{name: a, address: 0, type: int8}", "signals.a.type"),
    ],
)
def test_tables_that_cannot_be_are_told_with_their_line(tmp_path: Path, rows: str, told: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nlines: [{name: l, kind: modbus-tcp}]\ndevices:\n"
        f"  - {{id: d, model: registers, line: l, signals: [{rows}]}}\n"
    )
    with pytest.raises(ScenarioError) as fault:
        load(str(path))
    assert told in str(fault.value) and str(fault.value).startswith(f"{path}:4: devices.d")


async def test_a_table_reads_over_tcp_with_strings_and_small_spans(tmp_path: Path) -> None:
    text = """\
name: s
lines: [{name: l, kind: modbus-tcp}]
devices:
  - id: d
    model: registers
    line: l
    signals:
      - {name: serial, address: 10, type: string, words_long: 4, source: "GL-0815"}
      - {name: big, table: input, address: 0, type: int64, order: DCBA, source: -2}
      - {name: hot, table: input, address: 4, type: int16, scale: 0.1, offset: -50, unit: Cel, source: 21.5}
"""
    async with (
        running_text(tmp_path, text) as at,
        AsyncModbusTcpClient(at["d"]["host"], port=at["d"]["port"]) as modbus,
    ):
        serial = (await modbus.read_holding_registers(10, count=4, device_id=1)).registers
        assert b"".join(word.to_bytes(2, "big") for word in serial) == b"GL-0815\0"
        assert (await modbus.read_input_registers(0, count=5, device_id=1)).registers == [0xFEFF, *[0xFFFF] * 3, 715]
        await modbus.read_input_registers(1, count=2, device_id=1)  # a part of a value says nothing
    assert [each["values"] for each in truth(tmp_path, "served")] == [{"serial": "GL-0815"}, {"big": -2, "hot": 21.5}]
