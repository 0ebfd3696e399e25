"""Models in a running gateway: exchanged at a row's edge, refused without harm, and no need at all."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.config import load_site
from gateway.config.rate import seconds_between
from models.manifest import Input, Manifest
from tests.gateway.field import modbus_device
from tests.gateway.host import host
from tests.gateway.test_reload import COUNT, FLOW, site_at
from tests.gateway.test_reload_agent import at_work, shown
from tests.models import small
from tests.servers import Mosquitto
from wire.errors import ConfigError

PERIOD_S = 0.05
Scores = dict[int, tuple[object, int]]  # stamp -> value, quality
MANIFEST: Manifest = replace(
    small.MANIFEST,
    inputs=(Input("flow", "m3/h", 1.5, 1.0), Input("count", "", 7.0, 1.0)),
    period_s=PERIOD_S,
    warm_up_rows=3,
)


def site_with_model(folder: Path, broker: str, port: int, asset: str = "", more: str = "") -> Path:
    path = site_at(folder, broker, (port, 1))
    lines = [line for line in path.read_text().splitlines() if "name: b" not in line and "id: fan" not in line]
    text = "\n".join(lines).replace(f"[{FLOW}]", f"[{FLOW}, {COUNT}]")
    path.write_text(f"{text}\nassets:\n  - {{id: machine, devices: [pump], model: m.onnx{asset}}}\n{more}")
    return path


def _more(scores: Callable[[], Scores], than: int) -> bool:
    """True when so many rows have come and the last one is warm."""
    found = scores()
    return len(found) > than and found[max(found)][0] == 7.0


async def test_a_new_model_takes_over_without_losing_a_row(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Every poll of the pump is a row, and every row has its score, before, while and after the file is exchanged."""
    model = small.write(tmp_path / "m.onnx", MANIFEST)
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port) as h:
        path = site_with_model(tmp_path, mosquitto.url, port)
        gateway, stop = Gateway(load_site(path)), asyncio.Event()
        await gateway.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.run(stop, None))

            def scores() -> Scores:
                return {ts: row for (device, name, ts), row in h.rows.items() if (device, name) == ("machine", "score")}

            await h.until(partial(_more, scores, 20))
            for version in ("2", "3"):
                small.write(model, replace(MANIFEST, version=version, threshold=float(version)))
                before = len(scores())
                assert (await gateway.answer({"cmd": "reload"}))["done"] == "no line changed; new models: machine"
                said = (await gateway.status())["scoring"]["machine"]
                assert said == {"state": "on", "problem": "", "model": f"small version {version}, not signed"}
                await h.until(partial(_more, scores, before + 20))
            stop.set()
        flows = sorted(ts for device, name, ts in h.rows if (device, name) == ("pump", "flow"))
    scored = scores()
    first, last = min(scored), max(scored)
    # Polls that follow one another within the model's period are thinned to one row.
    unscored = [
        ts for ts in flows if first <= ts <= last and not any(ts - 1000 * PERIOD_S < s <= ts for s in scored)
    ]  # fmt: skip
    assert unscored == []
    thresholds = {ts: h.rows["machine", "threshold", ts][0] for ts in sorted(scored)}
    assert list(dict.fromkeys(thresholds.values())) == [5.0, 2.0, 3.0]
    for one in (5.0, 2.0, 3.0):
        values = [scored[ts][0] for ts, threshold in thresholds.items() if threshold == one]
        assert values[:3] == [None] * 3, "a new model says that it warms up"
        assert 7.0 in values[3:]
    assert h.doubles == []


async def test_a_changed_model_file_is_noticed_and_a_broken_one_leaves_the_old_one_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.reload.LOOK_S", 0.05)
    model = small.write(tmp_path / "m.onnx", MANIFEST)
    async with modbus_device([0x3FC0, 0, 7]) as port:
        path = site_with_model(tmp_path, "mqtt://127.0.0.1:1", port)
        async with _at_work(path, monkeypatch) as gateway:

            async def scoring() -> dict[str, Any]:
                found: dict[str, Any] = (await gateway.status())["scoring"]["machine"]
                return found

            small.write(tmp_path / "new.onnx", replace(MANIFEST, version="2"))
            os.replace(tmp_path / "new.onnx", model)
            async with asyncio.timeout(60):
                while "version 2" not in (await scoring())["model"]:
                    await asyncio.sleep(0.05)
            model.write_bytes(model.read_bytes()[:-50])
            async with asyncio.timeout(60):
                while not (await scoring())["problem"]:
                    await asyncio.sleep(0.05)
            found = await scoring()
            assert found["state"] == "on" and "the model that ran before goes on" in found["problem"]
            status = await gateway.status()
            assert any(problem.startswith("asset machine: the new model is not used") for problem in status["problems"])
            await shown(gateway, "machine/score", 7.0)
            assert status["restarts"] == {}


def _at_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As at_work, whose line b is a here."""
    return at_work(path, monkeypatch, "a")


async def test_without_onnxruntime_the_gateway_runs_and_says_that_scoring_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python keeps for a module that cannot be imported
    async with modbus_device([0x3FC0, 0, 7]) as port:
        path = site_with_model(tmp_path, "mqtt://127.0.0.1:1", port)
        async with _at_work(path, monkeypatch) as gateway:
            await shown(gateway, "pump/count", 7)
            status = await gateway.status()
            assert status["scoring"]["machine"]["state"] == "off"
            assert "scoring is off on this machine: onnxruntime is not installed" in "; ".join(status["problems"])
            readings = (await gateway.answer({"cmd": "latest"}))["readings"]
            assert {r["device"] for r in readings} == {"pump"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 per week", 604_800), ("2 per day", 43_200), ("1 per 3 days", 259_200), ("every 12 hours", 43_200),
        ("Every week", 604_800), ("0.5 per hour", 7_200), ("1 per 1.5 minutes", 90),
    ],
)  # fmt: skip
def test_a_rate_is_written_as_it_is_said(text: str, seconds: float) -> None:
    assert seconds_between(text) == seconds


@pytest.mark.parametrize("text", ["", "often", "1", "0 per week", "1 per 0 days", "1 per fortnight", "1 per week!"])
def test_what_is_no_rate_is_told_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="must be a rate such as `1 per week`"):
        seconds_between(text)


def test_the_site_says_rate_zone_and_key(tmp_path: Path) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    path = site_with_model(tmp_path, "mqtt://127.0.0.1:1", 1, ", false_alarms: 2 per hour", "time_zone: UTC\n")
    site = load_site(path)
    assert site.assets[0].false_alarm_s == 1800.0
    assert site.time_zone == "UTC" and site.model_key is None


def test_faults_of_rate_zone_and_key_are_told_with_their_lines(tmp_path: Path) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    more = "time_zone: Mars/North\nmodels: {public_key_file: gone.pem}\n"
    path = site_with_model(tmp_path, "mqtt://127.0.0.1:1", 1, ", false_alarms: often", more)
    with pytest.raises(ConfigError) as told:
        load_site(path)
    rate, zone = told.value.problems
    assert "assets.0.false_alarms: must be a rate such as `1 per week`" in rate
    assert "time_zone: must be a time zone such as Europe/Berlin" in zone
    path.write_text(path.read_text().replace("often", "1 per week").replace("Mars/North", "UTC"))
    with pytest.raises(ConfigError, match=r"site\.yaml:\d+: models\.public_key_file: .*gone\.pem: cannot be read"):
        load_site(path)
    path.write_text(path.read_text().replace("model: m.onnx, ", "").split("models:")[0])
    with pytest.raises(ConfigError, match="only an asset with a model has false_alarms"):
        load_site(path)
