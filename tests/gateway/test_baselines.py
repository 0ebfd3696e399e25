"""The baseline of an asset in a running gateway: when it learns, who may tell it what, and what outlives a kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.score import Scorers
from agent.spec import RunningSpec
from gateway.app import Gateway
from gateway.baselines import Baselines, baselines_path
from gateway.baselines import _write as write_kept
from gateway.cli import main
from gateway.config import load_site
from gateway.problems import problems
from gateway.status import ask, listening
from gateway.status_view import status_text
from gateway.write import user
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.manifest import Input
from tests.gateway.field import modbus_device
from tests.gateway.test_cli import running
from tests.gateway.test_metrics import sound
from tests.gateway.test_models import _at_work
from tests.gateway.test_reload_agent import shown
from tests.gateway.test_write import record
from tests.models import small
from wire.errors import ConfigError

MANIFEST = replace(
    small.MANIFEST,
    inputs=(Input("flow", "m3/h", 0.0, 1.0), Input("count", "", 0.0, 1.0)),
    period_s=0.05,
    threshold=10.0,
    warm_up_rows=2,
    alarm=AlarmRule(2, 0, 2, 0.9),
    baseline=BaselineRule(follow_rows=1e6, own_rows=5, own_reach=50.0, drift_notice=3.0),
)
BROKER = "mqtt://127.0.0.1:1"
RUNNING = "running: {tag: speed, above: 50}"


def site_at(folder: Path, port: int, asset: str = RUNNING) -> Path:
    path = folder / "site.yaml"
    path.write_text(
        f"""group: plant
gateway: gw
broker: {BROKER}
outbox: {{path: outbox.db, commit_ms: 50, max_mb: 20}}
lines:
  - {{name: a, driver: modbus-tcp, host: 127.0.0.1, port: {port}, timeout_s: 0.3}}
devices:
  - id: pump
    line: a
    period_s: 0.05
    tags:
      - {{name: flow, table: holding, address: 0, type: float32, unit: m3/h}}
      - {{name: count, table: holding, address: 2}}
      - {{name: speed, table: holding, address: 3}}
      - {{name: mode, table: holding, address: 4, states: {{0: "off", 1: run, 2: idle}}}}
      - {{name: word, table: holding, address: 5, bits: {{0: runs, 1: hot}}}}
assets:
  - {{id: machine, devices: [pump], model: m.onnx, {asset}}}
"""
    )
    return path


async def until(gateway: Gateway, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The status of the asset."""
    async with asyncio.timeout(60):
        while not true(found := (await gateway.status())["scoring"]["machine"]):
            await asyncio.sleep(0.02)
    return found


