"""Guarded writes: limits, scaling backwards, read-back, the record; by the owner of the line or without one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decode import SpanDecoder
from agent.encode import encode
from agent.plan import plan_device
from gateway.cli import main
from gateway.config import load_site
from gateway.write import audit_path, user, write_now
from tests.agent.points import device, point
from tests.gateway import slave
from tests.gateway.test_cli import running
from wire.errors import ConfigError

TAGS = """\
      - {name: setpoint, table: holding, address: 0, type: int16, scale: 0.1, unit: bar,
         writable: true, write_low: -5, write_high: 16}
      - {name: speed, table: holding, address: 2, type: float32, order: CDAB, unit: 1/min,
         writable: true, write_low: 0, write_high: 3000}
      - {name: total, table: holding, address: 4, type: uint64, writable: true, write_low: 0, write_high: 1e18}
      - {name: pump, table: coil, address: 7, writable: true}
      - {name: fixed, table: holding, address: 9}
      - {name: twice, expression: "fixed * 2"}
"""


def site_at(folder: Path, place: str, on: bool = True, period_s: float = 0.05) -> Path:
    path = folder / "site.yaml"
    path.write_text(
        f"""group: plant
gateway: gw
broker: mqtt://127.0.0.1:1
commands: {{write: {str(on).lower()}}}
lines:
  - {{name: plc, {place}, timeout_s: 1.5}}
