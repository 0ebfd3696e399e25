"""The outbox: durable before told, bounded, honest about what it could not keep."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.convert import OutboxSettings
from gateway.outbox.database import transaction
from gateway.outbox.file import OutboxFile
from gateway.outbox.inspect import stored_status
from gateway.outbox.migrate import migrate, schema_versions
from gateway.outbox.pending import Pending
from gateway.outbox.rows import Batch, Committed
from gateway.outbox.store import Outbox
from tests.gateway.field import FAN, LINES, PUMP, TAGS, block, taken
from wire.block import Quality, Reason
from wire.delivery import BATCH, RECORD, Confirmation, batch_digest, confirmed_ranges, parse_batch_tag
from wire.errors import ConfigError, StoreFull
from wire.ids import NodeId
from wire.payload import Payload, decode
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw")
REPO = Path(__file__).parents[2]


def now() -> int:
    return time.time_ns() // 1_000_000


def opened(
    path: Path,
    tags: dict[str, list[Tag]] | None = None,
    limit: int = 50_000_000,
    hosts: tuple[str, ...] = ("gaugeline",),
    clock: Callable[[], int] = now,
) -> OutboxFile:
    file = OutboxFile(path, NODE, limit, frozenset(hosts), clock)
    file.open(TAGS if tags is None else tags, LINES)
    return file


def commit(file: OutboxFile, *stamps: int, line: str = "plc") -> tuple[Batch, ...]:
    pending = Pending()
    for ts_ms in stamps:
        pending.add(taken(block(ts_ms), line=line))
    return file.commit(pending.take())[1]


def confirm(file: OutboxFile, *batches: Batch, host: str = "gaugeline") -> tuple[Batch, ...]:
    for epoch in {b.epoch for b in batches}:
        ranges = confirmed_ranges({b.number: b.digest for b in batches if b.epoch == epoch})
        fresh = file.confirm(Confirmation(host, epoch, ranges))[1]
    return fresh


def everything(file: OutboxFile) -> list[Batch]:
    return file.unconfirmed(0, 2**62, 100_000, 10**9)


def records(batches: list[Batch] | tuple[Batch, ...], file: OutboxFile) -> list[dict[str, Any]]:
    alias = file.aliases[""][RECORD]
    found = []
    for batch in batches:
        if not batch.device:
            payload = decode(batch.body, dict.fromkeys(file.aliases[""].values(), Datatype.STRING))
            found += [json.loads(str(m.value)) for m in payload.metrics if m.alias == alias]
    return found


def decoded(file: OutboxFile, batch: Batch) -> Payload:
    types = {file.aliases[t.device][t.name]: t.datatype for tags in TAGS.values() for t in tags}
    types |= {names[BATCH]: Datatype.STRING for names in file.aliases.values()}
    return decode(batch.body, types)


def test_a_batch_is_one_devices_samples_of_a_window_in_time_order_with_its_tag_last(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    pending = Pending()
    for ts_ms, table in ((30, PUMP), (10, PUMP), (20, FAN)):
        pending.add(taken(block(ts_ms, table)))
    pump, fan = file.commit(pending.take())[1]
    assert [(b.device, b.samples, b.number, b.last_ms) for b in (pump, fan)] == [("pump", 4, 1, 30), ("fan", 1, 2, 20)]
    metrics = decoded(file, pump).metrics
    assert [m.ts_ms for m in metrics[:-1]] == [10, 10, 30, 30]
    assert metrics[-1].alias == file.aliases["pump"][BATCH]
    assert metrics[-1].ts_ms == 30, (
        "every metric of data bears a timestamp (tck-id-payloads-name-birth-data-requirement)"
    )
    tag = parse_batch_tag(str(metrics[-1].value))
    assert tag == (file.epoch, 1, 4, pump.digest)
    samples = [s for ts_ms in (10, 30) for s in block(ts_ms).samples()]
    assert batch_digest(NODE, "pump", file.epoch, 1, samples) == pump.digest
    file.close(clean=True)


def test_a_value_that_its_datatype_cannot_hold_becomes_bad_and_stops_no_neighbour(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    pending = Pending()
    pending.add(taken(block(5, value=1e39)))
    (batch,) = file.commit(pending.take())[1]
    flow, count, _ = decoded(file, batch).metrics
    assert (flow.value, flow.quality, flow.reason) == (None, Quality.BAD, Reason.OUT_OF_RANGE)
    assert (count.value, count.quality) == (5, Quality.GOOD)
    file.close(clean=True)


def test_a_window_of_many_samples_becomes_several_batches(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    assert [b.samples for b in commit(file, *range(1, 5001))] == [5000, 5000]
    file.close(clean=True)


def test_counters_and_marks_stand_in_the_same_file_after_a_restart(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    commit(file, 10, 20)
    pending = Pending()
    pending.add(taken(block(15), suppressed={"pump": 3, "fan": 0}))
    file.commit(pending.take())
    file.close(clean=False)
    again = opened(tmp_path / "o.db")
    assert again.high_water() == {"pump": 20}
    assert again.totals()["pump"] == {
        "produced": 6, "suppressed": 3, "refused": 0, "dropped": 0, "parked": 0, "confirmed": 0, "in_flight": 6,
    }  # fmt: skip
    again.close(clean=False)


@pytest.mark.parametrize(("clean", "reason"), [(True, "stopped"), (False, "killed")])
def test_a_start_after_a_run_delivers_one_gap_record_with_first_new_stamps(
    tmp_path: Path, clean: bool, reason: str
) -> None:
    first = opened(tmp_path / "o.db")
    assert not first.gap_due()
    commit(first, 111)
    first.close(clean)
    second = opened(tmp_path / "o.db")
    made = commit(second, 222)
    assert records(made, second) == [
        {
            "kind": "gap",
            "reason": reason,
            "epoch": second.epoch,
            "previous": first.epoch,
            "lines": [{"line": "plc", "last_poll_ms": 111, "first_new_ms": 222}],
        }
    ]
    assert records(commit(second, 333), second) == []
    assert [(g.line, g.last_poll_ms, g.first_new_ms, g.reason) for g in second.gaps()] == [("plc", 111, 222, reason)]
    second.close(clean=True)


def test_a_start_that_dies_before_its_gap_record_leaves_it_to_the_next_one(tmp_path: Path) -> None:
    first = opened(tmp_path / "o.db")
    commit(first, 111)
    first.close(clean=False)
    dead = opened(tmp_path / "o.db")
    dead.close(clean=False)
    third = opened(tmp_path / "o.db")
    told = records(everything(third), third)
    assert [(r["kind"], r["epoch"]) for r in told] == [("gap", dead.epoch), ("epoch_closed", dead.epoch)]
    assert told[0]["previous"] == first.epoch
    assert told[0]["lines"] == [{"line": "plc", "last_poll_ms": 111, "first_new_ms": None}]
    own = records(commit(third, 222), third)
    assert [(r["epoch"], r["previous"]) for r in own] == [(third.epoch, dead.epoch)]
    third.close(clean=True)


def test_a_line_that_stays_silent_does_not_hold_the_gap_record_back_for_ever(tmp_path: Path) -> None:
    clock = [1_000]
    first = opened(tmp_path / "o.db", clock=lambda: clock[0])
    commit(first, 111)
    first.close(clean=False)
    second = opened(tmp_path / "o.db", clock=lambda: clock[0])
    assert not second.gap_due()
    clock[0] += 15_000
    assert second.gap_due()
    told = records(second.commit(Pending().take())[1], second)
    assert told[0]["lines"] == [{"line": "plc", "last_poll_ms": 111, "first_new_ms": None}]
    assert not second.gap_due()
    second.close(clean=True)


def test_an_ended_epoch_is_closed_with_a_record_when_nothing_of_it_waits(tmp_path: Path) -> None:
    first = opened(tmp_path / "o.db")
    batch = commit(first, 10)[0]
    first.close(clean=True)
    second = opened(tmp_path / "o.db")
    assert [e["epoch"] for e in second.snapshot()["epochs"]] == [first.epoch, second.epoch]
    told = records(confirm(second, batch), second)
    assert told == [
        {
            "kind": "epoch_closed",
            "epoch": first.epoch,
            "number": 1,
            "devices": {
                "pump": {"produced": 2, "suppressed": 0, "refused": 0, "dropped": 0, "parked": 0, "in_flight": 0}
            },
        }
    ]
    assert [e["epoch"] for e in second.snapshot()["epochs"]] == [second.epoch]
    second.close(clean=True)


def test_with_two_required_hosts_one_confirmation_is_not_enough(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", hosts=("a", "b"))
    batch = commit(file, 10)[0]
    confirm(file, batch, host="a")
    confirm(file, batch, host="a")
    assert everything(file) == [batch]
    confirm(file, batch, host="b")
    assert everything(file) == []
    file.close(clean=True)


def test_a_retyped_tag_gets_a_new_alias_and_the_old_one_lives_on_while_its_batches_wait(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    old = dict(file.aliases["pump"])
    batch = commit(file, 10)[0]
    file.close(clean=True)
    retyped = Tag("flow", "pump", Datatype.DOUBLE, "m3/h")
    again = opened(tmp_path / "o.db", {"pump": [retyped, TAGS["pump"][1]]})
    assert again.aliases["pump"]["count"] == old["count"]
    assert again.aliases["pump"]["flow"] not in old.values()
    assert [(r.alias, r.device, r.tag, r.datatype) for r in again.retired()] == [
        (old["flow"], "pump", "flow", Datatype.FLOAT)
    ]
    assert again.waiting_devices() == {"pump"}
    confirm(again, batch)
    assert again.retired() == []
    again.close(clean=True)
    back = opened(tmp_path / "o.db")
    assert back.aliases["pump"] == old
    back.close(clean=True)


@pytest.mark.no_cover
def test_when_space_is_short_confirmed_batches_go_first_then_the_oldest_with_a_record(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", limit=1_000_000)
    made: list[Batch] = []
    made += commit(file, *range(1, 501))
    confirm(file, made[0])
    dropped: list[dict[str, Any]] = []
    for i in range(2, 60):
        fresh = commit(file, *range(i * 1000, i * 1000 + 500))
        made += [b for b in fresh if b.device]
        dropped += records(fresh, file)
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 1_000_000
    assert file.refill(0, 500)[0] == []  # the confirmed one has gone
    totals = file.totals()["pump"]
    numbers = {n for r in dropped for a, b in r["numbers"] for n in range(a, b + 1)}
    assert totals["dropped"] > 0
    assert totals["dropped"] == sum(r["samples"] for r in dropped)
    assert totals["produced"] == totals["dropped"] + totals["in_flight"] + totals["confirmed"]
    waiting = {b.number for b in everything(file) if b.device}
    assert waiting | numbers == {b.number for b in made} - {made[0].number}
    assert not waiting & numbers
    assert max(numbers) < min(waiting)
    assert {(r["kind"], r["epoch"], r["device"], r["why"]) for r in dropped} == {("drop", file.epoch, "pump", "space")}
    first = dropped[0]
    assert (first["from_ms"], first["numbers"][0][0]) == (2000, made[1].number)
    # A record for many batches at once, not one a commit.
    assert len(dropped) < len(numbers)
    file.close(clean=True)


def test_confirmed_batches_go_with_age(tmp_path: Path) -> None:
    clock = [1_000_000]
    file = opened(tmp_path / "o.db", clock=lambda: clock[0])
    old, waiting = commit(file, *range(10, 1000))[0], commit(file, 1020)[0]
    confirm(file, old)
    clock[0] += 8 * 86_400_000
    young = commit(file, 1030)[0]
    confirm(file, young)
    used = file.pending()[1]
    file.forget_old()
    assert file.pending()[1] < used
    assert file.refill(0, 2000)[0] == [young.id]
    assert everything(file) == [waiting, young]
    file.close(clean=True)


def test_the_bd_seq_is_durable_before_it_is_used(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    assert [file.next_bd_seq() for _ in range(3)] == [0, 1, 2]
    file.close(clean=False)
    again = opened(tmp_path / "o.db")
    assert again.next_bd_seq() == 3
    again.close(clean=True)


def test_a_file_that_is_no_database_is_set_aside_and_a_new_one_begins(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"not a database at all" * 500)
    file = opened(path)
    assert commit(file, 10)
    file.close(clean=True)
    assert (tmp_path / "o.db.corrupt-1").read_bytes().startswith(b"not a database")


def test_a_file_of_a_newer_program_is_refused_in_words(tmp_path: Path) -> None:
    opened(tmp_path / "o.db").close(clean=True)
    db = sqlite3.connect(tmp_path / "o.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="newer Gaugeline"):
        opened(tmp_path / "o.db")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    db.execute("CREATE TABLE setting (other TEXT)")  # in the way of version 1
    with pytest.raises(sqlite3.OperationalError):
        migrate(db)
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert (names, db.execute("PRAGMA user_version").fetchone()) == ({"setting"}, (0,))
    assert [version for version, _ in schema_versions()] == [1, 2, 3]
    db.close()


def test_our_own_mistakes_in_sql_are_not_called_a_full_disk(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("INSERT INTO t VALUES (1)")
    assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    db.close()


def test_an_outbox_in_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFull, match="cannot be opened"):
        opened(tmp_path / "file" / "o.db")
    (tmp_path / "o.db").mkdir()
    with pytest.raises(StoreFull, match="cannot be opened"):
        opened(tmp_path / "o.db")


def test_what_finds_no_room_in_memory_is_refused_counted_and_recorded(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    pending = Pending(max_samples=4)
    for ts_ms in (10, 20, 30, 40):
        pending.add(taken(block(ts_ms)))
    window = pending.take()
    pending.add(taken(block(50)))
    pending.restore(window)
    pending.add(taken(block(60)))
    assert pending.samples == 6
    made = file.commit(pending.take())[1]
    assert sum(b.samples for b in made if b.device) == 6
    assert records(made, file) == [
        {"kind": "refused", "epoch": file.epoch, "device": "pump", "from_ms": 30, "to_ms": 60, "samples": 6,
         "why": "disk"}
    ]  # fmt: skip
    assert file.totals()["pump"]["refused"] == 6
    file.close(clean=True)


@pytest.fixture
async def outbox(tmp_path: Path) -> Any:
    made = Outbox(OutboxSettings(tmp_path / "o.db", 10, 50_000_000), NODE, ["gaugeline"], now, max_pending=40)
    await made.open(TAGS, LINES)
    yield made
    made.stop()


async def test_a_commit_is_told_only_after_it_is_durable_and_states_come_with_it(
    tmp_path: Path, outbox: Outbox
) -> None:
    told: list[Committed] = []

    def durable(commit: Committed) -> None:
        # Another reader of the file, opened read-only: it sees committed rows alone.
        db = sqlite3.connect(f"file:{tmp_path / 'o.db'}?mode=ro", uri=True)
        ids = {i for (i,) in db.execute("SELECT id FROM unconfirmed")}
        db.close()
        assert {b.id for b in commit.batches} <= ids
        told.append(commit)

    outbox.on_commit = durable
    running = asyncio.create_task(outbox.run())
    outbox.append(taken(block(10)))
    outbox.device_state("fan", False)
    async with asyncio.timeout(60):
        while not told:
            await asyncio.sleep(0.01)
    assert (len(told), told[0].states, outbox.commits) == (1, {"fan": False}, 1)
    assert outbox.commit_p99_ms > 0
    outbox.stop()
    await running
    await outbox.close(clean=True)


async def test_a_full_disk_keeps_samples_in_memory_then_refuses_and_goes_on_when_there_is_room(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Committed] = []
    outbox.on_commit = told.append
    running = asyncio.create_task(outbox.run())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(p.stat().st_size for p in tmp_path.iterdir()), hard))
    ts_ms = 0
    try:
        async with asyncio.timeout(60):
            while not outbox.trouble:
                ts_ms += 1
                outbox.append(taken(block(ts_ms)))
                outbox.device_state("fan", False)
                await asyncio.sleep(0.001)
        assert (told[-1].batches, told[-1].states) == ((), {"fan": False})
        for _ in range(30):
            ts_ms += 1
            outbox.append(taken(block(ts_ms)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    async with asyncio.timeout(60):
        while outbox.trouble:
            await asyncio.sleep(0.01)
    outbox.stop()
    await running
    status = await outbox.status()
    pump = status["devices"]["pump"]
    assert pump["produced"] + pump["refused"] == 2 * ts_ms
    assert pump["refused"] > 0
    assert (status["outbox"]["trouble"], status["outbox"]["failures"]) == ("", 1)
    assert [r.getMessage() for r in caplog.records] == [
        "outbox cannot commit, samples wait in memory",
        "outbox commits again",
    ]
    numbers = [b.number for c in told for b in c.batches]
    assert numbers == list(range(1, len(numbers) + 1))
    await outbox.close(clean=True)


def test_kill_9_loses_no_batch_that_was_told_and_reuses_no_number(tmp_path: Path) -> None:
    told: dict[int, str] = {}
    dice = random.Random(7)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.append_for_ever", str(tmp_path / "o.db")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        assert child.stdout is not None
        child.stdout.readline()  # it runs
        time.sleep(dice.uniform(0.05, 0.4))
        child.kill()
        rest = child.communicate()[0].splitlines()
        for line in rest:
            number, _, digest = line.partition(" ")
            if len(digest) == 32:
                assert told.setdefault(int(number), digest) == digest
    file = opened(tmp_path / "o.db")
    kept = {b.id: b.digest for b in everything(file)}
    assert len(told) > 30
    assert told.items() <= kept.items()
    assert [g.reason for g in file.gaps()] == ["killed"] * 6
    in_flight = sum(b.samples for b in everything(file) if b.device)
    assert file.totals()["pump"]["produced"] == file.totals()["pump"]["in_flight"] == in_flight
    file.close(clean=True)


def test_the_status_of_an_outbox_at_rest_comes_from_the_file(tmp_path: Path) -> None:
    from gateway.config import load_site
    from tests.gateway.field import site_yaml

    site = load_site(site_yaml(tmp_path, "mqtt://127.0.0.1:1", 1))
    with pytest.raises(ConfigError, match="never run here"):
        stored_status(site)
    file = opened(tmp_path / "outbox.db")
    commit(file, 10)
    file.close(clean=True)
    status = stored_status(site)
    assert (status["uplink"]["state"], status["outbox"]["pending_batches"]) == ("not running", 1)
    assert status["devices"]["pump"]["in_flight"] == 2
    (tmp_path / "outbox.db").write_bytes(b"x" * 5000)
    with pytest.raises(ConfigError, match="cannot be read"):
        stored_status(site)
