"""A changed site.yaml under a running gateway: what changed restarts, the rest and the outbox stay as they are."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.score import Scorers
from agent.spec import AssetSpec
from gateway.app import Gateway
from gateway.births import Latest
from gateway.config import load_site
from gateway.outbox.store import Outbox
from gateway.reload import checked, difference
from gateway.status import ask
from models.runtime import resolve
from tests.gateway.field import PUMP, block, modbus_device
from tests.gateway.host import host
from tests.gateway.test_cli import output, running
from tests.servers import Mosquitto
from wire.errors import ConfigError, StoreFull

FLOW = "{name: flow, table: holding, address: 0, type: float32, unit: m3/h}"
COUNT = "{name: count, table: holding, address: 2, type: uint16}"


def site_at(folder: Path, broker: str, ports: tuple[int, int], fan: str = f"[{COUNT}]", more: str = "") -> Path:
    path = folder / "site.yaml"
    path.write_text(
        f"""group: plant
gateway: gw
broker: {broker}
outbox: {{path: outbox.db, commit_ms: 50, max_mb: 20}}
lines:
  - {{name: a, driver: modbus-tcp, host: 127.0.0.1, port: {ports[0]}, timeout_s: 0.3}}
  - {{name: b, driver: modbus-tcp, host: 127.0.0.1, port: {ports[1]}, timeout_s: 0.3, silent_polls: 1}}
