"""Roll-ups as a person meets them: commands and API of a running host, a restore from the archive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError

import pytest

from cloud.cli import main
from cloud.rollups import command
from cloud.store.port import Batch
from tests.cloud.archive.keeping import DAY, NOON, flow, keeping
from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row
from tests.servers import Mosquitto
from wire.ids import NodeId
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw-1")


async def deliver(port: int) -> None:
    gateway = SmallGateway(NODE, (Tag("flow", "pump-1", Datatype.DOUBLE, "m3/h"),), "e1", 0)
    async with gateway.connected(port) as gw:
        for i in range(20):
            await gw.publish(gw.put("pump-1", [row(T0 + 10_000 * i, float(i))]))
        await gw.drain()


def test_a_host_rolls_up_tells_how_far_it_is_and_does_it_again(
    tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    host = HostProcess(tmp_path, ["--broker", mosquitto.url, "--store", "duckdb:s.duckdb", "--state", "s.db"])
    host.start()
    try:
        asyncio.run(deliver(mosquitto.port))
        host.kill()  # before anything was rolled up
        host.start()
        url = ("--url", host.url)
        while main(["rollup", "--from", "2022-01-01", "--to", "2022-01-02", *url]):
            time.sleep(0.05)  # the store is being opened
        while (found := json.loads(host.get("/api/rollups")))["rows"] < 3 or found["hours_due"]:
            time.sleep(0.05)
        capsys.readouterr()
        assert main(["rollup", "--from", "2023-11-14T12:00Z", "--to", "2023-11-15T12:00Z", *url]) == 0
        said = capsys.readouterr().out
        assert "1 UTC day of sites computed anew\n" in said
        assert main(["rollup", "--json", *url]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["hours_due"], found["days_due"], found["problem"]) == (0, 0, "")
        assert found["rows"] >= 6
        assert main(["rollup", *url]) == 0
        assert "nothing is due" in capsys.readouterr().out
        assert json.loads(host.get("/api/stats"))["counters"]["rollup_rows"] == found["rows"]

        who = "group=plant&node=gw-1&device=pump-1&tag=flow"
        answer = json.loads(host.get(f"/api/aggregates?{who}&from_ms={T0}&to_ms={T0 + 200_000}&step_s=3600"))
        assert answer["step_ms"] == 3_600_000
        assert sum(w["count"] for w in answer["windows"]) == 20
        (window, *_) = answer["windows"]
        assert (window["min"], window["num"], window["good"]) == (0.0, window["count"], window["count"])
        chart = json.loads(host.get(f"/api/series?{who}&from_ms=0&to_ms={T0 + 10**10}&points=4"))
        assert (chart["source"], min(chart["v"]), max(chart["v"])) == ("15m", 0.0, 19.0)
        for wrong in ("step_s=0", "step_s=1&from_ms=0"):
            with pytest.raises(HTTPError) as refused:
                host.get(f"/api/aggregates?{who}&from_ms={T0}&to_ms={T0 + 1000}&{wrong}")
            assert refused.value.code == 422
        assert main(["rollup", "--from", "2024-01-01", "--to", "2023-01-01", *url]) == 2
        assert "must be later than from_ms" in capsys.readouterr().err
    finally:
        host.stop()


def test_what_is_due_and_what_is_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = {
        "hours_due": 3, "days_due": 2, "oldest_due_s": 7200, "rows": 9, "windows_left": 4, "problem": "the disk is full"
    }  # fmt: skip
    monkeypatch.setattr(command, "call", lambda *_args, **_more: {"days": 5, **busy})
    assert main(["rollup"]) == 1
    said = capsys.readouterr().out
    assert "PROBLEM: the disk is full" in said
    assert "due: 3 hours of devices, 2 days of sites; the oldest 120 minutes back" in said
    assert "4 windows left as they are" in said
    assert main(["rollup", "--from", "-2d"]) == 1
    assert "5 UTC days of sites to compute" in capsys.readouterr().out


async def test_what_is_restored_from_the_archive_is_marked_before_it_is_written(tmp_path: Path) -> None:
    async with keeping(tmp_path) as k:
        await k.write(flow(NOON, 1.0), flow(NOON + 5, 2.0))
        await k.run(DAY)
        await k.lose(DAY)
        marked: list[tuple[int, int]] = []

        async def about_to_write(batches: Sequence[Batch]) -> None:
            marked.append((sum(len(b.samples) for b in batches), len(await k.stored())))

        k.archiver.about_to_write = about_to_write
        assert (await k.restore(DAY)).results[0]["restored"] == 2
        assert marked == [(2, 0)]
