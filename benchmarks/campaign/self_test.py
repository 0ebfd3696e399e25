"""A check that cannot fail is a defect: losses, doubles and lies are planted, and the judge must see each of them.

The first is planted in the running chain: a confirmation with the right digests, forged by one who may speak as the
host, for batches that the host never stored. The others are planted in copies of the database's file.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.campaign.family import Family
from benchmarks.campaign.judge import Verdict, audited, close, closing_problems, count_duckdb, kept_by_outbox, settle
from benchmarks.campaign.messages import deaf_host
from benchmarks.campaign.plant import HOST, Plant
from wire.delivery import confirmed_ranges

LOSS_S = 4.0  # how long the judge waits for what will never come


def _files(folder: Path, spoil: str) -> list[str]:
    """What the closing judge says of a copy of the database in which one statement was executed."""
    copy = folder / "spoiled.duckdb"
    shutil.copy(folder / "host" / "samples.duckdb", copy)
    with duckdb.connect(str(copy)) as db:
        db.execute(spoil)
    kept, waiting = kept_by_outbox(folder / "gateway" / "outbox.db")
    balance = dict.fromkeys(("dead_letters", "dropped", "in_flight", "collided", "lost"), 0)
    agreed = {**balance, "produced": kept, "stored": kept, "ok": True}
    return closing_problems(count_duckdb(copy), kept, waiting, 0, agreed)


def _lost_row(folder: Path) -> list[str]:
    return _files(folder, "DELETE FROM samples WHERE rowid = (SELECT min(rowid) FROM samples)")


def _doubled_row(folder: Path) -> list[str]:
    return _files(folder, "INSERT INTO samples SELECT * FROM samples LIMIT 1")


def _replaced_row(folder: Path) -> list[str]:
    """As many rows as before, but one is there twice and another is gone."""
    of_first = {name: f"{name} = (SELECT {name} FROM samples ORDER BY rowid LIMIT 1)" for name in ("series", "ts_ms")}
    last = "(SELECT max(rowid) FROM samples)"
    return _files(folder, f"UPDATE samples SET {', '.join(of_first.values())} WHERE rowid = {last}")


_PLANTED: tuple[tuple[str, Callable[[Path], list[str]]], ...] = (
    ("a row deleted from the database", _lost_row),
    ("a row inserted twice", _doubled_row),
    ("a row replaced by another", _replaced_row),
)


def _self_test(folder: Path, dice: random.Random, short: bool) -> Verdict:
    plant = Plant(folder, dice.randrange(2**31), "duckdb")
    try:
        plant.start()
        verdict, from_ms = settle(plant, plant.started_ms, 60.0)
        closed = close(plant)
        problems = [f"before anything was planted: {text}" for text in (*verdict.problems, *closed.problems)]
        for name, spoil in _PLANTED:
            if not spoil(folder):
                problems.append(f"{name} went unnoticed")
        problems += _believed_forgery(plant, from_ms)
    finally:
        plant.stop()
    return Verdict(samples=verdict.samples, problems=problems, notes={"planted": len(_PLANTED) + 1})


def _believed_forgery(plant: Plant, from_ms: int) -> list[str]:
    """Witness, audit and closing judge must each see this loss by themselves."""
    plant.start_host()
    plant.gateway.start()
    plant.wait_flowing()
    with deaf_host(plant, 1.5) as intruder:
        epoch, known = intruder.published()
        intruder.confirm(HOST, epoch, confirmed_ranges(known))
    seen, _ = settle(plant, from_ms, LOSS_S)
    code, balance = audited(plant)
    found = []
    if not seen.lost:
        found.append(f"the witness did not notice the loss of {len(known)} batches")
    if code != 1 or balance["lost"] <= 0:
        found.append(f"`cloud audit` did not notice the loss of {seen.lost} samples: {balance['lost']}")
    if not close(plant).problems:
        found.append("the closing judge did not notice the loss")
    return found


FAMILIES = (
    Family("self-test", 1, 1, "losses and doubles planted on purpose: the judge must see them", alone=_self_test),
)
