"""Retention as a person meets it: commands, a running host, a real broker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.api import problems, retention
from cloud.cli import main
from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row
from tests.servers import Mosquitto
from wire.ids import NodeId
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw-1")
TAGS = (
    Tag("flow", "pump-1", Datatype.DOUBLE, "m3/h"),
    Tag("vibration_x", "pump-1", Datatype.DOUBLE, "mm/s"),
    Tag("energy", "meter", Datatype.DOUBLE, "kW.h", measures="energy"),
)
SETTINGS = """\
broker: {broker}
archive: {{path: archive, after_days: 2}}
retention:
  hot_days: 400
  classes:
    - {{name: vibration, tags: ["*/vibration_*"], hot_days: 30}}
    - {{name: energy, measures: [energy, power], hot_days: forever}}
"""
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def hosts() -> Iterator[list[HostProcess]]:
    """Hosts that are ended with the test, also when it fails."""
    found: list[HostProcess] = []
    yield found
    for host in found:
        if host.process is not None and host.process.poll() is None:
            host.kill()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


async def deliver(port: int) -> None:
    async with SmallGateway(NODE, TAGS).connected(port) as gw:
        for i in range(20):
            ts_ms = T0 + 1000 * i
            await gw.publish(gw.put("pump-1", [row(ts_ms, i / 7), row(ts_ms, i, "vibration_x")]))
            await gw.publish(gw.put("meter", [row(ts_ms, 100.0 + i, "energy")]))
        await gw.drain()
        await gw.say_counters()


def test_a_host_removes_what_is_archived_and_says_what_it_removed(
    tmp_path: Path, mosquitto: Mosquitto, said: Said, hosts: list[HostProcess]
) -> None:
    (tmp_path / "cloud.yaml").write_text(SETTINGS.format(broker=mosquitto.url))
    options = ["--config", str(tmp_path / "cloud.yaml"), "--store", "duckdb:s.duckdb", "--state", "s.db"]
    host = HostProcess(tmp_path, options)
    hosts.append(host)
    host.start()
    url = ("--url", host.url)
    asyncio.run(deliver(mosquitto.port))

    while json.loads(said("retention", "plan", "--json", *url)[1])["rows"] < 40:
        time.sleep(0.1)  # until the births are written down, nobody knows what a tag measures: it stays
    code, text = said("retention", "plan", *url)
    assert (code, "40 samples are due, 40 of them are held back" in text) == (0, True), text
    assert "plant  2023-11-14  vibration  30 days   20       " in text
    code, text = said("retention", "run", *url)
    assert (code, text.count("samples stay: it is not archived as it is now")) == (1, 2)
    assert any("not everything that is due is removed" in p for p in json.loads(host.get("/api/stats"))["problems"])

    assert said("archive", "run", *url)[0] == 0
    found = json.loads(said("retention", "plan", "--json", *url)[1])
    assert (found["rows"], [d["class"] for d in found["days"]]) == (40, ["default", "vibration"])
    assert all(d["bytes"] > 0 and not d["held"] for d in found["days"])
    code, text = said("retention", "run", *url)
    assert (code, "plant 2023-11-14 vibration: 20 samples removed" in text) == (0, True), text
    for what in ("plan", "run"):
        nothing = "nothing is due: no sample is older than its class is kept\n"
        assert said("retention", what, *url) == (0, nothing)
    code, text = said("retention", "status", *url)
    assert "default 400 days, vibration" not in text
    assert "vibration 30 days, energy for ever, default 400 days; removed is only what the archive has" in text
    assert "40 samples are removed" in text
    told = json.loads(said("retention", "status", "--json", *url)[1])
    assert (told["removed"], told["sites"], len(told["devices"])) == (40, {"plant": 40}, 2)
    assert json.loads(host.get("/api/stats"))["counters"]["samples_removed"] == 40
    code, text = said("audit", *url)
    assert (code, "Of the stored ones retention has removed 40." in text) == (0, True), text

    code, text = said("archive", "restore", "--site", "plant", "--day", "2023-11-14", *url)
    assert (code, "40 samples restored, 20 were in the store" in text) == (0, True), text
    code, text = said("retention", "run", *url)
    assert (code, text.count("was restored from the archive")) == (0, 2)
    host.kill()
    host.start()
    code, text = said("audit", *url)
    assert (code, "retention has removed" in text) == (0, False), text
    assert json.loads(said("retention", "run", "--json", *url)[1])["rows"] == 0
    assert host.stop() == 0
    assert "Traceback" not in host.log


def test_a_host_without_retention_says_how_to_have_it() -> None:
    app = FastAPI()
    problems.add(app)
    app.include_router(retention.router(None), prefix="/api")
    client = TestClient(app)
    for answer in (client.get("/api/retention"), client.get("/api/retention/plan"), client.post("/api/retention/run")):
        assert answer.status_code == 409
        assert "this host removes nothing: write `retention: {hot_days: 400}`" in answer.json()["detail"]
