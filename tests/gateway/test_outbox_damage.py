"""A damaged outbox is set aside and told, and the gateway goes on; files of earlier versions are upgraded whole."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.config.convert import OutboxSettings
from gateway.outbox.aside import SET_ASIDE, set_aside, take_over
from gateway.outbox.database import transaction
from gateway.outbox.file import OutboxFile
from gateway.outbox.migrate import migrate, schema_versions
from gateway.outbox.pending import Pending
from gateway.outbox.rows import Batch, Committed
from gateway.outbox.salvage import Salvaged
from gateway.outbox.store import Outbox
from gateway.time_news import Known
from tests.gateway.field import LINES, TAGS, block, taken
from tests.gateway.outboxes import NODE, T0, commit_at, content, opened, records, waiting
from wire.errors import StoreFull

DATABASES = Path(__file__).parent.parent / "databases"
REPO = Path(__file__).parents[2]


def filled(folder: Path, batches: int = 30) -> OutboxFile:
    file = opened(folder / "o.db", limit=50_000_000)
    for i in range(batches):
        commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 100))
    return file


def began_anew(folder: Path) -> list[dict[str, Any]]:
    """Opens once more; the records of damage. The new file works."""
    file = opened(folder / "o.db", limit=50_000_000)
    found = records(file, waiting(file), SET_ASIDE)
    assert commit_at(file, [T0 + 10**9])
    file.close(clean=True)
    return found


def test_garbage_is_set_aside_with_a_record_and_a_new_file_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "o.db").write_bytes(random.Random(3).randbytes(50_000))
    (told,) = began_anew(tmp_path)
    assert (told["file"], told["bytes"], told["when"], told["lost"]) == ("o.db.corrupt-1", 50_000, "start", None)
    assert "not a database" in told["why"]
    assert (tmp_path / "o.db.corrupt-1").stat().st_size == 50_000
    alarms = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert alarms == ["outbox is damaged and was set aside, a new one begins"]


def test_a_truncated_file_is_set_aside_and_what_can_be_read_of_it_goes_on(tmp_path: Path) -> None:
    file = filled(tmp_path)
    aliases, bd_seq = file.aliases, file.next_bd_seq()
    file.close(clean=True)
    path = tmp_path / "o.db"
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)
    (told,) = began_anew(tmp_path)
    assert told["file"] == "o.db.corrupt-1"
    again = opened(path, limit=50_000_000)
    if told["epoch"]:  # the first pages, which hold aliases and stamps, are whole
        assert again.aliases == aliases
        assert again.next_bd_seq() > bd_seq
        assert again.high_water()["pump"] >= T0 + 29_000
    again.close(clean=True)


def test_flipped_bytes_in_a_page_never_stop_the_gateway_and_never_give_out_a_wrong_sample(tmp_path: Path) -> None:
    filled(tmp_path / "clean").close(clean=True)
    whole = (tmp_path / "clean" / "o.db").read_bytes()
    dice = random.Random(11)
    aside = 0
    for i in range(25):
        folder = tmp_path / str(i)
        folder.mkdir()
        page = dice.randrange(len(whole) // 4096)
        damaged = bytearray(whole)
        damaged[page * 4096 : page * 4096 + 12] = dice.randbytes(12)  # the head of a page: its kind, its cells
        (folder / "o.db").write_bytes(damaged)
        aside += bool(began_anew(folder))
    assert aside > 10


def without_a_time(folder: Path, rows: int = 60) -> OutboxFile:
    """An outbox with so many rows of a boot that does not know the time, 2 samples at each of 50 times in a row."""
    file = opened(folder / "o.db", limit=50_000_000)
    for i in range(rows):
        pending = Pending()
        pending.add_unstamped(taken(*[block(i * 1000 + k) for k in range(50)]), "boot-1")
        file.commit(pending.take())
    assert file.clock()["waiting_samples"] == 100 * rows
    return file


def timed(file: OutboxFile) -> list[int]:
    """The time becomes known: stamps of everything that waited, in ms since that boot."""
    fresh = list(commit_known(file, T0))
    while file.unstamped.rows:
        fresh += file.commit(Pending().take())[1]
    return [s.ts_ms - T0 for b in fresh if b.device for s in content(file, b)[2]]


def commit_known(file: OutboxFile, offset_ms: int) -> tuple[Batch, ...]:
    pending = Pending()
    pending.clock([Known("boot-1", offset_ms, "ntp", True)])
    return file.commit(pending.take())[1]


@pytest.mark.parametrize("pages", [1, 5])
def test_samples_without_a_time_that_are_still_whole_come_along_from_a_damaged_outbox(
    tmp_path: Path, pages: int
) -> None:
    without_a_time(tmp_path).close(clean=False)
    path = tmp_path / "o.db"
    with closing(sqlite3.connect(path)) as db:
        sql = "SELECT pageno FROM dbstat WHERE name = 'unstamped' AND pagetype IN ('leaf', 'overflow') ORDER BY path"
        leaves = [number for (number,) in db.execute(sql)]
    step = len(leaves) // (pages + 1)
    with path.open("r+b") as handle:
        for page in leaves[step::step][:pages]:
            handle.seek((page - 1) * 4096)
            handle.write(random.Random(page).randbytes(4096))
    file = opened(path, limit=50_000_000)
    (record,) = records(file, waiting(file), SET_ASIDE)
    kept = record["unstamped"]["kept"]
    assert 6000 - pages * 800 <= kept < 6000, "a page holds a few rows at most"
    assert record["unstamped"]["lost"] in (None, 6000 - kept)
    assert file.clock()["waiting_samples"] == kept
    stamps = timed(file)
    assert len(stamps) == kept
    assert stamps == sorted(stamps)
    assert [(g.line, g.reason) for g in file.gaps()] == [(line, "damaged") for line in LINES]
    file.close(clean=True)


def test_a_row_without_a_time_that_was_changed_stays_behind(tmp_path: Path) -> None:
    without_a_time(tmp_path, rows=4).close(clean=True)
    old = tmp_path / "old.db"
    (tmp_path / "o.db").rename(old)
    with closing(sqlite3.connect(old)) as db:
        (body,) = db.execute("SELECT body FROM unstamped WHERE id = 2").fetchone()
        db.execute("UPDATE unstamped SET body = ? WHERE id = 2", (bytes([*body[:40], body[40] ^ 1, *body[41:]]),))
        db.execute("UPDATE unstamped SET samples = samples + 1 WHERE id = 3")
        db.execute("UPDATE unstamped SET boot = 77 WHERE id = 4")
        db.commit()
    aside = set_aside(old, "for the test", running=False)
    file = opened(tmp_path / "o.db")
    with transaction(file.db):
        take_over(file.db, aside, NODE, 10_000_000)
    assert aside.unstamped == Salvaged(100, 301)
    assert [i for (i,) in file.db.execute("SELECT id FROM unstamped")] == [1]
    file.close(clean=True)


def test_no_more_is_taken_over_than_one_transaction_may_hold_and_the_rest_is_told(tmp_path: Path) -> None:
    without_a_time(tmp_path, rows=4).close(clean=True)
    (tmp_path / "o.db").rename(tmp_path / "old.db")
    aside = set_aside(tmp_path / "old.db", "for the test", running=False)
    file = opened(tmp_path / "o.db")
    with transaction(file.db):
        take_over(file.db, aside, NODE, 3000)
    assert aside.unstamped.kept in (100, 200)
    assert aside.unstamped.lost == 400 - aside.unstamped.kept
    file.close(clean=True)


def test_a_wal_that_was_taken_away_is_told_and_a_torn_one_loses_only_what_was_not_committed(tmp_path: Path) -> None:
    file = filled(tmp_path, 3)
    kept = [b.digest for b in waiting(file)]
    for name in ("torn", "gone"):
        (tmp_path / name).mkdir()
        for tail in ("", "-wal", "-shm"):
            shutil.copy(tmp_path / f"o.db{tail}", tmp_path / name / f"o.db{tail}")
    file.close(clean=True)
    wal = tmp_path / "torn" / "o.db-wal"
    wal.write_bytes(wal.read_bytes() + b"\x37" * 3000)
    torn = opened(tmp_path / "torn" / "o.db")
    assert [b.digest for b in waiting(torn) if b.device] == kept
    torn.close(clean=True)
    (tmp_path / "gone" / "o.db-wal").unlink()
    gone = opened(tmp_path / "gone" / "o.db")
    assert [r["file"] for r in records(gone, waiting(gone), "outbox_wal_missing")] == ["o.db"]
    assert gone.epoch not in kept
    gone.close(clean=True)


async def test_damage_found_while_running_costs_the_file_and_nothing_else(tmp_path: Path) -> None:
    outbox = Outbox(OutboxSettings(tmp_path / "o.db", 10, 50_000_000), NODE, ["gaugeline"], lambda: T0)
    told: list[Committed] = []
    outbox.on_commit = told.append
    await outbox.open(TAGS, LINES)
    aliases, epoch = {d: dict(n) for d, n in outbox.aliases.items()}, outbox.epoch
    for i in range(60):
        outbox.append(taken(*[block(T0 + i * 1000 + k) for k in range(100)]))
        await outbox.flush()
    before = await outbox.last_id()
    path = tmp_path / "o.db"
    # All pages but the first ones turn to rubbish under the running gateway, and it has to read them again.
    await outbox._run(lambda: outbox._file.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    await outbox._run(lambda: outbox._file.db.execute("PRAGMA shrink_memory").fetchone())
    with path.open("r+b") as handle:
        handle.seek(8192)
        handle.write(b"\xee" * (path.stat().st_size - 8192))
    # Another process' write makes SQLite forget the pages that it had read.
    subprocess.run([sys.executable, "-c", _TOUCH, str(path)], check=True, cwd=REPO)
    outbox.append(taken(block(T0 + 10**6)))
    await outbox.flush()
    assert await outbox.batches([before]) == []
    status = await outbox.status()
    assert outbox.renewals == 1
    assert status["outbox"]["set_aside"] == ["o.db.corrupt-1"]
    assert outbox.epoch != epoch
    assert {d: dict(n) for d, n in outbox.aliases.items()} == aliases, "the session's births still hold"
    assert await outbox.last_id() > before, "ids that the session knows are not given again"
    await asyncio.sleep(0)
    fresh = [b for c in told for b in c.batches if b.epoch == outbox.epoch]
    (record,) = await outbox._run(lambda: records(outbox._file, fresh, SET_ASIDE))
    assert (record["when"], record["file"]) == ("running", "o.db.corrupt-1")
    assert [b.samples for b in fresh if b.device] == [2], "the window that met the damage is in the new file"
    await outbox.close(clean=True)


_TOUCH = """
import sys
with open(sys.argv[1], 'r+b') as file:
    file.seek(24)
    file.write(b'\\xff\\xff\\xff\\xf0')