devices:
  - id: press
    line: plc
    period_s: {period_s}
    tags:
{TAGS}"""
    )
    return path


def tcp_place(port: int) -> str:
    return f"driver: modbus-tcp, host: 127.0.0.1, port: {port}"


def record(site: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in audit_path(load_site(site)).read_text().splitlines()]


async def written(site: Path, tag: str, value: str) -> tuple[Any, Any, Any]:
    entry = await write_now(load_site(site), tag, value)
    return entry["result"], entry["from"], entry["read_back"]


async def test_each_kind_of_value_is_written_with_its_function_code_and_read_back(tmp_path: Path) -> None:
    plc = slave.Device()
    async with slave.tcp(plc) as port:
        site = site_at(tmp_path, tcp_place(port))
        assert await written(site, "press/setpoint", "-4.5") == ("done", 0.0, pytest.approx(-4.5))
        assert await written(site, "press/speed", "1500.5") == ("done", 0.0, 1500.5)
        assert await written(site, "press/total", "123456789012345678") == ("done", 0, 123456789012345678)
        assert await written(site, "press/pump", "on") == ("done", False, True)
        assert await written(site, "press/pump", "0") == ("done", True, False)
    assert plc.functions == [6, 16, 16, 5, 5]
    assert plc.holding[0] == 65536 - 45
    asked, done = record(site)[:2]
    assert {k: asked[k] for k in ("who", "what", "to", "result")} == {
        "who": user(os.getuid()), "what": "press/setpoint", "to": "-4.5", "result": "asked",
    }  # fmt: skip
    assert done["id"] == asked["id"] and done["from"] == 0.0 and done["result"] == "done" and "ts_ms" in done


@pytest.mark.parametrize("way", ["port", "converter"])
async def test_a_serial_line_is_written_to_as_well(way: str, tmp_path: Path) -> None:
    plc = slave.Device()
    async with slave.rtu(plc) as port, slave.rtu_tcp(plc) as tcp_port:
        place = f"driver: modbus-rtu, port: {port}"
        if way == "converter":
            place = f"driver: modbus-rtu-tcp, host: 127.0.0.1, port: {tcp_port}"
        site = site_at(tmp_path, f"{place}, baud: 115200")
        assert (await written(site, "press/speed", "7"))[0] == "done"
        assert (await written(site, "press/pump", "true"))[0] == "done"
        plc.illegal.add(0)
        assert (await written(site, "press/setpoint", "1"))[0] == "refused"
        plc.mute = True
        assert await written(site, "press/speed", "8") == ("done", 7.0, 8.0)  # not answered, and there all the same


async def test_a_running_gateway_writes_through_a_converter_between_two_polls(tmp_path: Path) -> None:
    plc = slave.Device()
    async with slave.rtu_tcp(plc) as port:
        site = site_at(tmp_path, f"driver: modbus-rtu-tcp, host: 127.0.0.1, port: {port}", period_s=0.2)
        async with running(site):
            assert await written(site, "press/setpoint", "2.5") == ("done", 0.0, pytest.approx(2.5))
            assert await written(site, "press/total", "12345678901") == ("done", 0, 12345678901)
            plc.mute = True
            assert (await written(site, "press/pump", "on"))[0] == "done"
    assert plc.functions == [6, 16, 5]


async def test_what_a_device_did_not_take_is_told_and_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plc = slave.Device()
    async with slave.tcp(plc) as port:
        site = site_at(tmp_path, tcp_place(port))
        plc.stuck = True
        assert await written(site, "press/setpoint", "3") == ("mismatch", 0.0, 0.0)
        plc.illegal.add(0)
        assert await written(site, "press/setpoint", "3") == ("refused", 0.0, 0.0)
        plc.deaf = True
        assert await written(site, "press/setpoint", "3") == ("failed", None, None)
        plc.deaf = False
        call = ["write", str(site), "press/setpoint", "3", "--yes"]
        assert await asyncio.to_thread(main, call) == 1
    assert "press/setpoint: refused: " in capsys.readouterr().out
    assert [entry["result"] for entry in record(site)[1::2]] == ["mismatch", "refused", "failed", "refused"]
    assert await written(site, "press/setpoint", "3") == ("failed", None, None)  # nobody is there


@pytest.mark.parametrize(
    ("tag", "value", "problem"),
    [
        ("press/setpoint", "16.1", "must be -5 to 16 bar"),
        ("press/setpoint", "3.05", "steps of 0.1; the nearest is 3.0"),
        ("press/setpoint", "nan", "needs a number"),
        ("press/setpoint", "much", "needs a number"),
        ("press/setpoint", "1_0", "needs a number"),
        ("press/pump", "2", "on or off"),
        ("press/fixed", "2", "not writable"),
        ("press/nothing", "2", "no tag 'nothing'; writable are: press/setpoint, press/speed"),
        ("press/twice", "2", "press/twice: is calculated"),
        ("mixer/x", "2", "no device 'mixer'"),
    ],
)
def test_what_may_not_be_written_is_refused_before_anything_happens(
    tag: str, value: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_at(tmp_path, tcp_place(1))
    assert main(["write", str(site), tag, value, "--yes"]) == 1
    assert problem in capsys.readouterr().err
    assert not audit_path(load_site(site)).exists()


def test_writing_is_off_until_the_site_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = site_at(tmp_path, tcp_place(1), on=False)
    assert main(["write", str(site), "press/pump", "on", "--yes"]) == 1
    assert "writing is off; put `commands: {write: true}`" in capsys.readouterr().err


def test_a_write_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_at(tmp_path, tcp_place(1))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["write", str(site), "press/pump", "on"]) == 1
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["write", str(site), "press/pump", "on"]) == 1
    assert "nothing was written" in capsys.readouterr().out


async def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    plc = slave.Device()
    async with slave.tcp(plc) as port:
        site = site_at(tmp_path, tcp_place(port))
        audit_path(load_site(site)).mkdir()
        with pytest.raises(ConfigError, match="nothing is done"):
            await written(site, "press/pump", "on")
    assert plc.functions == []


async def test_a_running_gateway_writes_between_two_polls(tmp_path: Path) -> None:
    plc = slave.Device()
    async with slave.tcp(plc) as port:
        site = site_at(tmp_path, tcp_place(port))
        async with running(site):
            assert await written(site, "press/setpoint", "2.5") == ("done", 0.0, pytest.approx(2.5))
            plc.illegal.add(0)
            assert (await written(site, "press/setpoint", "1"))[0] == "refused"
            with pytest.raises(ConfigError, match="must be"):
                await written(site, "press/setpoint", "99")
            plc.illegal.clear()
            # What site.yaml forbids by now may still be allowed by the gateway that runs, never the other way round.
            site_at(tmp_path, tcp_place(port), on=False)
            with pytest.raises(ConfigError, match="off"):
                await written(site, "press/setpoint", "1")
        site_at(tmp_path, tcp_place(port))
        assert [entry["result"] for entry in record(site)] == ["asked", "done", "asked", "refused"]


numeric = st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"])


@given(
    numeric, st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]), st.sampled_from([1.0, 0.1, 0.01, 0.25, 10.0]),
    st.sampled_from([0.0, -40.0, 0.5]), st.integers(0, 30_000),
)  # fmt: skip
def test_what_is_encoded_is_decoded_to_the_same(raw: str, order: Any, scale: float, offset: float, steps: int) -> None:
    from decimal import Decimal

    import numpy as np

    spec = point("a", "holding", 0, raw, order=order, scale=scale, offset=offset, writable=True)
    value = steps * Decimal(str(scale)) + Decimal(str(offset))
    words = encode(spec, str(value))
    (planned,) = plan_device(device(spec))
    found = SpanDecoder(planned).block(1, np.array(words, np.uint16)).value(0)
    assert found == pytest.approx(float(value), rel=1e-6, abs=1e-3)


def test_what_does_not_fit_the_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not fit into uint16"):
        encode(point("a", "holding", 0, "uint16", writable=True), "70000")
    with pytest.raises(ConfigError, match="a bcd16 cannot be written"):
        encode(point("a", "holding", 0, "bcd16", writable=True), "12")
