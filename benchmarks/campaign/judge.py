"""A round's verdict, and that of a whole plant at its end, where the databases' files are opened directly."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.campaign.plant import KEYS, LINE_OF, Plant, now_ms
from benchmarks.campaign.witness import LATEST_ANSWER_MS, Finding, find, unrecorded
from firmware_sim.demo.processes import DemoError, gaugeline

LOOK_S = 0.3
BALANCED = ("produced", "stored", "dead_letters", "dropped", "in_flight", "collided", "lost")


@dataclass(slots=True)
class Verdict:
    """What a round showed. drops: answers that are gone and on record, in samples. problems: empty when all held."""

    samples: int = 0
    lost: int = 0
    doubled: int = 0
    gap_ms: int = 0
    drops: int = 0
    problems: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def settle(plant: Plant, from_ms: int, timeout_s: float) -> tuple[Verdict, int]:
    """Waits until every answer since from_ms is stored or excused and the audit agrees; the verdict, and its end.

    When the time is over, what is missing then is lost.
    """
    mark, until = now_ms(), time.monotonic() + timeout_s
    while True:
        over = time.monotonic() > until
        try:
            verdict, fresh = _look(plant, from_ms, mark)
        except DemoError as fault:
            verdict, fresh = Verdict(problems=[f"the host does not answer: {fault}"]), False
        if fresh and not verdict.problems:
            plant.truth.forget(mark - LATEST_ANSWER_MS)
            return verdict, mark
        if over:
            if not fresh:
                verdict.problems.append(f"nothing that was taken after the fault is stored after {timeout_s:g} s")
            return verdict, mark
        time.sleep(LOOK_S)


def _look(plant: Plant, from_ms: int, mark: int) -> tuple[Verdict, bool]:
    rows = plant.rows(from_ms - 2 * LATEST_ANSWER_MS)
    plant.truth.read()  # after the rows: none of them can be of an answer that was not read
    kills = [kill for kill in plant.kills if kill.at_ms > from_ms]
    found = find(plant.truth.served, rows, from_ms, mark, kills, plant.stops)
    balance = plant.api.balance()
    gaps = plant.api.get("/api/records", kind="gap")
    killed = [gap for gap in gaps if gap["reason"] == "killed"]
    verdict = verdict_of(found, balance, plant.collisions_allowed)
    if not plant.gaps_due <= len(killed) <= plant.gaps_due + plant.gaps_more:
        verdict.problems.append(f"{plant.gaps_due} kills, but {len(killed)} gap records that say so")
    if missing := unrecorded(found.gone, killed, LINE_OF):
        verdict.problems.append(f"{missing} samples are gone before a kill and stand in no gap record")
    worst = max((kill.allowed_ms for kill in kills), default=0)
    if found.gap_ms > worst:
        verdict.problems.append(f"{found.gap_ms} ms of answers are gone before a kill, allowed are {worst}")
    fresh = all(key in rows and any(row.ts_ms > mark for row in rows[key]) for key in KEYS)
    return verdict, fresh


def verdict_of(found: Finding, balance: Mapping[str, Any], collisions_allowed: bool = False) -> Verdict:
    """The witness' finding and the audit's balance, which must agree that nothing is lost."""
    lost = found.lost
    if collisions_allowed:  # two gateways may stamp two answers alike: the second one is on record as collided
        lost = max(0, lost - int(balance["collided"]))
    verdict = Verdict(found.samples, lost, found.doubled, found.gap_ms, len(found.gone))
    verdict.notes |= {"bad_rows": found.bad} if found.bad else {}
    if lost:
        verdict.problems.append(f"{lost} samples are lost, the first {found.missing[:3]}")
    if found.doubled:
        verdict.problems.append(f"{found.doubled} samples are stored twice")
    if found.wrong:
        verdict.problems.append(f"{found.wrong} stored values were never served near their stamp")
    if not balance["ok"] or balance["lost"]:
        verdict.problems.append(f"the audit does not balance: { {name: balance[name] for name in BALANCED} }")
    return verdict


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of a database, counted by itself; distinct: different (device, tag, stamp)."""

    rows: int
    distinct: int