"""


def test_a_damaged_file_that_cannot_be_set_aside_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = filled(tmp_path, 2)
    real = Path.rename

    def refuses(self: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(StoreFull, match="cannot be set aside"):
        file.renew("malformed")
    with pytest.raises(StoreFull, match="no new one"):
        file.snapshot()
    monkeypatch.setattr(Path, "rename", real)
    assert records(file, file.renew("malformed"), SET_ASIDE)
    assert commit_at(file, [T0 + 10**7])
    file.close(clean=True)


@pytest.mark.parametrize("old", sorted(DATABASES.glob("outbox-*.sql")), ids=lambda p: p.stem)
def test_an_outbox_of_an_earlier_version_is_upgraded_with_all_that_waits_in_it(tmp_path: Path, old: Path) -> None:
    db = sqlite3.connect(tmp_path / "o.db")
    db.executescript(old.read_text())
    expected = db.execute("SELECT digest FROM batch JOIN unconfirmed USING (id) ORDER BY id").fetchall()
    (number,) = db.execute("SELECT max(number) FROM epoch").fetchone()
    db.close()
    file = opened(tmp_path / "o.db")
    found = [b for b in waiting(file) if b.epoch != file.epoch]
    assert [(bytes.fromhex(b.digest),) for b in found] == expected
    assert len(expected) > 2 and number >= len(expected)
    for batch in found:
        content(file, batch)  # every digest is that of what the batch says
    assert file.db.execute("PRAGMA user_version").fetchone() == (schema_versions()[-1][0],)
    assert {e["epoch"] for e in file.snapshot()["epochs"]} == {b.epoch for b in found} | {file.epoch}
    file.close(clean=True)


_DIES_IN_UPGRADE = """
import os, sqlite3, sys
import gateway.outbox.migrate as m
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
real = m._statements
def statements(sql):
    for i, one in enumerate(real(sql)):
        if i == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        yield one
m._statements = statements
m.migrate(db)
"""


@pytest.mark.parametrize("statement", [0, 1])
def test_a_kill_in_the_middle_of_an_upgrade_leaves_the_old_version_whole(tmp_path: Path, statement: int) -> None:
    old = max(DATABASES.glob("outbox-*.sql"))
    path = tmp_path / "o.db"
    db = sqlite3.connect(path)
    db.executescript(old.read_text())
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    db.close()
    done = subprocess.run([sys.executable, "-c", _DIES_IN_UPGRADE, str(path), str(statement)], cwd=REPO)
    assert done.returncode == -9
    db = sqlite3.connect(path, isolation_level=None)
    assert db.execute("PRAGMA user_version").fetchone() == (version,)
    assert db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == tables
    assert migrate(db) == schema_versions()[-1][0]
    db.close()
