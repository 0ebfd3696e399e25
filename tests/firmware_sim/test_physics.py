"""The newer devices: seeds, plausible values, and what wear does to them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from firmware_sim.devices import AnySettings, build
from firmware_sim.devices.car_park import CarPark, CarParkSettings
from firmware_sim.devices.device import Device
from firmware_sim.signals import BIT_TABLES
from firmware_sim.wear import DAY_S, Wear, WearSettings
from tests.firmware_sim.running import running_text, truth

MODELS = [
    "pump",
    "compressor",
    "motor",
    "traffic_detector",
    "weighing",
    "barrier",
    "parking_controller",
    "dlt645_meter",
]


def made(model: str, seed: int = 1, **more: Any) -> Device:
    settings = TypeAdapter(AnySettings).validate_python({"id": "d", "line": "l", "model": model, **more})
    return build(settings, seed)


def mean(device: Device, name: str, first: int = 3000, rows: int = 600) -> float:
    return sum(float(device.at(step)[name]) for step in range(first, first + rows)) / rows


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_values_another_seed_others(model: str) -> None:
    first, second, other = made(model, 5), made(model, 5), made(model, 6)
    wanted = [400, 7, 0, 399]
    assert {step: dict(first.at(step)) for step in sorted(wanted)} == {step: dict(second.at(step)) for step in wanted}
    assert any(first.at(step) != other.at(step) for step in range(0, 400, 10))
    assert set(first.at(0)) == {signal.name for signal in first.signals}
    assert list(first.recorded()) == []


@pytest.mark.parametrize("model", ["pump", "compressor", "motor"])
def test_no_value_stands_at_the_end_of_its_register_and_counters_only_rise(model: str) -> None:
    device = made(model)
    for step in range(0, 4000, 50):
        values = device.at(step)
        for signal in device.signals:
            if signal.table not in BIT_TABLES:
                assert float(signal.as_served(values[signal.name])) == pytest.approx(
                    float(values[signal.name]), abs=max(signal.scale / 2, 1e-4 * abs(float(values[signal.name]))) + 1e-9
                )
    for signal in device.signals:
        if signal.counter:
            course = [float(device.at(step)[signal.name]) for step in range(0, 600)]
            assert course == sorted(course) and course[-1] > course[0]


def test_health_falls_gently_first_and_fast_at_the_end() -> None:
    wear = Wear(WearSettings(life_days=10, shape=3))
    health = [wear.health_percent(day * DAY_S) for day in range(12)]
    assert health[0] == 100 and health[10] == health[11] == 0
    assert health[0] - health[1] < 1 < health[8] - health[9]
    levels = list(wear.levels())
    assert [percent for _, percent in levels] == list(range(100, -1, -1))
    for t_s, percent in levels[1:]:
        assert wear.health_percent(t_s) == pytest.approx(percent)
    assert Wear(None).lost(1e9) == 0 and list(Wear(None).levels()) == []
    old = list(Wear(WearSettings(life_days=10, age_days=5, shape=1)).levels())
    assert old[0] == (0.0, 50) and all(t_s > 0 for t_s, _ in old[1:])


OLD = {"wear": {"life_days": 10, "age_days": 9.5}}


@pytest.mark.parametrize(
    ("model", "rises", "falls"),
    [
        ("pump", ["vibration_rms", "bearing_temperature"], ["discharge_pressure", "flow"]),
        ("compressor", ["discharge_temperature", "power"], []),
        ("motor", ["vibration_rms", "bearing_temperature", "current"], []),
    ],
)
def test_physics_respond_to_wear(model: str, rises: list[str], falls: list[str]) -> None:
    new, old = made(model), made(model, **OLD)
    for name in rises:
        assert mean(old, name) > 1.03 * mean(new, name), name
    for name in falls:
        assert mean(old, name) < 0.95 * mean(new, name), name


def test_the_compressor_stays_between_its_limits_and_a_worn_one_loads_for_longer() -> None:
    rows = [dict(row) for row in map(made("compressor").at, range(3000))]
    assert min(float(row["pressure"]) for row in rows) > 6.5 and max(float(row["pressure"]) for row in rows) < 7.8
    assert 5 < sum(a["loaded"] != b["loaded"] for a, b in pairwise(rows)) < 500
    assert mean(made("compressor", **OLD), "loaded") > mean(made("compressor"), "loaded")


def test_bays_hold_exactly_the_cars_and_change_nothing_else() -> None:
    plain = build(CarParkSettings(id="p", line="l", model="car_park"), 1)
    bays = build(CarParkSettings(id="p", line="l", model="car_park", bays=True), 1)
    assert isinstance(bays, CarPark) and len(bays.signals) == len(plain.signals) + 420
    for step in range(0, 300, 7):
        with_bays, without = bays.at(step), plain.at(step)
        assert {name: with_bays[name] for name in without} == dict(without)
        taken = sum(bool(value) for name, value in with_bays.items() if name.startswith("bay_"))
        assert taken == 420 - int(without["free_spaces"])


async def test_health_stands_in_the_truth_when_it_falls(tmp_path: Path) -> None:
    text = """\
name: s
speed: 20000
lines: [{name: l, kind: modbus-tcp}]
devices:
  - {id: p, model: pump, line: l, wear: {life_days: 0.2, shape: 1}}
"""
    async with running_text(tmp_path, text):
        await asyncio.sleep(0.6)
    fallen = [each["health_percent"] for each in truth(tmp_path, "health", "p")]
    assert fallen[0] == 100 and fallen == list(range(100, 100 - len(fallen), -1)) and len(fallen) > 20
    assert truth(tmp_path, "run")[0]["speed"] == 20000
