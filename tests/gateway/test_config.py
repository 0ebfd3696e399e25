"""Files in, specifications or every problem with its line out (tests/cases/site)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.frame_spec import FrameSpec
from gateway.config import Broker, load_site
from gateway.config.apart import load_apart
from wire.errors import ConfigError
from wire.tag import Datatype

CASES = Path(__file__).parent.parent / "cases" / "site"


@pytest.mark.parametrize("case", sorted(CASES.glob("*.errors")), ids=lambda p: p.stem)
def test_every_problem_is_told_at_once_with_its_line(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(case.with_suffix(".yaml"))
    told = [text.replace(f"{case.parent}/", "").replace(str(case.parent), "FOLDER") for text in caught.value.problems]
    assert told == case.read_text().splitlines()


def test_every_case_that_is_not_good_has_expected_errors() -> None:
    assert {p.stem for p in CASES.glob("*.yaml")} - {p.stem for p in CASES.glob("*.errors")} == {"good_full"}


def test_a_good_site_becomes_specifications() -> None:
    site = load_site(CASES / "good_full.yaml")
    assert str(site.node) == "plant-1/gw-1"
    assert site.brokers == (Broker("192.168.1.10", 1884, "gw-1", "secret", 20),)
    assert str(site.brokers[0]) == "mqtt://192.168.1.10:1884"
    assert site.hosts == ("gaugeline", "second")
    assert (site.outbox.path, site.outbox.commit_ms) == (CASES / "data/outbox.db", 100)
    assert (site.outbox.max_bytes, site.outbox.when_full) == (2_000_000, "thin_oldest")
    plc, bus, road = site.lines
    assert (plc.host, plc.port, bus.port, bus.baud, bus.parity) == ("192.168.1.20", 1502, "/dev/ttyUSB0", 19200, "E")
    assert [d.id for d in site.devices] == ["pump-1", "meter", "detector"]
    flow, running, fault, label, hours = plc.devices[0].points
    assert (flow.tag.datatype, flow.tag.unit, flow.tag.asset, flow.order) == (
        Datatype.FLOAT,
        "m3/h",
        "machine-1",
        "CDAB",
    )
    assert (running.type, running.tag.datatype) == ("bool", Datatype.BOOLEAN)
    assert (fault.bit, label.registers, label.tag.datatype) == (15, 5, Datatype.STRING)
    assert (hours.tag.datatype, hours.invalid, hours.high) == (Datatype.DOUBLE, (0xFFFFFFFF,), 1e6)
    assert bus.devices[0].points[0].tag.datatype is Datatype.FLOAT
    assert road.devices[0].frame == FrameSpec(r"L(?P<lane>\d) OCC=(?P<occupancy>[\d.]+)", "\r\n")
    assert road.devices[0].points[0].type == "float32"
    machine, north = site.assets
    assert machine.model == CASES / "good_full.onnx"
    assert machine.inputs == {"temperature": ("pump-1", "flow")}
    assert machine.tags[0] == ("pump-1", "flow")
    assert ("meter", "power/active") in machine.tags
    assert north.tags == (("detector", "occupancy"),)


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_site(tmp_path / "site.yaml")
    (tmp_path / "site.yaml").write_bytes(b"\xff\xfe\x00group")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_site(tmp_path / "site.yaml")


def test_named_bits_are_tags_of_their_own_wherever_the_order_puts_them(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    tags = "".join(
        f"      - {{name: {order}, order: {order}, type: uint32, table: input, address: 9, bits: {{0: low, 31: top}}}}\n"  # noqa: E501
        for order in ("ABCD", "CDAB", "BADC", "DCBA")
    )
    site.write_text(
        "group: g\ngateway: w\nbroker: mqtt://127.0.0.1\nlines: [{name: plc, driver: modbus-tcp, host: 127.0.0.1}]\n"
        f"devices:\n  - id: d\n    line: plc\n    tags:\n{tags}"
        "      - {name: mode, table: input, address: 9, states: {0: 'off', 0x10: on}}\n"
        "assets: [{id: a, devices: [d]}]\n"
    )
    (line,) = load_site(site).lines
    points = {p.tag.name: p for p in line.devices[0].points}
    assert points["mode"].states == ((0, "off"), (16, "on"))
    assert points["mode"].tag.datatype is points["ABCD"].tag.datatype is Datatype.STRING
    places = {name: (p.address, p.bit) for name, p in points.items() if p.type == "bool"}
    assert places == {
        "ABCD/low": (10, 0), "ABCD/top": (9, 15), "CDAB/low": (9, 0), "CDAB/top": (10, 15),
        "BADC/low": (10, 8), "BADC/top": (9, 7), "DCBA/low": (9, 8), "DCBA/top": (10, 7),
    }  # fmt: skip
    assert all(p.tag.asset == "a" for p in points.values())


def test_calculated_tags_know_their_inputs_and_are_tags_of_device_and_asset(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "group: g\ngateway: w\nbroker: mqtt://127.0.0.1\nlines: [{name: plc, driver: modbus-tcp, host: 127.0.0.1}]\n"
        "devices:\n  - id: pump\n    line: plc\n    tags:\n"
        "      - {name: flow/in, table: input, address: 0, period_s: 5}\n"
        "      - {name: power, expression: \"'flow/in' * 'tank/level' / 36\", unit: kW, high: 50, deadband: 1}\n"
        "      - {name: full, expression: \"'tank/level' > 90 or 'flow/in' > 8\", type: bool}\n"
        "  - {id: tank, line: plc, unit_id: 2, period_s: 2, tags: [{name: level, table: input, address: 0}]}\n"
        "assets: [{id: a, devices: [pump, tank]}]\n"
    )
    loaded = load_site(site)
    pump = loaded.devices[0]
    power, full = pump.derived
    assert power.inputs == (("pump", "flow/in"), ("tank", "level")) and power.period_s == full.period_s == 2.0
    assert (power.point.tag.unit, power.point.tag.asset, power.point.high) == ("kW", "a", 50.0)
    assert (power.point.tag.datatype, full.point.tag.datatype) == (Datatype.DOUBLE, Datatype.BOOLEAN)
    assert [t.name for t in pump.tags] == ["flow/in", "power", "full"]
    assert ("pump", "power") in loaded.assets[0].tags


def test_a_large_file_is_read_by_a_process_of_its_own_and_gives_the_same() -> None:
    path = CASES / "good_full.yaml"
    assert load_apart(path, large_bytes=0) == load_site(path)


def test_problems_found_by_the_process_that_reads_are_the_same(tmp_path: Path) -> None:
    wrong = tmp_path / "site.yaml"
    wrong.write_text("group: plant\ngateway: gw\nbroker: mqtt://h\nlnes: []\n")
    with pytest.raises(ConfigError) as here:
        load_site(wrong)
    with pytest.raises(ConfigError) as there:
        load_apart(wrong, large_bytes=0)
    assert there.value.problems == here.value.problems


def test_a_file_that_is_gone_is_told_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_apart(tmp_path / "none.yaml", large_bytes=0)


def test_a_longest_silence_alone_means_that_changes_are_told_and_a_string_has_an_order(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "group: g\ngateway: w\nbroker: mqtt://127.0.0.1\nlines: [{name: plc, driver: modbus-tcp, host: 127.0.0.1}]\n"
        "devices:\n  - id: pump\n    line: plc\n    tags:\n"
        "      - {name: always, table: input, address: 0}\n"
        "      - {name: run, table: coil, address: 0, max_silence_s: 60}\n"
        "      - {name: flags, table: input, address: 1, bits: {0: hot}, max_silence_s: 60}\n"
        "      - {name: name, table: input, address: 2, type: string, length: 4, order: BADC, deadband: 0}\n"
        "      - {name: flow, table: input, address: 4, deadband_percent: 5, max_silence_s: 60}\n"
        "      - {name: low, expression: flow < 5, type: bool, max_silence_s: 60}\n"
    )
    (pump,) = load_site(site).devices
    bands = {p.tag.name: p.deadband for p in (*pump.points, *(d.point for d in pump.derived))}
    assert bands == {
        "always": None, "run": 0.0, "flags": 0.0, "flags/hot": 0.0, "name": 0.0, "flow": None, "low": 0.0
    }  # fmt: skip
    assert {p.tag.name: p.order for p in pump.points}["name"] == "BADC"