def state(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: bool(found["baseline"]["state"] == name)


async def told(gateway: Gateway, do: str, **more: Any) -> dict[str, Any]:
    asked = {"cmd": "model", "do": do, "asset": "machine", "uid": os.getuid(), **more}
    return await gateway.answer(asked)


async def reason(gateway: Gateway) -> str:
    readings = (await gateway.answer({"cmd": "latest"}))["readings"]
    return next((str(r["reason"]) for r in readings if (r["device"], r["tag"]) == ("machine", "score")), "")


async def test_a_machine_that_stops_is_not_judged_and_learns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    registers = [0x3FC0, 0, 7, 90, 1, 1]
    async with modbus_device(registers) as port:
        path = site_at(tmp_path, port)
        async with _at_work(path, monkeypatch) as gateway:
            await until(gateway, state("follows"))
            await shown(gateway, "machine/score", pytest.approx(0.0, abs=0.1))
            registers[2:4] = [40, 0]
            found = await until(gateway, state("suspended"))
            assert found["suspended"]["why"] == "not running" and found["running"]["state"] == "stopped"
            async with asyncio.timeout(60):
                while await reason(gateway) != "not_running":
                    await asyncio.sleep(0.02)
            told_now = (await gateway.status())["problems"]
            assert not any("asset" in problem for problem in told_now), "a machine that stands still is no problem"
            registers[3] = 90
            found = await until(gateway, lambda found: "alarm" in found)
            assert found["baseline"]["state"] == "frozen" and found["running"]["state"] == "runs"
            assert abs(found["baseline"]["drift"]["count"]) < 0.1, "the level of the standstill was not learnt"
            assert (await told(gateway, "accept", why="new pump"))["result"] == "done"
            found = await until(gateway, state("follows"))
            await shown(gateway, "machine/anomaly", False)
            # Another condition while it runs: the model stays warm.
            path.write_text(path.read_text().replace("above: 50", "above: 95"))
            assert "done" in await gateway.answer({"cmd": "reload"})
            await until(gateway, state("suspended"))
    assert [(entry["what"], entry["why"], entry["result"]) for entry in record(path)] == [
        ("model accept machine", "new pump", "done")
    ]


async def test_what_was_learnt_survives_a_kill_9_and_another_model_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    registers = [0x3FC0, 0, 7, 90, 1, 1]
    async with modbus_device(registers) as port:
        path = site_at(tmp_path, port)
        async with running(path) as process:
            async with asyncio.timeout(60):
                while True:
                    found = await ask(tmp_path / "outbox.db", {"cmd": "status"})
                    if found["baselines"]["saved_ms"] is not None:
                        break
                    await asyncio.sleep(0.05)
            assert found["scoring"]["machine"]["baseline"]["state"] == "follows"
            # As a person types it.
            said = await asyncio.to_thread(
                main, ["model", "suspend", str(path), "machine", "--why", "new bearing", "--json"]
            )
            process.kill()
            await process.wait()
        assert said == 0
        entry = json.loads(capsys.readouterr().out)
        assert entry["who"] == user(os.getuid()) and entry["why"] == "new bearing" and entry["until_ms"] is None
        registers[2] = 40  # had it begun to learn anew, that would be its normal
        async with _at_work(path, monkeypatch) as gateway:
            found = await until(gateway, state("suspended"))
            assert found["maintenance"]["why"] == "new bearing" and found["suspended"]["why"] == "maintenance"
            assert found["baseline"]["learnt_rows"] == found["baseline"]["own_rows"] == 5
            text = "\n".join((await gateway.status())["problems"])
            assert f"asset machine: suspended by {user(os.getuid())} without an end" in text
            assert (await told(gateway, "resume"))["result"] == "done"
            await until(gateway, state("frozen"))
            assert "is not suspended by a person" in (await told(gateway, "resume"))["error"]
            small.write(tmp_path / "m.onnx", replace(MANIFEST, version="2"))
            assert "done" in await gateway.answer({"cmd": "reload"})
            await until(gateway, state("follows"))
            await shown(gateway, "machine/score", pytest.approx(0.0, abs=0.1))
    assert [entry["result"] for entry in record(path)] == ["done", "done", "refused"]


async def test_a_damaged_file_is_told_and_ignored_and_a_disk_that_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.baselines.SAVE_S", 0.1)
    monkeypatch.setattr("gateway.baselines.TICK_S", 0.05)
    small.write(tmp_path / "m.onnx", MANIFEST)
    kept = baselines_path(tmp_path / "outbox.db")
    registers = [0x3FC0, 0, 7, 90, 1, 1]
    async with modbus_device(registers) as port:
        path = site_at(tmp_path, port, "kind: machine")
        kept.write_text('{"format": 1, "sha256": "0", "content": "{}"}')
        async with _at_work(path, monkeypatch) as gateway:
            status = await gateway.status()
            assert "cannot be used (damaged): every baseline begins anew" in status["baselines"]["ignored"]
            assert "baselines: " in status_text(status)
            await until(gateway, state("follows"))
            async with asyncio.timeout(60):
                while (await gateway.status())["baselines"]["saved_ms"] is None:
                    await asyncio.sleep(0.02)
            assert (await told(gateway, "suspend", for_s=0.2))["until_ms"] is not None
            await until(gateway, state("suspended"))
            found = await until(gateway, lambda found: "maintenance" not in found)
            await until(gateway, state("follows"))
            assert "must be above 0 seconds" in (await told(gateway, "suspend", for_s=-1))["error"]
            assert "commands are suspend, resume, accept and overhaul" in (await told(gateway, "learn"))["error"]
            assert "scored are: machine" in (await told(gateway, "accept", asset="press"))["error"]
            kept.unlink()
            kept.mkdir()  # nothing can take its place
            registers[2] = 8  # something to learn
            async with asyncio.timeout(60):
                while not (found := await gateway.status())["baselines"]["trouble"]:
                    await asyncio.sleep(0.02)
            assert any(problem.startswith("baselines: ") for problem in found["problems"])
            kept.rmdir()
            async with asyncio.timeout(60):
                while (await gateway.status())["baselines"]["trouble"]:
                    await asyncio.sleep(0.02)
    assert kept.is_file()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 9}', "\x00\x01"])
