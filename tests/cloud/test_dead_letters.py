"""Dead letters: kept once, within bounds, and never lost from the balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.dead_letters import FOLDED, DeadLetters, Letter
from cloud.state.db import StateDb
from cloud.store.port import BatchKey
from wire.errors import StoreDown
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateDb]:
    is_file = request.param == "sqlite"
    found = StateDb(tmp_path / "state.db" if is_file else request.getfixturevalue("postgres").new())
    await found.open()
    yield found
    await found.close()


def batch(number: int, samples: int = 3, size: int = 10) -> list[Letter]:
    key = BatchKey(NODE, "e1", number)
    return [Letter("sample", key, "pump", i, "why", b"x" * size, f"t{i}") for i in range(samples)]


async def test_without_room_one_short_row_stands_for_a_batch_and_the_count_stays(
    db: StateDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.dead_letters.MOST_ROWS", {"evidence": 2, "batches": 7})
    for letters in (DeadLetters(db), DeadLetters(db)):  # sent again, also after a restart: nothing is counted twice
        for number in range(1, 5):
            await letters.keep(batch(number), 1)
        assert sum((await letters.counts()).values()) == 12
    summary = await letters.summary()
    assert summary["sample"] == {"kept": 8, "bytes": 60, "samples": 12, "left_out": 6}
    rows = await letters.newest()
    assert [(r["number"], r["samples"]) for r in rows if r["position"] == FOLDED] == [(4, 3), (3, 3)]
    assert [r["content"] for r in rows if r["position"] == FOLDED] == ["", ""]


async def test_contents_are_bounded_in_bytes(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.dead_letters.MOST_CONTENT", {"evidence": 150_000, "batches": 1_000})
    letters = DeadLetters(db)
    await letters.keep(batch(1, 3, 300), 1)
    await letters.keep(batch(2, 3, 300), 1)
    for i in range(5):
        await letters.keep_message(NODE, "", "why", b"\xff" * 100_000, i)
    summary = await letters.summary()
    assert (summary["sample"]["bytes"], summary["sample"]["left_out"]) == (900, 3)
    assert summary["message"] == {"kept": 2, "bytes": 2 * 65_536, "samples": 0, "left_out": 3}


async def test_evidence_of_strangers_is_bounded_too(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.dead_letters.MOST_ROWS", {"evidence": 3, "batches": 7})
    letters = DeadLetters(db)
    for i in range(5):
        await letters.keep([Letter("sample", BatchKey(NODE, "", i), "d", 0, "why", digest=f"d/{i}")], i)
    for i in range(2):
        await letters.keep_message(NODE, "", "why", b"", i)
    summary = await letters.summary()
    assert (summary["sample"]["kept"], summary["sample"]["left_out"]) == (3, 2)
    assert (summary["message"]["kept"], summary["message"]["left_out"]) == (0, 2)


async def test_one_kind_can_be_asked_for_and_one_letter_read_whole(db: StateDb) -> None:
    letters = DeadLetters(db)
    await letters.keep(batch(1, 2, 500), 1)
    await letters.keep_message(NODE, "pump", "not understood", b"\xff\x00abc", 2)
    assert [r["kind"] for r in await letters.newest()] == ["message", "sample", "sample"]
    (message,) = await letters.newest(kind="message")
    whole = await letters.one(int(str(message["id"])))
    assert whole is not None
    assert (whole["content"], whole["content_hex"], whole["bytes"]) == ("\\xff\x00abc", "ff00616263", 5)
    sample = (await letters.newest(1, kind="sample"))[0]
    assert len(str(sample["content"])) == 200
    assert await letters.one(99) is None
    await db.close()
    with pytest.raises(StoreDown):
        await letters.summary()
