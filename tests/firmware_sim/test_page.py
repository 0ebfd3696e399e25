"""docs/simulator.md says what is: its scenario runs as it stands, and it names every key."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.devices import AnySettings
from firmware_sim.devices.registers import SignalRow
from firmware_sim.devices.sources import AnySource
from firmware_sim.faults import ANSWER_KINDS, LINK_KINDS, VALUE_KINDS, WRITE_KINDS, FaultSettings
from firmware_sim.lines import AnyLine
from firmware_sim.replay import ReplaySettings
from firmware_sim.scenario import Scenario
from firmware_sim.wear import WearSettings
from tests.firmware_sim.running import running_file, truth
from tests.firmware_sim.wire import connected

PAGE = Path(__file__).parents[2] / "docs/simulator.md"


def block(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return str(text)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(block("yaml"))
    (tmp_path / "well.csv").write_text(block("csv"))
    return path


def models() -> Iterator[type[BaseModel]]:
    yield from (Scenario, FaultSettings, SignalRow, ReplaySettings, WearSettings)
    for union in (AnySettings, AnyLine, AnySource):
        yield from get_args(get_args(union)[0])


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_the_page_names_every_key(model: type[BaseModel]) -> None:
    page = PAGE.read_text()
    missing = [key for key in model.model_fields if not re.search(rf"`{key}`|\b{key}:", page)]
    assert not missing, f"docs/simulator.md does not name {missing} of {model.__name__}"


def test_the_page_names_every_kind() -> None:
    page = PAGE.read_text()
    kinds = ANSWER_KINDS | VALUE_KINDS | LINK_KINDS | WRITE_KINDS
    for union in (AnySettings, AnyLine, AnySource):
        for model in get_args(get_args(union)[0]):
            field = model.model_fields.get("model") or model.model_fields["kind"]
            kinds |= set(get_args(field.annotation))
    assert not [kind for kind in kinds if f"`{kind}`" not in page]


def test_its_scenario_is_right_and_ends_by_itself(scenario: Path) -> None:
    def sim(*words: str) -> str:
        command = [sys.executable, "-m", "gaugeline", "sim", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "  anything  registers, unit id 9, 507 signals, 2 writable" in sim("check", str(scenario)).splitlines()
    ready = json.loads(sim("run", str(scenario), "--for", "0.5", "--speed", "60"))
    assert len(ready["devices"]) == 13


async def test_its_devices_answer(scenario: Path) -> None:
    async with running_file(scenario) as at:
        plc: dict[str, Any] = at["anything"]
        async with AsyncModbusTcpClient(plc["host"], port=plc["port"]) as modbus:
            low, high, inflow = (await modbus.read_input_registers(0, count=3, device_id=9)).registers
            (level,) = struct.unpack(">f", struct.pack(">HH", high, low))  # CDAB
            assert (round(level, 2), inflow / 10 - 10) in {(2.41, 12.0), (2.44, 12.0), (2.52, 14.5), (2.49, 11.0)}
            assert (await modbus.write_register(0, 900, device_id=9)).isError() is False
            assert (await modbus.read_holding_registers(0, count=1, device_id=9)).registers == [300]  # held at 30.0
            assert len((await modbus.read_discrete_inputs(100, count=420, device_id=5)).bits) >= 420
            assert not (await modbus.read_holding_registers(0, count=12, device_id=2)).isError()
        for line in ("lanes", "loop"):
            async with connected(at[line]) as wire:
                assert await wire.bytes(1.3)
        await asyncio.sleep(0.1)
    folder = scenario.parent
    assert truth(folder, "written", "anything")[0]["held"] == {"set_point": 30}
    assert truth(folder, "health", "feed-pump")[0]["health_percent"] == 55