def test_no_file_that_is_not_ours_is_believed(content: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(content)
    baselines = Baselines(path, Scorers((), ()), lambda: 0)
    baselines.restore()
    assert str(path) in baselines.ignored


def test_the_condition_is_read_for_every_kind_of_tag(tmp_path: Path) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)

    def runs(text: str) -> RunningSpec | None:
        return load_site(site_at(tmp_path, 1, text)).assets[0].running

    assert runs("kind: machine") is None
    assert runs("running: {tag: speed, above: 50, settle_s: 30}") == RunningSpec("pump", "speed", 50.0, (), 30.0)
    assert runs("running: {tag: pump/speed, above: 0}") == RunningSpec("pump", "speed", 0.0)
    assert runs("running: {tag: mode, states: [run, idle]}") == RunningSpec("pump", "mode", None, ("run", "idle"))
    assert runs("running: {tag: word/runs}") == RunningSpec("pump", "word/runs")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("running: {tag: sped, above: 5}", "running.tag: no tag of the asset, and no device/tag of this site"),
        ("running: {tag: speed}", "running.above: is missing: above which value of speed the asset runs"),
        ("running: {tag: speed, above: 5, states: [run]}", "running.states: tag speed has no states"),
        ("running: {tag: mode}", "running.states: is missing: in which states of mode the asset runs (there are off,"),
        ("running: {tag: mode, states: [rum]}", "running.states.0: tag mode has no such state"),
        ("running: {tag: mode, states: [run], above: 1}", "running.above: tag mode is a text; give states instead"),
        ("running: {tag: word}", "running.tag: is a field of bits; name one of them: word/runs, word/hot"),
        ("running: {tag: word/runs, above: 0}", "running.above: tag word/runs is a bool"),
        ("running: {tag: speed, above: 5, settle_s: -1}", "running.settle_s: "),
    ],
)
def test_faults_of_the_condition_are_told_with_their_line(text: str, problem: str, tmp_path: Path) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    path = site_at(tmp_path, 1, text)
    with pytest.raises(ConfigError) as fault:
        load_site(path)
    (said,) = fault.value.problems
    assert said.startswith(f"{path}:18: assets.0.{problem}")


def test_two_tags_of_the_name_and_an_asset_without_a_model_are_told(tmp_path: Path) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    path = site_at(tmp_path, 1)
    text = path.read_text()
    other = "  - {id: fan, line: a, unit_id: 2, tags: [{name: speed, table: holding, address: 0}]}\nassets:"
    path.write_text(text.replace("assets:", other).replace("[pump]", "[pump, fan]"))
    with pytest.raises(ConfigError, match="more than one tag of the asset has this name; write device/tag"):
        load_site(path)
    path.write_text(text.replace("model: m.onnx, ", ""))
    with pytest.raises(ConfigError, match="only an asset with a model has running"):
        load_site(path)


BASELINE = {"state": "follows", "learnt_rows": 5, "own_rows": 5, "drift": {}, "notices": []}
ON = {"state": "on", "problem": "", "baseline": BASELINE}
HELD = {"who": "ann", "why": "bearing", "since_ms": 0, "until_ms": None}


def notice(kind: str, amount: float) -> dict[str, Any]:
    return {"kind": kind, "tag": "flow", "amount": amount, "unit": "m3/h"}


@pytest.mark.parametrize(
    ("scoring", "problem", "line"),
    [
        (
            {"baseline": BASELINE | {"notices": [notice("drift", -12.0)]}},
            "what is normal for flow has fallen by 12 m3/h since it was learnt or accepted; look at the machine",
            "  notice: what is normal for flow has fallen by 12 m3/h",
        ),
        (
            {"baseline": BASELINE | {"notices": [notice("not of its class", 3.0)]}},
            "flow lies 3 m3/h away from what its class of machines has; look at the machine",
            "  baseline: own, of 5 rows; follows the machine",
        ),
        (
            {"baseline": BASELINE | {"state": "frozen"}, "alarm": {"since_ms": 0, "for_s": 7200.0}},
            "in alarm for 2.0 h, and nothing is learnt meanwhile",
            "frozen in alarm: nothing is learnt",
        ),
        (
            {"running": {"state": "runs", "tag": "pump/speed", "bad": True, "since_ms": 0}},
            "whether it runs is not known, pump/speed is BAD; it counts as runs as before",
            "  pump/speed says: runs since ",
        ),
        (
            {"maintenance": HELD, "baseline": BASELINE | {"state": "suspended", "learnt_rows": 2}},
            "suspended by ann without an end; when maintenance is over: `gaugeline gateway model resume SITE press`",
            "  baseline: learning its own centre, 2 of 5 rows; suspended",
        ),
    ],
)
def test_what_a_person_has_to_decide_is_a_problem(scoring: dict[str, Any], problem: str, line: str) -> None:
    status = sound()
    status["scoring"]["press"] = ON | scoring
    (said,) = problems(status)
    assert said.startswith(f"asset press: {problem}")
    assert line in status_text(status, 60_000)


