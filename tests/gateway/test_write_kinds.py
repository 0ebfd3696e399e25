"""Names, texts and single bits are written, to simulated devices whose truth says what they held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.command import Write, carry_out
from agent.decode import SpanDecoder
from agent.drivers import DRIVERS
from agent.encode import encode
from agent.plan import plan_device
from agent.spec import LineSpec
from gateway.cli import main
from gateway.config import load_site
from gateway.write import write_now
from tests.agent.points import device, point
from tests.firmware_sim.running import running_text, truth
from tests.gateway import slave
from tests.gateway.test_write import record
from wire.errors import ConfigError

PLANT = """\
name: plant
lines:
  - {name: tcp, kind: modbus-tcp}
  - {name: bus, kind: modbus-rtu, baud: 115200, turnaround_s: 0.001}
devices:
  - {id: tcp, model: registers, line: tcp, unit_id: 3, signals: &table [
      {name: mode, address: 0, source: 1, writable: true},
      {name: first, address: 1, type: bool, bit: 0, source: true, writable: true},
      {name: second, address: 1, type: bool, bit: 9, source: false, writable: true},
      {name: recipe, address: 2, type: string, words_long: 4, source: standard, writable: true}]}
  - {id: bus, model: registers, line: bus, unit_id: 3, signals: *table}
"""

SITE = """\
group: plant
gateway: gw
broker: mqtt://127.0.0.1:1
commands: {{write: true}}
lines:
  - {{name: plc, {place}, timeout_s: 0.5}}
devices:
  - id: press
    line: plc
    unit_id: 3
    {quirk}
    tags:
      - {{name: mode, table: holding, address: 0, states: {{0: "off", 1: slow, 7: fast}}, writable: true}}
      - {{name: second, table: holding, address: 1, type: bool, bit: 9, writable: true}}
      - {{name: recipe, table: holding, address: 2, type: string, length: 8, writable: true}}
"""


def site_at(folder: Path, entry: dict[str, Any], quirk: str = "") -> Path:
    serial = entry["kind"] == "modbus-rtu"
    place = f"driver: {entry['kind']}, port: {entry['port']}" + (", baud: 115200" if serial else ", host: 127.0.0.1")
    path = folder / "site.yaml"
    path.write_text(SITE.format(place=place, quirk=quirk))
    return path


async def written(site: Path, tag: str, value: str) -> tuple[Any, Any, Any]:
    entry = await write_now(load_site(site), tag, value)
    return entry["result"], entry["from"], entry["read_back"]


@pytest.mark.parametrize("way", ["tcp", "bus"])
async def test_names_bits_and_texts_are_written_read_back_and_on_record(tmp_path: Path, way: str) -> None:
    async with running_text(tmp_path, PLANT) as at:
        site = site_at(tmp_path, at[way])
        assert await written(site, "press/mode", "fast") == ("done", "slow", "fast")
        assert await written(site, "press/second", "on") == ("done", False, True)
        assert await written(site, "press/second", "off") == ("done", True, False)
        assert await written(site, "press/recipe", "mild 12") == ("done", "standard", "mild 12")
    held = [each["held"] for each in truth(tmp_path, "written", way)]
    assert held == [
        {"mode": 7},
        {"first": True, "second": True},
        {"first": True, "second": False},
        {"recipe": "mild 12"},
    ]
    asked, done = record(site)[:2]
    assert (asked["what"], asked["to"], asked["result"]) == ("press/mode", "fast", "asked")
    assert (done["from"], done["read_back"], done["result"], done["id"]) == ("slow", "fast", "done", asked["id"])


async def test_what_a_device_does_not_keep_is_told(tmp_path: Path) -> None:
    ignored = "  - {device: tcp, kind: write_ignored, at_s: 0, for_s: 3600}\n"
    async with running_text(tmp_path, PLANT, ignored) as at:
        site = site_at(tmp_path, at["tcp"])
        assert await written(site, "press/second", "on") == ("mismatch", False, False)
        assert await written(site, "press/mode", "off") == ("mismatch", "slow", "slow")
    assert [entry["result"] for entry in record(site)] == ["asked", "mismatch"] * 2


@pytest.mark.parametrize(
    ("tag", "value", "problem"),
    [
        ("mode", "7", "is one of off, slow, fast, not '7'"),
        ("mode", "faster", "is one of off, slow, fast"),
        ("second", "2", "on or off"),
        ("recipe", "standard+", "has room for 8 bytes"),
        ("recipe", "a\tb", "printable text only"),
    ],
)
def test_anything_else_is_refused_before_anything_happens(
    tag: str, value: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_at(tmp_path, {"kind": "modbus-tcp", "port": 1})
    assert main(["write", str(site), f"press/{tag}", value, "--yes"]) == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "outbox.db.audit.jsonl").exists()


@pytest.mark.parametrize("way", ["tcp", "converter"])
async def test_a_device_that_knows_function_16_only_is_written_with_it(tmp_path: Path, way: str) -> None:
    plc = slave.Device()
    async with slave.tcp(plc) as port, slave.rtu_tcp(plc) as far:
        entry = {"kind": "modbus-tcp", "port": port} if way == "tcp" else {"kind": "modbus-rtu-tcp", "port": far}
        for quirk, function in (("", 6), ("write_multiple_only: true", 16)):
            site = site_at(tmp_path, entry, quirk)
            assert (await written(site, "press/mode", "slow"))[0] == "done"
            assert (await written(site, "press/second", "on"))[0] == "done"
            assert plc.functions == [function, function]
            plc.functions.clear()
    assert plc.holding[:2] == [1, 1 << 9]


@pytest.mark.parametrize("on", [True, False])
async def test_only_the_bit_itself_is_changed_and_judged(on: bool) -> None:
    """Another bit of the register moves while the write is under way: the bit is as wanted, so it is done."""
    plc = slave.Device()
    plc.holding[5] = 0xA5A5
    answer = plc.answer

    def moving(pdu: bytes) -> bytes | None:
        said = answer(pdu)
        if plc.functions:
            plc.holding[5] ^= 0x8000
        return said

    plc.answer = moving  # type: ignore[method-assign]
    spec = point("b", "holding", 5, "bool", bit=2, writable=True)
    unit = device(spec)
    async with slave.tcp(plc) as port:
        line = LineSpec("plc", "modbus-tcp", "127.0.0.1", port, timeout_s=1.5, devices=(unit,))
        driver = DRIVERS["modbus-tcp"](line, lambda: 5)
        outcome = await carry_out(driver, Write(unit, spec, encode(spec, "on" if on else "off")), lambda: 5)
        await driver.close()
    assert (outcome.result, outcome.before, outcome.after) == ("done", True, on)
    assert plc.holding[5] & 0x7FFF == (0x25A5 if on else 0x25A1)


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=8),
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
)
def test_a_text_that_is_encoded_is_decoded_to_the_same(text: str, order: Any) -> None:
    spec = point("a", "holding", 0, "string", length=32, order=order, writable=True)
    (planned,) = plan_device(device(spec))
    words = np.array(encode(spec, text), np.uint16)
    assert SpanDecoder(planned).block(1, words).value(0) == text


def test_a_number_that_has_names_takes_its_type_and_order() -> None:
    spec = point("a", "holding", 0, "uint32", order="CDAB", states=((70_000, "on"),), writable=True, datatype=12)
    assert encode(spec, "on") == (70_000 & 0xFFFF, 1)
    with pytest.raises(ConfigError, match="a bit-field cannot be written"):
        encode(point("a", "holding", 0, "uint16", bit_names=((0, "x"),), writable=True, datatype=12), "1")
