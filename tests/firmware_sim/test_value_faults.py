"""Faults of values: another value goes onto the wire, and the truth keeps both."""

from __future__ import annotations

import asyncio
import statistics
import struct
from pathlib import Path

import pytest

from firmware_sim.devices import build
from firmware_sim.devices.registers import RegistersSettings
from firmware_sim.fault_plan import FaultPlan, Planned
from firmware_sim.faults import FaultSettings
from firmware_sim.present import Present
from tests.firmware_sim.running import PLANT, running_text, truth
from tests.firmware_sim.wire import answers, ask, connected

SETTINGS = RegistersSettings.model_validate(
    {
        "id": "d",
        "line": "l",
        "model": "registers",
        "signals": [
            {"name": "sine", "address": 0, "type": "float32", "source": {"kind": "sine", "mean": 50, "amplitude": 9}},
            {"name": "other", "address": 2, "type": "float32", "source": {"kind": "sine", "period_s": 7}},
            {"name": "on", "table": "coil", "address": 0, "type": "bool", "source": True},
        ],
    }
)


def present(seed: int = 1, **keys: object) -> Present:
    fault = FaultSettings.model_validate({"device": "d", "at_s": 10, "for_s": 100, **keys})
    return Present("d", build(SETTINGS, seed), FaultPlan([Planned(fault, seed)]), seed)


def course(device: Present, name: str = "sine") -> list[tuple[float, float]]:
    """(true, served) of each second from 0 to 119."""
    rows = [device.now(float(t_s)) for t_s in range(120)]
    return [(float(row.true[name]), float(row.served[name])) for row in rows]


def differences(rows: list[tuple[float, float]]) -> list[float]:
    return [served - true for true, served in rows]


def test_nothing_differs_outside_the_window() -> None:
    for kind in ("stuck", "step", "drift", "noise", "spike"):
        found = differences(course(present(kind=kind, size=None if kind == "stuck" else 5)))
        assert set(found[:10] + found[110:]) == {0.0}, kind
        assert any(found[10:110]), kind


def test_stuck_holds_the_value_of_the_begin() -> None:
    rows = course(present(kind="stuck"))
    assert {served for _, served in rows[10:110]} == {rows[10][0]}


def test_a_restart_within_stuck_values_forgets_once_and_leaves_later_writes() -> None:
    faults = [{"kind": "stuck", "at_s": 30, "for_s": 90}, {"kind": "restart", "at_s": 10, "for_s": 5}]
    planned = [Planned(FaultSettings.model_validate({"device": "d", **each})) for each in faults]
    device = Present("d", build(SETTINGS, 1), FaultPlan(planned), 1)
    device.now(5.0)
    device.write({"sine": 1.0})
    assert (device.now(12.0).true["sine"], device.now(16.0).true["sine"] == 1.0) == (1.0, False)
    device.write({"sine": 2.0})
    assert device.now(40.0).served["sine"] == 2.0
    device.write({"sine": 3.0})
    now = device.now(50.0)
    assert (now.true["sine"], now.served["sine"]) == (3.0, 2.0)


def test_a_device_that_starts_says_nothing_whatever_else_holds() -> None:
    faults = [{"kind": "late", "at_s": 0, "for_s": 90}, {"kind": "restart", "at_s": 10, "for_s": 5}]
    plan = FaultPlan([Planned(FaultSettings.model_validate({"device": "d", **each})) for each in faults])
    assert [hit.fault.kind for t_s in (5.0, 12.0, 20.0) if (hit := plan.hit(t_s))] == ["late", "restart", "late"]


def test_step_adds_its_size() -> None:
    assert differences(course(present(kind="step", size=-3)))[10:110] == pytest.approx([-3.0] * 100)


def test_drift_grows_by_its_size_per_hour() -> None:
    found = differences(course(present(kind="drift", size=3600)))
    assert found[10:110] == pytest.approx(list(range(100)))


def test_noise_has_its_standard_deviation_and_a_seed() -> None:
    found = differences(course(present(kind="noise", size=2)))
    assert 1.5 < statistics.stdev(found[10:110]) < 2.5
    assert differences(course(present(kind="noise", size=2))) == found
    assert differences(course(present(2, kind="noise", size=2))) != found


def test_spikes_are_single_steps() -> None:
    found = differences(course(present(kind="spike", size=40, chance=0.1)))[10:110]
    hit = [each for each in found if each]
    assert 3 <= len(hit) <= 20 and hit == pytest.approx([40.0] * len(hit))


def test_only_named_signals_and_only_numbers_are_changed() -> None:
    device = present(kind="step", size=5, signals=("sine",))
    assert any(differences(course(device))) and not any(differences(course(device, "other")))
    everything = present(kind="step", size=5).now(20.0)
    assert everything.served["on"] is True and set(everything.served) == {"sine", "other", "on"}
    assert len(everything.served) == 3


@pytest.mark.parametrize("kind", ["stuck", "drift", "spike", "noise", "step"])
async def test_the_wire_says_the_served_value_and_the_truth_both(tmp_path: Path, kind: str) -> None:
    size = "" if kind == "stuck" else ", size: 5000"
    faults = f"  - {{device: tcp, kind: {kind}, at_s: 0.1, for_s: 60{size}, signals: [ramp]}}\n"
    async with running_text(tmp_path, PLANT, faults) as at, connected(at["tcp"]) as wire:
        await asyncio.sleep(0.5)
        wire.send(ask(at["tcp"], "03 0000 0005"))
        [(_, pdu)] = answers(at["tcp"], await wire.bytes())
    [served] = truth(tmp_path, "served", "tcp")
    assert struct.unpack(">f", pdu[4:8])[0] == served["values"]["ramp"]
    assert set(served["true"]) == {"ramp"}
    assert 100 < served["true"]["ramp"] < 102 and served["true"]["ramp"] != served["values"]["ramp"]
    assert truth(tmp_path, "fault", "tcp")[0]["name"] == kind