def test_what_only_takes_time_is_shown_and_is_no_problem() -> None:
    status = sound()
    status["scoring"]["press"] = ON | {
        "baseline": BASELINE | {"state": "learning", "learnt_rows": 2},
        "maintenance": HELD | {"until_ms": 7_260_000},
        "suspended": {"why": "maintenance", "since_ms": 0},
        "alarm": {"since_ms": 0, "for_s": 10.0},
    }
    assert problems(status) == []
    text = status_text(status, 60_000)
    assert "  baseline: learning its own centre, 2 of 5 rows" in text
    assert "for 2 h more: bearing" in text and "  in alarm since " in text
    status["scoring"]["press"] = ON | {"baseline": BASELINE | {"state": "relearning", "own_rows": 0, "learnt_rows": 0}}
    assert "baseline: the model's; comes after the machine after an alarm" in status_text(status, 60_000)


async def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write(tmp_path / "m.onnx", MANIFEST)
    path = site_at(tmp_path, 1)
    answers: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []

    async def answer(command: dict[str, Any]) -> dict[str, Any]:
        asked.append(command)
        return answers.pop(0)

    async def typed(*words: str) -> int:
        return await asyncio.to_thread(main, ["model", words[0], str(path), *words[1:]])

    assert await typed("accept", "machine") == 1
    assert "no gateway answers at" in capsys.readouterr().err
    async with listening(load_site(path).outbox.path, answer):
        answers[:] = [{"result": "done", "until_ms": 0}, {"result": "done", "until_ms": None}]
        assert await typed("suspend", "machine", "--for", "1.5h") == 0
        assert await typed("suspend", "machine") == 0
        answers[:] = [{"result": "done"}, {"result": "done"}, {"error": "not now"}]
        assert [await typed("resume", "machine"), await typed("accept", "machine")] == [0, 0]
        assert await typed("accept", "machine") == 1
    out, err = capsys.readouterr()
    first, *others = out.splitlines()
    assert first.startswith("machine: suspended until 19")
    assert others == [
        "machine: suspended until `gaugeline gateway model resume`",
        "machine: resumed; the warm-up begins anew",
        "machine: the level of now is normal; the warm-up begins anew",
    ]
    assert err == "error: not now\n"
    assert asked[0]["for_s"] == 5400.0 and asked[1]["for_s"] is None
    with pytest.raises(SystemExit):
        main(["model", "suspend", str(path), "machine", "--for", "soon"])
    assert "must be a time such as 90s, 30min, 2h or 1d" in capsys.readouterr().err


async def test_a_save_that_is_cancelled_is_ended_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, begun, go_on = tmp_path / "kept.json", threading.Event(), threading.Event()
    order: list[str] = []
    small.write(tmp_path / "m.onnx", MANIFEST)
    site = load_site(site_at(tmp_path, 1))

    def slow(where: Path, text: str) -> None:
        begun.set()
        go_on.wait(60)
        order.append(text)
        write_kept(where, text)

    baselines = Baselines(path, Scorers(site.assets, site.lines), lambda: 5)
    baselines.restore()
    monkeypatch.setattr("gateway.baselines._write", slow)
    first = asyncio.create_task(baselines.save())
    assert await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    await asyncio.wait([first])
    last = asyncio.create_task(baselines.save())
    await asyncio.sleep(0)
    assert order == [] and first.cancelled()
    go_on.set()
    await last
    assert len(order) == 2 and baselines.saved_ms == 5
    again = Baselines(path, Scorers(site.assets, site.lines), lambda: 6)
    again.restore()
    assert again.ignored == ""