def count_duckdb(path: Path) -> Counted:
    """Of a file that no host has open."""
    with duckdb.connect(str(path), read_only=True) as db:
        (rows,) = db.execute("SELECT count(*) FROM samples").fetchone() or (0,)
        (distinct,) = db.execute("SELECT count(*) FROM (SELECT DISTINCT series, ts_ms FROM samples)").fetchone() or (0,)
    return Counted(int(rows), int(distinct))


def count_influx(port: int) -> Counted:
    """Straight from the server. It keeps one row of a stamp, so that a doubled one cannot be seen in it."""
    query = urllib.parse.urlencode({"db": "campaign", "q": 'SELECT count("quality") FROM "sample"'})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/query?{query}", timeout=60) as answer:
        [result] = json.load(answer)["results"]
    rows = int(result["series"][0]["values"][0][1])
    return Counted(rows, rows)


def kept_by_outbox(path: Path) -> tuple[int, int]:
    """(samples of all batches, batches that are not confirmed) of an outbox whose gateway has ended."""
    db = sqlite3.connect(path)
    try:
        (samples,) = db.execute("SELECT coalesce(sum(samples), 0) FROM batch WHERE device <> ''").fetchone()
        (waiting,) = db.execute("SELECT count(*) FROM unconfirmed").fetchone()
    finally:
        db.close()
    return int(samples), int(waiting)


def audited(plant: Plant) -> tuple[int, dict[str, Any]]:
    """`gaugeline cloud audit`: its exit code and its figures."""
    command = gaugeline("cloud", "audit", "--json", "--url", plant.api.url)
    answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120, start_new_session=True)
    if not answer.stdout:
        raise DemoError(f"no audit: {answer.stderr.strip()}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return answer.returncode, found


def close(plant: Plant) -> Verdict:
    """The plant ends: outbox, database and audit must hold the same number of samples. Stops gateway and host."""
    verdict = Verdict()
    code = plant.stop_gateway()
    if code != 0:
        verdict.problems.append(f"the gateway ended with {code}: {plant.gateway.last_words(3)}")
    exit_code, balance = audited(plant)
    counted = count_influx(plant.influx.port) if plant.influx is not None else None
    plant.the_host.end(15)
    counted = counted or count_duckdb(plant.folder / "host" / "samples.duckdb")
    kept = waiting = 0
    for path in sorted((plant.folder / "gateway").glob("*.db")):
        of_file, waits = kept_by_outbox(path)
        kept, waiting = kept + of_file, waiting + waits
    verdict.samples = counted.rows
    verdict.problems += closing_problems(counted, kept, waiting, exit_code, balance)
    verdict.lost = max(0, kept - int(balance["collided"]) - counted.rows)
    verdict.doubled = counted.rows - counted.distinct
    return verdict


def closing_problems(
    counted: Counted, kept: int, waiting: int, exit_code: int, balance: Mapping[str, Any]
) -> list[str]:
    """kept: samples in the outbox files. Everything is confirmed by then, so all five must agree."""
    problems = []
    if counted.rows != counted.distinct:
        problems.append(f"{counted.rows - counted.distinct} rows of the database are there twice")
    if kept - balance["collided"] != counted.rows:
        problems.append(f"the outbox kept {kept} samples, the database has {counted.rows}")
    if balance["produced"] != kept or balance["stored"] != counted.rows:
        problems.append(f"the audit says {balance['produced']} produced and {balance['stored']} stored, "
                        f"outbox and database {kept} and {counted.rows}")  # fmt: skip
    if waiting or exit_code or not balance["ok"]:
        problems.append(f"{waiting} batches wait, `cloud audit` ended with {exit_code}: "
                        f"{ {name: balance[name] for name in BALANCED} }")  # fmt: skip
    return problems