devices:
  - {{id: pump, line: a, period_s: 0.05, tags: [{FLOW}]}}
  - {{id: fan, line: b, period_s: 0.05, tags: {fan}}}
{more}"""
    )
    return path


def told(change: str) -> list[tuple[int, str]]:
    """What `reload` may say. On a busy machine the gateway has seen the change of the file before it is asked."""
    return [(0, f"reloaded: {change}\n"), (0, "reloaded: no line changed\n")]


async def status(site: Path) -> dict[str, Any]:
    return await ask(site.parent / "outbox.db", {"cmd": "status"})


async def until(site: Path, true: Callable[[dict[str, Any]], bool], at_most_s: float = 60.0) -> dict[str, Any]:
    async with asyncio.timeout(at_most_s):
        while not true(found := await status(site)):
            await asyncio.sleep(0.05)
    return found


async def test_only_the_line_that_changed_restarts_and_the_births_follow(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as a, modbus_device([0x3FC0, 0, 7]) as b, host(mosquitto.port) as h:
        site = site_at(tmp_path, mosquitto.url, (a, b))
        async with running(site) as process:
            await h.until(lambda: {d for d, _, _ in h.rows} == {"pump", "fan"})
            before = await status(site)
            # count was 16 bits wide; the host does not confirm what is still under way.
            h.confirm = False
            await asyncio.sleep(0.3)
            site_at(tmp_path, mosquitto.url, (a, b), f"[{COUNT.replace('uint16', 'int16')}, {FLOW}]")
            code, out, err = await output("reload", str(site))
            assert (code, out) in told("changed lines: b"), err
            await h.until(lambda: len(h.of("DBIRTH", "fan")) > len(h.of("NBIRTH")) - 1 and len(h.of("NBIRTH")) > 1)
            names = [m.name for m in h.of("DBIRTH", "fan")[-1].payload.metrics]
            (old,) = [name for name in names if name is not None and name.startswith("count@")]
            assert {"count", "flow", old} <= set(names)
            h.confirm = True
            await h.until(lambda: any(d == "fan" and n == "flow" for d, n, _ in h.rows))
            after = await until(site, lambda s: s["outbox"]["pending_batches"] < 5)
            assert after["epoch"] == before["epoch"]
            assert after["lines"]["a"]["reconnects"] == before["lines"]["a"]["reconnects"] == 0
            assert after["lines"]["a"]["polls"] > before["lines"]["a"]["polls"]
            assert after["config"]["reloads"] == 1 and after["config"]["error"] == ""
            assert h.doubles == []
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        produced = sum(d["produced"] for d in after["devices"].values())
        assert sum(samples for _, samples in h.ledger.values()) >= produced > 0


async def test_lines_come_and_go_and_a_device_that_is_gone_says_ddeath(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as a, modbus_device([0x3FC0, 0, 7]) as b, host(mosquitto.port) as h:
        site = site_at(tmp_path, mosquitto.url, (a, b))
        text = site.read_text()
        async with running(site):
            await h.until(lambda: {d for d, _, _ in h.rows} == {"pump", "fan"})
            kept = [line for line in text.splitlines() if "name: b" not in line and "id: fan" not in line]
            site.write_text("\n".join(kept))
            code, out, err = await output("reload", str(site))
            assert (code, out) in told("removed lines: b"), err
            await h.until(lambda: bool(h.of("DDEATH", "fan")))
            assert set((await status(site))["lines"]) == {"a"}
            assert {r["device"] for r in (await ask(tmp_path / "outbox.db", {"cmd": "latest"}))["readings"]} == {"pump"}
            site.write_text(text)
            births = len(h.of("DBIRTH", "fan"))
            code, out, err = await output("reload", str(site))
            assert (code, out) in told("added lines: b"), err
            await h.until(lambda: len(h.of("DBIRTH", "fan")) > births)
            count = h.samples
            await h.until(lambda: h.samples > count + 10)


async def test_a_bad_file_keeps_the_old_configuration_and_says_why(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as a, modbus_device([0x3FC0, 0, 7]) as b, host(mosquitto.port) as h:
        site = site_at(tmp_path, mosquitto.url, (a, b))
        good = site.read_text()
        async with running(site) as process:
            await h.until(lambda: h.samples > 5)
            site.write_text(good.replace("period_s", "perod_s"))
            os.kill(process.pid, signal.SIGHUP)
            told = await until(site, lambda s: bool(s["config"]["error"]))
            assert f"{site}:9: devices.0.perod_s: unknown key" in told["config"]["error"]
            assert told["config"]["reloads"] == 0
            answer = await ask(tmp_path / "outbox.db", {"cmd": "reload"})
            assert len(answer["problems"]) == 2
            code, _, err = await output("reload", str(site))
            assert code == 1 and "unknown key" in err
            site.write_text(good.replace("commit_ms: 50", "commit_ms: 60"))
            code, _, err = await output("reload", str(site))
            assert code == 1 and "a change of outbox needs a restart" in err
            code, out, _ = await output("status", str(site))
            assert code == 1 and "site.yaml is not used as it is:" in out
            count = h.samples
            await h.until(lambda: h.samples > count + 10)
            # The file itself is noticed, without a signal.
            site.write_text(good.replace("id: fan, line: b, period_s: 0.05", "id: fan, line: b, period_s: 0.1"))
            told = await until(site, lambda s: s["config"]["reloads"] == 1)
            assert told["config"]["error"] == ""


async def test_a_device_that_was_lost_counts_as_alive_after_its_line_changed(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as a, modbus_device([0x3FC0, 0, 7]) as b, host(mosquitto.port) as h:
        site = site_at(tmp_path, mosquitto.url, (a, 1))
        async with running(site):
            await h.until(lambda: bool(h.of("DDEATH", "fan")))
            site_at(tmp_path, mosquitto.url, (a, b))
            assert (await output("reload", str(site)))[0] == 0
            await h.until(lambda: any(d == "fan" and v is not None for (d, _, _), (v, _) in h.rows.items()))
            born = h.heard.index(h.of("DBIRTH", "fan")[-1])
            assert born > h.heard.index(h.of("DDEATH", "fan")[-1])


async def test_nobody_to_reload_is_an_error(tmp_path: Path) -> None:
    site = site_at(tmp_path, "mqtt://127.0.0.1:1", (1, 2))
    code, _, err = await output("reload", str(site))
    assert code == 1 and "no gateway answers" in err


def test_what_needs_a_restart_and_what_does_not_plan_is_refused(tmp_path: Path) -> None:
    site = load_site(site_at(tmp_path, "mqtt://127.0.0.1:1", (1, 2)))
    assert str(difference(site, site)) == "no line changed"
    with pytest.raises(ConfigError, match="group or gateway, hosts"):
        difference(site, replace(site, node=site.node._replace(node="other"), hosts=("h",)))
    far = f"[{COUNT}]}}\n  - {{id: far, line: a, unit_id: 3, max_registers: 1, tags: [{FLOW}]"
    path = site_at(tmp_path, "mqtt://127.0.0.1:1", (1, 2), far)
    with pytest.raises(ConfigError, match=r"site.yaml: device far: .*needs 2 registers"):
        checked(path)


async def test_a_disk_that_refuses_leaves_the_old_lines_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as a, modbus_device([0x3FC0, 0, 7]) as b:
        path = site_at(tmp_path, "mqtt://127.0.0.1:1", (a, b))
        gateway, stop = Gateway(load_site(path)), asyncio.Event()
        await gateway.open()

        async def polls() -> int:
            return int((await gateway.status())["lines"]["b"]["polls"])

        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.run(stop, None))
            while not await polls():
                await asyncio.sleep(0.02)
            site_at(tmp_path, "mqtt://127.0.0.1:1", (a, b), f"[{COUNT}, {FLOW}]")

            async def full(_: Outbox, tags: object) -> None:
                raise StoreFull("no room")

            with monkeypatch.context() as patched:
                patched.setattr(Outbox, "register", full)
                assert (await gateway.answer({"cmd": "reload"}))["error"] == "no room"
            before = await polls()
            while await polls() < before + 3:
                await asyncio.sleep(0.02)
            assert [p.tag.name for d in gateway.site.devices for p in d.points] == ["flow", "count"]
            assert (await gateway.answer({"cmd": "reload"}))["done"] == "changed lines: b"
            assert [p.tag.name for d in gateway.site.devices for p in d.points] == ["flow", "count", "flow"]
            monkeypatch.setattr("gateway.app.DRAIN_S", 0.1)
            stop.set()
        assert (await gateway.answer({"cmd": "reload"}))["error"] == "the gateway stops"


async def test_a_plan_that_does_not_fit_its_line_is_not_taken(tmp_path: Path) -> None:
    path = site_at(tmp_path, "mqtt://127.0.0.1:1", (1, 2), f"[{COUNT}]")
    path.write_text(path.read_text().replace("silent_polls: 1", "turnaround_s: 0.2"))
    with pytest.raises(ConfigError, match=r"line b: 1 request: cycle 0.20 s of 0.05 s"):
        checked(path)


def test_values_of_tags_that_mean_something_else_are_forgotten() -> None:
    latest = Latest()
    latest.update(block(1000))
    flow, count = PUMP
    latest.keep({"pump": [flow, replace(count, unit="kg")]})
    assert latest.keys() == [("pump", "flow")]
    latest.keep({})
    assert latest.keys() == []


def test_a_scorer_whose_inputs_stay_goes_on_warm(tmp_path: Path) -> None:
    inputs = json.loads(_manifest())["inputs"]
    tags = [
        f"{{name: {i['name']}, table: holding, address: {2 * n}, type: float32, unit: '{i['unit']}'}}"
        for n, i in enumerate(inputs)
    ]
    path = site_at(tmp_path, "mqtt://127.0.0.1:1", (1, 2), f"[{', '.join(tags)}]")
    site = load_site(path)
    period = replace(site, lines=tuple(_at_pace(line) for line in site.lines))
    asset = AssetSpec(
        "machine", tags=tuple(("fan", i["name"]) for i in inputs), model=resolve("demo_machine", tmp_path)
    )
    scorers = Scorers([asset], period.lines)
    assert scorers.problems() == []
    same = scorers.renewed([asset], period.lines)
    assert [id(s) for s in same._scorers] == [id(s) for s in scorers._scorers]
    renamed = scorers.renewed([replace(asset, name="other")], period.lines)
    assert [id(s) for s in renamed._scorers] != [id(s) for s in scorers._scorers]
    between = scorers.shared(renamed)
    assert [id(s) for s in between._scorers] == [id(s) for s in scorers._scorers], "nobody is without a score meanwhile"
    assert scorers.shared(scorers.renewed([], period.lines)).tags() == []
    scorers.adopt(scorers.renewed([], period.lines))
    assert scorers.tags() == []


def _at_pace(line: Any) -> Any:
    return replace(line, devices=tuple(replace(d, period_s=0.1) for d in line.devices))


def _manifest() -> str:
    from models.runtime import load

    manifest = load(resolve("demo_machine", Path())).manifest
    return json.dumps({"inputs": [{"name": i.name, "unit": i.unit} for i in manifest.inputs]})
