"""The broker is away for hours: 14.4 million samples wait and are drained; or more than the outbox has room for.

benchmarks.campaign.fill takes the samples, faster than time goes. From then on all is real: the gateway process with
that outbox, which samples 1,000 tags at 1 Hz meanwhile, mosquitto, the host with DuckDB.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.campaign.family import Family
from benchmarks.campaign.fill import value
from benchmarks.campaign.judge import BALANCED, Verdict, closing_problems, count_duckdb, kept_by_outbox
from benchmarks.campaign.plant import now_ms
from benchmarks.result import ROOT
from benchmarks.site_files import names, scenario, site
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, DemoError, free_port, gaugeline, wait_for_port
from tests.servers import Mosquitto

TAGS, PER_DEVICE = 1_000, 100
HOURS_4, SHORT_S = 14_400, 30
FULL_S, FULL_SHORT_S = 7_200, 120
NODE = ("bench", "gw")


class Outage:
    """The plant of one outage. filled: (device, tag number, second) -> value, in the database afterwards."""

    def __init__(self, folder: Path, seconds: int, max_mb: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.seconds, self.max_mb = folder, seconds, max_mb
        self.broker = Mosquitto(folder / "broker")
        self.api = HostApi(f"http://127.0.0.1:{free_port()}")
        self.site, self.outbox, self.samples = folder / "site.yaml", folder / "outbox.db", folder / "samples.duckdb"
        (folder / "scenario.yaml").write_text(scenario(TAGS, PER_DEVICE))
        self.simulator = Child("simulator", gaugeline("sim", "run", str(folder / "scenario.yaml")), folder, True)
        self.host = Child(
            "host",
            gaugeline(
                *("cloud", "run", "--broker", self.broker.url, "--store", f"duckdb:{self.samples}"),
                *("--state", str(folder / "state.db"), "--http", self.api.url.removeprefix("http://")),
            ),
            folder,
        )
        self.gateway = Child("gateway", gaugeline("gateway", "run", str(self.site)), folder)
        self.devices = [f"d{i}" for i in range(TAGS // PER_DEVICE)]
        self.begin_ms = now_ms() - 1000 * seconds - 60_000
        self.fill_s = self.drain_s = 0.0

    def run(self) -> None:
        """Fills, then drains to the last confirmation. Raises DemoError when a process ends by itself."""
        began = time.monotonic()
        tags = {device: names(PER_DEVICE) for device in self.devices}
        command = [sys.executable, "-m", "benchmarks.campaign.fill", str(self.outbox), "--tags", json.dumps(tags)]
        command += ["--node", *NODE, "--begin-ms", str(self.begin_ms), "--seconds", str(self.seconds)]
        command += ["--max-mb", str(self.max_mb)]
        with (self.folder / "fill.log").open("wb") as log:
            answer = subprocess.run(
                command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        if json.loads(answer.stdout)["committed"] != self.seconds * TAGS:
            raise DemoError(f"not all was committed: {answer.stdout!r}")
        self.fill_s, began = time.monotonic() - began, time.monotonic()
        self.broker.start()
        self.simulator.start()
        devices = json.loads(self.simulator.stdout.readline())["devices"]
        given = json.loads(site(devices, self.broker.port, None, PER_DEVICE))
        given["outbox"] = {"path": str(self.outbox), "max_mb": self.max_mb}
        self.site.write_text(json.dumps(given))
        self.host.start()
        wait_for_port(self.host, "127.0.0.1", int(self.api.url.rpartition(":")[2]), 60.0)
        self.api.wait_ready(self.host)
        self.gateway.start()
        self._drain(60.0 + self.seconds / 2)
        self.drain_s = time.monotonic() - began

    def _drain(self, at_most_s: float) -> None:
        """Until what waits is no more than a moment's samples; as the outbox itself says it, which judges nothing."""
        until = time.monotonic() + at_most_s
        while time.monotonic() < until:
            time.sleep(0.5 if self.seconds < FULL_S else 5.0)
            self.gateway.check()
            self.host.check()
            command = gaugeline("gateway", "status", str(self.site), "--json")
            answer = subprocess.run(
                command, capture_output=True, check=False, text=True, timeout=60, start_new_session=True
            )
            if answer.returncode == 0:
                said = json.loads(answer.stdout)
                if said["uplink"].get("sessions") and said["outbox"]["pending_batches"] < 3 * len(self.devices):
                    return

    def verdict(self) -> Verdict:
        """Stops gateway and host, and counts in their files."""
        code = self.gateway.end(20)
        command = gaugeline("cloud", "audit", "--json", "--url", self.api.url)
        audit = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=300, start_new_session=True
        )
        balance: dict[str, Any] = json.loads(audit.stdout)
        records = self.api.get("/api/records", timeout_s=60.0, kind="drop")
        self.host.end(15)
        verdict = Verdict(samples=self.seconds * TAGS)
        verdict.problems += [f"the gateway ended with {code}"] if code else []
        counted, (kept, waiting) = count_duckdb(self.samples), kept_by_outbox(self.outbox)
        dropped = sum(int(record["samples"]) for record in records)
        if counted.rows != counted.distinct:
            verdict.doubled = counted.rows - counted.distinct
        if not dropped:  # every batch is still kept: five counts must agree
            verdict.problems += closing_problems(counted, kept, waiting, audit.returncode, balance)
        elif audit.returncode or waiting:
            verdict.problems.append(
                f"{waiting} batches wait, the audit: { {name: balance[name] for name in BALANCED} }"
            )
        missing = self._missing(records)
        verdict.lost, verdict.drops = missing["unexplained"], missing["recorded"]
        for name in ("unexplained", "wrong"):
            if missing[name]:
                verdict.problems.append(f"{missing[name]} samples are {name}")
        # What was sent and stored, but dropped before its confirmation came, is on record and there after all.
        if missing["recorded"] + missing["recorded_but_there"] != dropped or balance["dropped"] != missing["recorded"]:
            verdict.problems.append(
                f"drop records say {dropped}, the audit {balance['dropped']}; of those on record {missing['recorded']}"
                f" are missing and {missing['recorded_but_there']} stored"
            )
        return verdict

    def _missing(self, records: list[dict[str, Any]]) -> dict[str, int]:
        """Every sample that was taken, looked for by name, stamp and value."""
        found = {"unexplained": 0, "recorded": 0, "wrong": 0, "recorded_but_there": 0}
        spans: dict[str, list[tuple[int, int]]] = {device: [] for device in self.devices}
        for record in records:
            if record["device"] in spans:
                spans[record["device"]].append((record["from_ms"], record["to_ms"]))
        end_ms = self.begin_ms + 1000 * self.seconds
        with duckdb.connect(str(self.samples), read_only=True) as db:
            for device in self.devices:
                for column, tag in enumerate(names(PER_DEVICE)):
                    rows = dict(
                        db.execute(
                            "SELECT ts_ms, value FROM samples JOIN series ON series.id = samples.series"
                            " WHERE device = ? AND tag = ? AND ts_ms >= ? AND ts_ms < ?",
                            [device, tag, self.begin_ms, end_ms],
                        ).fetchall()
                    )
                    for second in range(self.seconds):
                        ts_ms = self.begin_ms + 1000 * second
                        said = any(a <= ts_ms <= b for a, b in spans[device])
                        if ts_ms not in rows:
                            found["recorded" if said else "unexplained"] += 1
                        elif rows[ts_ms] != value(column, second):
                            found["wrong"] += 1
                        elif said:
                            found["recorded_but_there"] += 1
        return found

    def stop(self) -> None:
        for child in (self.gateway, self.host, self.simulator):
            child.end(15)
        self.broker.stop()


def _played(folder: Path, seconds: int, max_mb: float) -> Verdict:
    outage = Outage(folder, seconds, max_mb)
    try:
        outage.run()
        verdict = outage.verdict()
    finally:
        outage.stop()
    figures = {"samples": seconds * TAGS, "filled_s": round(outage.fill_s), "drained_s": round(outage.drain_s)}
    (folder / "outage.json").write_text(json.dumps(figures))
    verdict.notes |= figures
    return verdict


def _away(folder: Path, dice: random.Random, short: bool) -> Verdict:
    return _played(folder, SHORT_S if short else HOURS_4, 4000)


def _full(folder: Path, dice: random.Random, short: bool) -> Verdict:
    """1 MB of room: whole devices' minutes are dropped, and each of them must stand in a record."""
    return _played(folder, FULL_SHORT_S if short else FULL_S, 1.0 if short else 10.0)


FAMILIES = (
    Family("broker-away", 1, 1, "1,000 tags at 1 Hz for four hours without a broker, then drained", alone=_away),
    Family("outbox-full", 3, 1, "a longer outage than the outbox has room for", alone=_full),
)
