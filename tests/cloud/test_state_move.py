"""The state moves between SQLite and PostgreSQL, whole or not at all."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from cloud.cli import main
from cloud.dead_letters import DeadLetters, Letter
from cloud.ledger import LedgerEntry
from cloud.state import move as moving
from cloud.state.db import StateDb
from cloud.state.host import EpochCounters, HostState, Record
from cloud.state.ledger import SqlLedger
from cloud.state.move import info, move
from cloud.state.place import PostgresDb, StateChoice
from cloud.state.restored import RestoredDay
from cloud.store.port import BatchKey
from tests.servers import Postgres
from wire.errors import ConfigError, StoreDown
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
KEY = BatchKey(NODE, "e1", 2**40)
ODD = "a\0b 汉 \\ % ? :x 'q' \"d\""
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


async def fill(where: StateChoice, many: int = 5) -> None:
    db = StateDb(where)
    await db.open()
    state = HostState(db)
    await state.keep_births({(NODE, ODD): [("flow", Datatype.FLOAT, {"u": ODD})]}, 7)
    await state.keep_nodes({NODE: {"heard_ms": 1}}, 7)
    await state.keep_records([Record(KEY, 0, "gap", {"x": 1.5})], 7)
    await state.keep_counters([EpochCounters(NODE, "e1", {"n": 1}, True)], 7)
    await state.add_figures({(NODE, "duplicates"): 2**40})
    await state.decided(KEY, "pump", {("flow", 1)})
    await state.restored.mark([RestoredDay(NODE, "pump", 1)], 9)
    letters = DeadLetters(db)
    found = [Letter("sample", KEY, ODD, i, ODD, bytes(range(256)), "flow", digest="d") for i in range(many)]
    await letters.keep(found, 1)
    await SqlLedger(db).add([LedgerEntry(KEY._replace(number=i), "p", "d", 2, 0, 1, i, i) for i in range(many)])
    await db.close()


async def contents(where: StateChoice) -> list[object]:
    db = StateDb(where)
    await db.open()
    state = HostState(db)
    ledger = SqlLedger(db)
    await ledger.open()
    found: list[object] = [await state.births(), await state.nodes(), await state.records("gap"), await state.figures()]
    found += [await state.counters(), await state.restored.rows(), await state.restored.since(9), ledger.epochs()]
    await db.close()
    return found


async def test_everything_arrives_there_and_back_and_the_source_stays(tmp_path: Path, postgres: Postgres) -> None:
    source, target, back = tmp_path / "state.db", postgres.new(), tmp_path / "back.db"
    await fill(source, 2 * moving.ROWS // 1000)
    before = await contents(source)
    shown: list[tuple[str, int, int]] = []
    there = move(source, target, lambda *one: shown.append(one))
    assert {m.table: m.rows for m in there} == {
        "births": 1, "nodes": 1, "records": 1, "counters": 1, "figures": 1, "collisions": 1, "restored_days": 1,
        "dead_letters": 4, "ledger": 4, "archive_days": 0, "removed_days": 0, "removals": 0, "rollup_days": 0,
        "rollup_hours": 0,
    }  # fmt: skip
    assert ("ledger", 4, 4) in shown
    assert await contents(source) == before
    letters = DeadLetters(db := StateDb(target))
    await db.open()
    await letters.keep([Letter("sample", KEY._replace(epoch="e2"), "p", 99, "why", b"x", "flow", digest="d")], 2)
    newest = await letters.newest()
    await db.close()
    assert sorted(letter["id"] for letter in newest) == [1, 2, 3, 4, 5], "numbers go on"
    again = move(target, back)
    assert {m.table: m.sha256 for m in again if m.table != "dead_letters"} == {
        m.table: m.sha256 for m in there if m.table != "dead_letters"
    }
    assert await contents(back) == await contents(target)
    assert (await contents(back))[1:] == before[1:]
    assert (info(back).tables["dead_letters"], info(back).schema) == (5, info(source).newest)
    assert info(target).bytes > 0


async def test_many_rows_go_in_pieces(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "ROWS", 3)
    source, target = tmp_path / "state.db", postgres.new()
    await fill(source, 8)
    shown: list[tuple[str, int, int]] = []
    move(source, target, lambda *one: shown.append(one))
    assert [done for name, done, _ in shown if name == "ledger"] == [0, 3, 6, 8]


async def test_a_running_host_is_not_moved_away_from(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "LOOK_S", 0.0)
    source, target = tmp_path / "state.db", postgres.new()
    await fill(source)
    for where, told in ((source, "in use .*: stop the host first"), (target, "a host is connected to")):
        db = StateDb(where)
        await db.open()
        with pytest.raises(ConfigError, match=told):
            await asyncio.to_thread(move, source, target)
        await db.close()


async def test_a_target_with_content_another_schema_or_nothing_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    source, target = tmp_path / "state.db", postgres.new()
    await fill(source)
    await fill(target)
    before = await contents(target)
    with pytest.raises(ConfigError, match=r"is not empty: .*births.* have rows; give an empty database"):
        move(source, target)
    assert await contents(target) == before
    with pytest.raises(ConfigError, match="where the state is already"):
        move(source, source)
    with pytest.raises(ConfigError, match="there is no state file"):
        move(tmp_path / "none.db", postgres.new())
    with pytest.raises(ConfigError, match="there is no state file"):
        info(tmp_path / "none.db")
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(ConfigError, match="is no state file"):
        move(tmp_path / "rubbish.db", postgres.new())
    with sqlite3.connect(source) as con:
        con.execute("UPDATE alembic_version SET version_num = '0003'")
    con.close()
    with pytest.raises(ConfigError, match="has schema 0003, this program has"):
        move(source, postgres.new())
    with pytest.raises(StoreDown, match="does not exist"):
        move(source, PostgresDb("127.0.0.1", "nowhere", postgres.port, "gaugeline"))


async def test_a_move_that_fails_leaves_nothing_behind(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, file = tmp_path / "state.db", postgres.new(), tmp_path / "new.db"
    await fill(source)

    def lossy(con: object, table: object) -> object:
        return moving.Content(next(counted), "")

    counted = iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr(moving, "content", lossy)
        for to in (target, file):
            with pytest.raises(ConfigError, match="nothing was moved"):
                move(source, to)
    assert not file.exists()
    assert info(target).schema is None
    assert sum(m.rows for m in move(source, target)) == 17
    db = StateDb(target)
    await db.open()
    assert await db.run(lambda con: con.execute(text("SELECT count(*) FROM ledger")).scalar()) == 5
    await db.close()


def test_the_command_says_what_to_change(
    tmp_path: Path, postgres: Postgres, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(fill(tmp_path / "gaugeline-state.db"))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "cloud.yaml").write_text("state: gaugeline-state.db\n")
    code, told = said("state", "info", "--config", "cloud.yaml")
    assert (code, "dead_letters" in told, "schema 00" in told) == (0, True, True)
    assert json.loads(said("state", "info", "--json")[1])["tables"]["ledger"] == 5
    assert "say where it is to be" in said("state", "move")[1]
    assert "a state file has no password" in said("state", "move", "--to", "x.db", "--password-file", "password")[1]
    target = postgres.new()
    url = postgres.url(target.database)
    assert "No such file" in said("state", "move", "--to", url, "--password-file", "none")[1]
    code, told = said("state", "move", "--config", "cloud.yaml", "--to", url, "--password-file", "password")
    assert code == 0, told
    assert f"state: {{url: {url}, password_file: password}}" in told
    assert "17 rows are moved and read back" in told
    code, told = said("state", "move", "--to", url)
    assert (code, "is not empty" in told) == (1, True)
    assert (tmp_path / "gaugeline-state.db").exists()
    found = json.loads(said("state", "move", "--state", url, "--to", "back.db", "--json")[1])
    assert (found["config"], len(found["tables"])) == ("state: back.db", 14)
    code, told = said("state", "info", "--state", url.replace(target.database, "nowhere"))
    assert (code, "does not exist" in told) == (1, True)


def test_who_watches_sees_how_far_it_is(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(tmp_path / "state.db"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert (
        main(["state", "move", "--state", str(tmp_path / "state.db"), "--to", postgres.url(postgres.new().database)])
        == 0
    )
    assert "ledger" in capsys.readouterr().err
