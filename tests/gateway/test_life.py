"""Remaining life in site.yaml and in a running gateway: told, kept over a restart, and begun anew by a person."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from agent.spec import LifeSpec
from gateway.app import Gateway
from gateway.config import load_site
from gateway.status_view import status_text
from tests.gateway.field import modbus_device
from tests.gateway.test_baselines import site_at
from tests.gateway.test_models import _at_work
from tests.gateway.test_write import record
from wire.errors import ConfigError


def with_life(folder: Path, life: str, port: int = 1, more: str = "") -> Path:
    path = site_at(folder, port)
    text = path.read_text()
    path.write_text(
        text[: text.index("  - {id: machine")] + f"  - {{id: machine, devices: [pump], life: {life}{more}}}\n"
    )
    return path


def life_of(path: Path) -> LifeSpec | None:
    (asset,) = load_site(path).assets
    return asset.life


def test_a_trend_and_a_model_are_read_with_their_tags(tmp_path: Path) -> None:
    trend = life_of(with_life(tmp_path, "{tag: flow, limit: 7.1}"))
    assert trend == LifeSpec(None, ("pump", "flow"), 7.1, False, 3600.0, None)
    falling = life_of(with_life(tmp_path, "{tag: pump/flow, limit: 2, falling: true, every_s: 60}"))
    assert falling == LifeSpec(None, ("pump", "flow"), 2.0, True, 60.0, None)
    (tmp_path / "engine.onnx").write_bytes(b"")
    counted = life_of(with_life(tmp_path, "{model: engine.onnx, counter: count}", more=", inputs: {T2: pump/flow}"))
    assert counted == LifeSpec(tmp_path / "engine.onnx", counter=("pump", "count"))


@pytest.mark.parametrize(
    ("life", "told"),
    [
        ("{every_s: 60}", "needs either model, an ONNX file of remaining life, or tag and limit"),
        ("{tag: flow}", "life.limit: is missing: the value of flow at which its life ends"),
        ("{tag: flaw, limit: 1}", "no tag of the asset, and no device/tag of this site"),
        ("{tag: mode, limit: 1}", "tag mode is no number"),
        ("{tag: flow, limit: 1, counter: count}", "is for a model, in the place of every_s"),
        ("{tag: flow, limit: 1, every_s: 0}", "every_s"),
        ("{tag: flow, limit: 1, level: 2}", "level"),
        ("{model: none.onnx, every_s: 60}", "no such file in"),
        ("{model: m.onnx}", "every_s: is missing: a row of the model from so long; or counter"),
        ("{model: m.onnx, every_s: 60, limit: 3}", "knows its own limit"),
        ("7", "life"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(tmp_path: Path, life: str, told: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        load_site(with_life(tmp_path, life))
    assert any(told in problem and "site.yaml" in problem for problem in caught.value.problems), caught.value.problems


async def said(gateway: Gateway, rows: int) -> dict[str, Any]:
    """The status of the life when so many rows were seen."""
    async with asyncio.timeout(60):
        while (found := (await gateway.status())["scoring"]["machine"]["life"])["rows"] < rows:
            await asyncio.sleep(0.05)
    return dict(found)


async def test_it_is_told_outlives_a_restart_and_begins_anew_after_an_overhaul(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with modbus_device([0x3FC0, 0, 7, 90, 1, 1]) as port:
        path = with_life(tmp_path, "{tag: flow, limit: 9, every_s: 1}", port)
        async with _at_work(path, monkeypatch) as gateway:
            found = await said(gateway, 1)
            assert found["state"] == "too few" and found["model"] == "trend of pump/flow towards 9"
            readings = {(r["device"], r["tag"]): r for r in (await gateway.answer({"cmd": "latest"}))["readings"]}
            assert readings["machine", "life/remaining"]["reason"] == "warming_up"
            assert readings["machine", "life/remaining"]["unit"] == "h"
            assert "Remaining life: too few values (" in str(readings["machine", "life/explanation"]["value"])
            status = await gateway.status()
            assert "  life: Remaining life: too few values (" in status_text(status)
            assert not any("machine" in problem for problem in status["problems"])
        async with _at_work(path, monkeypatch) as gateway:
            assert (await gateway.status())["scoring"]["machine"]["life"]["rows"] >= found["rows"]
            asked = {"cmd": "model", "do": "overhaul", "asset": "machine", "uid": os.getuid(), "why": "new bearing"}
            assert (await gateway.answer(asked))["result"] == "done"
            assert (await gateway.status())["scoring"]["machine"]["life"]["rows"] <= 1
            assert (
                "no life of an asset 'fan' is told here; told are: machine"
                in (await gateway.answer(asked | {"asset": "fan"}))["error"]
            )
    assert [(entry["what"], entry["result"]) for entry in record(path)] == [
        ("model overhaul machine", "done"), ("model overhaul fan", "refused"),
    ]  # fmt: skip


async def test_a_model_that_cannot_be_used_is_a_problem_and_the_gateway_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine.onnx").write_bytes(b"nothing")
    async with modbus_device([0x3FC0, 0, 7, 90, 1, 1]) as port:
        path = with_life(tmp_path, "{model: engine.onnx, every_s: 60}", port)
        async with _at_work(path, monkeypatch) as gateway:
            status = await gateway.status()
            told = [problem for problem in status["problems"] if "machine" in problem]
            assert len(told) == 1
            assert "asset machine: what is left of its life is not told as configured: " in told[0]
            assert "not an ONNX file" in status_text(status)
