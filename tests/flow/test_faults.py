"""From simulated devices to two real databases, through kills of everything on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from firmware_sim.demo.witness import compare_all
from tests.flow.plant import Plant, now_ms
from tests.flow.stalls import Stalls
from tests.servers import InfluxDB

COMMIT_MS, PERIOD_MS = 250, 100
# A commit is not free: the window closes, then SQLite writes and syncs. What that took is measured by the gateway;
# this is the allowance where the killed process can no longer be asked, beside what the machine itself stood still.
SYNC_MS, STALLS = 150, 5


@pytest.fixture
def plant(tmp_path: Path, influxdb: InfluxDB) -> Iterator[Plant]:
    stores = {
        "duck": f"duckdb:{tmp_path / 'samples.duckdb'}",
        "influx": f"influxdb+v1://127.0.0.1:{influxdb.port}/flow_{uuid4().hex[:8]}",
    }
    found = Plant(tmp_path, stores)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def test_nothing_is_lost_or_doubled_through_kills_of_gateway_broker_and_collectors(plant: Plant) -> None:
    plant.wait_stored(200)

    kills = []
    with Stalls(plant.folder) as machine:
        for _ in range(2):
            time.sleep(2.0)
            kills.append(plant.kill_gateway())
            plant.gateway.start()
            time.sleep(2.0)

    plant.broker.stop()
    time.sleep(4.0)
    plant.broker.start()

    for host in plant.hosts.values():
        host.kill()
    time.sleep(1.0)
    for host in plant.hosts.values():
        host.start()
    stored = {name: host.api.balance()["stored"] for name, host in plant.hosts.items()}
    for name, count in stored.items():
        plant.wait_stored(count + 100, [name])
    time.sleep(2.0)

    assert plant.gateway.end(60) == 0, plant.gateway.last_words(20)
    outbox = plant.outbox()["devices"]
    produced = {device: counters["produced"] for device, counters in outbox.items()}
    rows = {name: host.rows(plant.started_ms, now_ms() + 60_000) for name, host in plant.hosts.items()}

    for name, host in plant.hosts.items():
        balance = host.api.balance()
        assert balance["lost"] == 0, (name, balance)
        counted = {d.rpartition("/")[2]: e["produced"] for d, e in balance["devices"].items()}
        assert {device: n for device, n in counted.items() if n} == produced
        out = ("dead_letters", "dropped", "in_flight", "collided")
        assert [balance[x] for x in out] == [0, 0, 0, 0], (name, balance)
        assert balance["stored"] == sum(produced.values())
        assert balance["stored"] == sum(len(r) for r in rows[name].values()), "audit and rows disagree"
        doubled = [key for key, r in rows[name].items() if len({t for t, _, _ in r}) != len(r)]
        assert not doubled, f"{name}: samples stored twice in {doubled}"
        gaps = host.api.get("/api/records", kind="gap")
        assert [gap["reason"] for gap in gaps] == ["killed"] * len(kills)
        assert balance["gaps"] == len(kills)

    assert rows["duck"] == rows["influx"]

    served = plant.truth()
    simulated = {device for device, _ in served}
    compared = compare_all(
        served, [(d, t, [(ts, v) for ts, v, _ in r]) for (d, t), r in rows["duck"].items() if d in simulated]
    )
    assert compared.checked > 100
    assert compared.wrong == 0, compared.examples

    stamps = [t for t, v, _ in rows["duck"]["machine-plc", "temperature"] if v is not None]
    answers = [t for t, _ in served["machine-plc", "temperature"]]
    for killed_ms in kills:
        last_answer = max(t for t in answers if t <= killed_ms)
        last_stored = max(t for t in stamps if t <= killed_ms)
        lost_ms = last_answer - last_stored
        allowed_ms = COMMIT_MS + PERIOD_MS + SYNC_MS + STALLS * machine.longest_ms
        assert lost_ms <= allowed_ms, f"{lost_ms} ms of answers before the kill are lost, allowed were {allowed_ms:.0f}"
