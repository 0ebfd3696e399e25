"""Files in, specifications or every problem with its line out (tests/cases/site)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.frame_spec import FrameSpec
from gateway.config import Broker, load_site
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
    assert site.broker == Broker("192.168.1.10", 1884, "gw-1", "secret", 20)
    assert str(site.broker) == "mqtt://192.168.1.10:1884"
    assert site.hosts == ("gaugeline", "second")
    assert (site.outbox.path, site.outbox.commit_ms) == (CASES / "data/outbox.db", 100)
    assert site.outbox.max_bytes == 2_000_000
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
