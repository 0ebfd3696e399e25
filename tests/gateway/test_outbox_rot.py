"""Bits that flip within rows: SQLite sees no damage, so the outbox finds it itself, counts it, and goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.config.convert import OutboxSettings
from gateway.outbox import ledger
from gateway.outbox.aside import SET_ASIDE
from gateway.outbox.database import Damaged, connect
from gateway.outbox.file import OutboxFile
from gateway.outbox.look import show
from gateway.outbox.pending import Pending
from gateway.outbox.rows import Batch, json_rows
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.time_news import Known
from tests.gateway.field import LINES, TAGS, block, taken
from tests.gateway.host import host
from tests.gateway.outboxes import NODE, T0, commit_at, confirm, opened, records, waiting
from tests.gateway.test_uplink import rig
from tests.servers import Mosquitto
from wire.body import as_historical
from wire.errors import ConfigError, PayloadError


def spoil(path: Path, sql: str, *values: object) -> None:
    """What a card does to a row, done by hand."""
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(sql, values).rowcount, sql


def spoil_body(file: OutboxFile, batch: Batch, body: bytes) -> None:
    file.db.execute("UPDATE batch SET body = ? WHERE id = ?", (body, batch.id))


def balanced(file: OutboxFile) -> dict[str, int]:
    """Counters of the pump; nothing is left over."""
    c = ledger.totals(file.db)["pump"]
    assert c["produced"] == c["confirmed"] + c["dropped"] + c["parked"] + c["in_flight"]
    return c


def test_a_batch_that_the_disk_has_changed_is_dropped_with_a_record_and_a_sound_one_is_kept(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    torn, bent, renamed, sound = (commit_at(file, [T0 + i, T0 + i + 1])[0] for i in range(0, 40, 10))
    spoil_body(file, torn, b"\xff" + torn.body[1:])
    spoil_body(file, bent, bent.body.replace(b"\x00\x00\xc0\x3f", b"\x00\x00\xc1\x3f", 1))  # 1.5 became another number
    file.db.execute("UPDATE batch SET device = 'qump' WHERE id = ?", (renamed.id,))
    with pytest.raises(PayloadError):
        as_historical(file.batches([torn.id])[0].body)
    ids = [torn.id, bent.id, renamed.id, sound.id, 12345]
    bad, fresh = file.weed(ids)
    assert bad == [torn.id, bent.id, renamed.id]
    told = records(file, fresh, "drop")
    assert sum(r["samples"] for r in told) == 12
    assert {r["why"] for r in told} == {"damaged"}
    assert [b.id for b in waiting(file) if b.device] == [sound.id]
    assert file.weed([sound.id]) == ([], ())
    assert balanced(file)["dropped"] == 12
    file.close(clean=True)


def test_a_digest_that_was_changed_beside_a_sound_body_is_mended_and_can_be_confirmed(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    first, second = (commit_at(file, [T0 + i])[0] for i in range(2))
    file.db.execute("UPDATE batch SET digest = ? WHERE id = ?", (b"\x01" * 16, first.id))
    confirm(file, [first, second])
    assert len([b for b in waiting(file) if b.device]) == 2, "the range is not believed"
    assert file.weed([first.id, second.id]) == ([], ())
    confirm(file, [first, second])
    assert balanced(file)["confirmed"] == 4
    file.close(clean=True)


def test_thinning_drops_a_batch_that_it_cannot_read_and_goes_on(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", limit=400_000)
    spoil_body(file, commit_at(file, range(T0, T0 + 50))[0], b"\xff\xff\xff")
    for i in range(1, 200):
        commit_at(file, range(T0 + i * 100, T0 + i * 100 + 50))
    told = records(file, [b for b in waiting(file) if not b.device], "thin")
    assert [1, 100, 0, None] in [row for r in told for row in r["batches"]]
    assert balanced(file)["produced"] == 200 * 100
    file.close(clean=True)


def test_a_row_without_a_time_that_cannot_be_read_is_refused_when_the_time_comes(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    for i in range(3):
        pending = Pending()
        pending.add_unstamped(taken(block(i * 1000)), "boot-1")
        file.commit(pending.take())
    file.db.execute("UPDATE unstamped SET body = x'ffff' WHERE id = 2")
    pending = Pending()
    pending.clock([Known("boot-1", T0, "ntp", True)])
    fresh = file.commit(pending.take())[1]
    assert sum(b.samples for b in fresh if b.device) == 4
    assert (balanced(file)["produced"], balanced(file)["refused"], file.unstamped.rows) == (4, 2, 0)
    file.close(clean=True)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE sqlite_sequence SET seq = 9223372036854775000 WHERE name = 'epoch'",
        "UPDATE epoch SET id = 4611686018427387904 WHERE id = 2",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'epoch'",
        "UPDATE unconfirmed SET device = 'nobody'",
        "UPDATE gap SET lines = 'not JSON', recorded = 0",
        "UPDATE setting SET value = 'x'",
        "UPDATE alias SET datatype = 60 WHERE tag = 'count'",
        "UPDATE alias SET alias = 9223372036854775807 WHERE tag = 'speed'",
        "PRAGMA user_version = -7",
        "PRAGMA user_version = 1",
    ],
)
def test_a_start_survives_numbers_and_texts_that_were_never_written(tmp_path: Path, sql: str) -> None:
    for _ in range(2):  # the second start has a gap
        file = opened(tmp_path / "o.db")
        commit_at(file, [T0])
        file.next_bd_seq()
        file.close(clean=False)
    with closing(sqlite3.connect(tmp_path / "o.db")) as db, db:
        db.execute(sql)
    file = opened(tmp_path / "o.db")
    assert commit_at(file, [T0 + 5000])
    assert 0 <= file.next_bd_seq() < 256
    file.snapshot(), file.totals(), file.gaps(), file.clock(), file.retired(), file.high_water()
    told = records(file, [b for b in waiting(file) if not b.device and b.epoch == file.epoch], SET_ASIDE)
    assert bool(told) == (tmp_path / "o.db.corrupt-1").exists()
    file.close(clean=True)


def test_a_schema_that_is_not_what_its_number_says_is_damage_and_a_newer_one_is_not(tmp_path: Path) -> None:
    opened(tmp_path / "o.db").close(clean=True)
    spoiled = {1: Damaged, -1: Damaged, 10_000: Damaged, 4: ConfigError}
    for version, expected in spoiled.items():
        with closing(sqlite3.connect(tmp_path / "o.db")) as db:
            db.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(expected):
            connect(tmp_path / "o.db")


def test_json_that_the_disk_has_changed_is_left_out() -> None:
    assert json_rows('[{"a": 1}, 2]') == [{"a": 1}]
    assert json_rows('{"a": 1}') == [{"a": 1}]
    assert json_rows("[[") == json_rows(None) == json_rows("3") == []


def test_showing_a_damaged_batch_says_so(tmp_path: Path) -> None:
    import sqlite_utils

    file = opened(tmp_path / "o.db")
    commit_at(file, [T0])
    file.db.execute("UPDATE alias SET datatype = 60 WHERE tag = 'count'")
    with pytest.raises(PayloadError, match="damaged"):
        show(sqlite_utils.Database(file.db, execute_plugins=False), 1, "")
    file.close(clean=True)


async def test_a_backlog_with_a_damaged_batch_is_delivered_without_it_and_none_is_sent_for_ever(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    window = ResendWindow(first_s=0.1, min_s=0.1)
    async with host(mosquitto.port, online=False) as h, rig(tmp_path, mosquitto.port, window=window) as r:
        for i in range(1, 21):
            await r.take(block(i * 10))
        file = r.outbox._file

        def damage() -> None:
            found = [b for b in waiting(file) if b.device]
            spoil_body(file, found[3], b"\xff" + found[3].body[1:])
            # The host confirms this one, but with another digest than the row has, which makes its neighbours wait too.
            file.db.execute("UPDATE batch SET digest = ? WHERE id = ?", (b"\x01" * 16, found[7].id))

        await r.outbox._run(damage)
        await h.state(True)
        await r.all_confirmed()
        assert r.uplink.counters["damaged"] == 1
        assert (h.samples, h.doubles) == (2 * 19, [])
        totals = await r.outbox._run(file.totals)
        assert (totals["pump"]["produced"], totals["pump"]["dropped"], totals["pump"]["confirmed"]) == (40, 2, 38)


async def test_pages_that_changed_places_are_found_by_what_they_break_and_a_mistake_of_ours_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(OutboxSettings(tmp_path / "o.db", 10, 50_000_000), NODE, ["gaugeline"], lambda: T0)
    await outbox.open(TAGS, LINES)

    def mistake() -> None:
        raise TypeError("cannot unpack non-iterable NoneType object")

    with pytest.raises(TypeError):
        await outbox._run(mistake)
    assert outbox.renewals == 0
    epoch = outbox.epoch
    monkeypatch.setattr(OutboxFile, "sound", property(lambda self: self.epoch != epoch))
    with pytest.raises(TypeError):  # also on the new file: then it is a mistake after all
        await outbox._run(mistake)
    assert outbox.renewals == 1
    outbox.append(taken(block(T0)))
    await outbox.flush()
    await outbox.close(clean=True)
    assert [p.name for p in tmp_path.glob("*.corrupt-1")] == ["o.db.corrupt-1"]


def test_a_file_whose_pages_contradict_each_other_is_not_sound(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db")
    for i in range(60):
        commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 50))
    assert file.sound
    file.close(clean=True)
    with (tmp_path / "o.db").open("r+b") as handle:
        handle.seek(20 * 4096)
        handle.write(b"\xee" * 4096)
    monkey = sqlite3.connect(tmp_path / "o.db")
    file._db, file._opened = monkey, True
    assert not file.sound
    monkey.close()
    file._db = None
