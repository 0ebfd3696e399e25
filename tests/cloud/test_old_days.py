"""An old day's way through a running host: stored, archived, removed, late, forgotten, restored; with kills."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cloud.cli import main
from cloud.store.port import Aggregate
from cloud.store.whole_rows import DAY_MS
from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row
from tests.contract.rolling import brute, same
from tests.servers import InfluxDB, Mosquitto
from wire.block import Sample
from wire.ids import NodeId
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw-1")
DAY = T0 // DAY_MS * DAY_MS
NEXT = DAY + DAY_MS
MINUTE, QUARTER, HOUR = 60_000, 900_000, 3_600_000
SETTINGS = "broker: {broker}\nretention:\n  hot_days: 400\n{more}"


@dataclass
class Plant:
    """A host process with its database, one gateway that says what it counts, and all that this ever sent."""

    host: HostProcess
    broker: Mosquitto
    capsys: pytest.CaptureFixture[str]
    gateway: SmallGateway = field(default_factory=lambda: SmallGateway(NODE, (Tag("flow", "pump-1", Datatype.DOUBLE),)))
    sent: list[Sample] = field(default_factory=list)

    def settings(self, more: str) -> None:
        (self.host.folder / "cloud.yaml").write_text(SETTINGS.format(broker=self.broker.url, more=more))

    def start(self) -> None:
        self.host.start()
        for _ in range(600):
            try:
                if json.loads(self.host.get("/api/rollups"))["problem"] == "" and self.aggregates(HOUR) is not None:
                    return
            except urllib.error.HTTPError as fault:
                assert fault.code == 503, fault.read()
            time.sleep(0.05)
        raise AssertionError(self.host.log)

    def killed(self) -> None:
        self.host.kill()
        self.start()

    def deliver(self, samples: Sequence[Sample]) -> None:
        """Until all of it is confirmed."""

        async def work() -> None:
            self.gateway.bd_seq += 1
            async with self.gateway.connected(self.broker.port) as gw:
                for i in range(0, len(samples), 100):
                    await gw.publish(gw.put("pump-1", samples[i : i + 100]), historical=True)
                await gw.drain()
                await gw.say_counters()
                await asyncio.sleep(0.1)

        asyncio.run(work())
        self.sent += samples

    def told(self, *words: str, code: int = 0) -> str:
        self.capsys.readouterr()
        found = main([*words, "--url", self.host.url])
        said = self.capsys.readouterr()
        assert found == code, said
        return said.out

    def asked(self, path: str, **more: int) -> Any:
        times = {"from_ms": DAY, "to_ms": NEXT, **more}
        words = "&".join(f"{k}={v}" for k, v in times.items())
        return json.loads(self.host.get(f"/api/{path}?group=plant&node=gw-1&device=pump-1&tag=flow&{words}"))

    def aggregates(self, step_ms: int) -> list[Aggregate]:
        found = self.asked("aggregates", step_s=step_ms // 1000)["windows"]
        names = ("start_ms", "count", "num", "good", "mean", "min", "max", "last")
        return [Aggregate(*(one[name] for name in names)) for one in found]

    def is_right(self, *steps_ms: int) -> bool:
        """The day is what brute force over all that was ever sent says."""
        return all(same(self.aggregates(step), brute(self.sent, step)) for step in steps_ms)

    def balanced(self, removed: int) -> bool:
        """The audit finds everything, and so many of it removed."""
        found = json.loads(self.host.get("/api/balance"))
        if found["produced"] != len(self.sent):  # its counters were not written down yet when the host was killed
            self.deliver([])
        for _ in range(200):
            found = json.loads(self.host.get("/api/balance"))
            if found["produced"] == len(self.sent):
                break
            time.sleep(0.1)
        assert found["ok"], found
        assert (found["stored"], found["lost"], found["removed"]) == (len(self.sent), 0, removed), found
        assert (f"retention has removed {removed:,}" in self.told("audit")) == bool(removed)
        return True

    def removes(self) -> int:
        found = json.loads(self.told("retention", "run", "--json"))
        assert (found["problems"], found["held"]) == ([], [])
        return int(found["rows"])


@pytest.fixture(params=["duckdb", "influxdb"])
def plant(
    request: pytest.FixtureRequest, tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> Iterator[Plant]:
    store = "duckdb:s.duckdb"
    if request.param == "influxdb":
        server: InfluxDB = request.getfixturevalue("influxdb")
        store = f"influxdb+v1://127.0.0.1:{server.port}/db-{uuid4().hex}"
    options = ["--config", str(tmp_path / "cloud.yaml"), "--store", store, "--state", "s.db"]
    host = HostProcess(tmp_path, options)
    yield Plant(host, mosquitto, capsys)
    if host.process is not None and host.process.poll() is None:
        host.kill()


def day(n: int, first_ms: int, every_ms: int) -> list[Sample]:
    return [row(first_ms + i * every_ms, float((7 * i) % 101) - 30.0) for i in range(n)]


def test_an_old_day_stays_what_it_was_whatever_becomes_of_its_rows_and_whenever_the_host_is_killed(
    plant: Plant,
) -> None:
    archive = "archive: {path: archive, after_days: 2}\n"
    plant.settings(archive)
    plant.start()
    plant.deliver(day(900, DAY, 20_000))
    assert plant.is_right(MINUTE, QUARTER, HOUR)
    assert plant.balanced(0)
    plant.told("archive", "run")
    assert plant.removes() == 900
    chart = plant.asked("series", points=1_000)
    assert chart["source"] == "1m"
    assert plant.is_right(MINUTE, QUARTER, HOUR)
    assert plant.balanced(900)
    plant.killed()
    assert plant.asked("series", points=1_000) == chart
    assert plant.is_right(MINUTE, QUARTER, HOUR)
    assert plant.balanced(900)

    # Late data: between, before and behind what is there.
    plant.deliver([row(DAY + 7_000, 500.0), row(DAY + 3 * HOUR + 5, -500.0), row(NEXT - 1, 11.0)])
    plant.killed()  # its windows may be made or not
    assert plant.balanced(900)
    plant.told("archive", "run")
    plant.killed()
    assert plant.removes() == 3
    assert plant.is_right(MINUTE, QUARTER, HOUR)
    assert plant.balanced(903)
    chart = plant.asked("series", points=1_000)
    assert (chart["source"], min(chart["v"]), max(chart["v"])) == ("1m", -500.0, 500.0)

    # Minutes are forgotten.
    plant.host.kill()
    plant.settings("  rollups: {1m: 400}\n" + archive)
    plant.start()
    assert plant.removes() == 0
    assert plant.aggregates(MINUTE) == []
    chart = plant.asked("series", points=1_000)
    assert (chart["source"], min(chart["v"]), max(chart["v"])) == ("15m", -500.0, 500.0)
    assert plant.is_right(QUARTER, HOUR)

    # Late data again: its quarter is made of all its rows, not of the minute that is there now.
    plant.deliver([row(DAY + HOUR + 1, 777.0)])
    plant.killed()
    plant.told("archive", "run")
    assert plant.removes() == 1
    assert plant.is_right(QUARTER, HOUR)
    assert plant.balanced(904)

    # The rows come back.
    assert "904 samples restored" in plant.told("archive", "restore", "--site", "plant", "--day", "2023-11-14")
    assert plant.balanced(0)
    plant.told("rollup", "--from", "2023-11-14T00:00", "--to", "2023-11-15T00:00")
    assert plant.is_right(QUARTER, HOUR)
    assert plant.asked("series", points=1_000)["source"] == "15m"
    plant.killed()
    assert plant.is_right(QUARTER, HOUR)
    assert plant.balanced(0)
    assert json.loads(plant.told("retention", "run", "--json"))["rows"] == 0, "a restored day stays for a week"
    assert plant.host.stop() == 0
    assert "Traceback" not in plant.host.log


def test_without_an_archive_the_roll_ups_of_a_removed_day_are_all_that_is_left_of_it(plant: Plant) -> None:
    plant.settings("  archive_first: false\n")
    plant.start()
    plant.deliver(day(300, DAY, 20_000))
    assert plant.removes() == 300, "its roll-ups are made first"
    assert plant.is_right(MINUTE, QUARTER, HOUR)
    assert plant.balanced(300)
    first = [*plant.sent]
    plant.deliver([row(DAY + 7_000, 500.0)])
    plant.killed()
    assert plant.removes() == 1
    assert json.loads(plant.host.get("/api/stats"))["counters"]["rollup_windows_left"] >= 1
    for step in (MINUTE, QUARTER, HOUR):
        assert same(plant.aggregates(step), brute(first, step))
    assert plant.balanced(301)
    assert plant.host.stop() == 0
    assert "Traceback" not in plant.host.log
