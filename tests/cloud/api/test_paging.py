"""Pages while data comes in: what was there all the time comes once, whatever is added or goes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud import ledger_pages
from cloud.api import dead_letters, ledger, problems, tags
from cloud.dead_letters import DeadLetters, Letter
from cloud.host import Host
from cloud.ledger import Ledger, LedgerEntry
from cloud.ledger_pages import Entries, LedgerPages
from cloud.live import LiveValues
from cloud.state.db import StateDb
from cloud.state.ledger import SqlLedger
from cloud.state.place import StateChoice
from cloud.store.embedded import EmbeddedLedger, EmbeddedStore
from cloud.store.influx import InfluxStore
from cloud.store.influx_http import InfluxHttp
from cloud.store.port import BatchKey
from tests.cloud.hosts import running
from tests.servers import Mosquitto
from wire.ids import NodeId
from wire.tag import Datatype

T0 = 1_700_000_000_000


def client(*routers: Any) -> httpx.AsyncClient:
    app = FastAPI()
    problems.add(app)
    for router in routers:
        app.include_router(router, prefix="/api")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host")


async def walked(
    http: httpx.AsyncClient, path: str, between: Callable[[int], Awaitable[object]], **asked: str | int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    pages = 0
    while True:
        page = (await http.get(path, params={**asked, **after})).json()
        assert len(page["items"]) <= int(asked.get("limit", 100))
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}
        await between(pages)
        pages += 1
        assert pages < 100


async def test_tags_and_values_page_by_page(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host:
        view: Host = host.host
        live: LiveValues = view.live
        wanted = {(g, n, d, t) for g in "ac" for n in "ac" for d in ("", "c") for t in ("b", "d", "f/x")}
        for g, n, d in sorted({place[:3] for place in wanted}, reverse=True):
            live.born(NodeId(g, n), d, [(x, Datatype.DOUBLE, {}) for x in ("b", "d", "f/x")])

        async def grow(page: int) -> None:
            node = NodeId("abc"[page % 3], f"b{page}")
            live.born(node, "new", [("x", Datatype.DOUBLE, {})])
            live.born(NodeId("c", "c"), "c", [(x, Datatype.DOUBLE, {}) for x in ("a", "b", "d", "f/x", "z")])
            live.forget(NodeId("abc"[(page - 1) % 3], f"b{page - 1}"))

        async with client(tags.router(view)) as http:
            for path in ("/api/tags", "/api/values"):
                for limit in (1, 5, 24):
                    found = [
                        (i["group"], i["node"], i["device"], i["tag"])
                        for i in await walked(http, path, grow, limit=limit)
                    ]
                    assert len(found) == len(set(found)), "nothing is doubled"
                    assert wanted <= set(found), "nothing is skipped"
                    assert found == sorted(found)
            own = await walked(http, "/api/tags", grow, limit=2, device="", group="a", node="c")
            assert [i["tag"] for i in own] == ["b", "d", "f/x"]


async def test_dead_letters_page_by_page(tmp_path: Path) -> None:
    db = StateDb(tmp_path / "state.db")
    await db.open()
    letters = DeadLetters(db)

    async def put(n: int, kind: str = "sample") -> None:
        key = BatchKey(NodeId("g", "n"), "e", n)
        await letters.keep([Letter(kind, key, "d", 0, "why", b"x", digest=f"{n}")], T0 - n)

    for n in range(10):
        await put(n, "sample" if n % 2 else "conflict")
    try:
        async with client(dead_letters.router(letters)) as http:
            found = await walked(http, "/api/dead-letters", lambda page: put(100 + page), limit=3)
            assert [i["number"] for i in found] == list(range(9, -1, -1)), "newest first; later ones do not push"
            of_kind = await walked(
                http, "/api/dead-letters", lambda page: put(200 + page, "conflict"), limit=2, kind="conflict"
            )
            assert [i["number"] for i in of_kind] == [8, 6, 4, 2, 0]
    finally:
        await db.close()


@asynccontextmanager
async def ledger_of(
    folder: Path, kind: str, place: StateChoice | None = None
) -> AsyncIterator[tuple[Callable[..., Awaitable[None]], LedgerPages]]:
    db = StateDb(place or folder / "state.db")
    await db.open()
    store = EmbeddedStore(folder / "s.duckdb")
    await store.open()
    book: Ledger = EmbeddedLedger(store.file) if kind == "duckdb" else SqlLedger(db)

    async def add(*entries: LedgerEntry) -> None:
        async with store.transaction():
            await book.add(entries)

    influx = InfluxStore(InfluxHttp("http://127.0.0.1:1", "x"))
    try:
        yield add, ledger_pages.ledger_pages(store if kind == "duckdb" else influx, db)
    finally:
        await store.close()
        await db.close()


def entry(group: str, epoch: str, number: int, device: str = "d", at_ms: int = T0) -> LedgerEntry:
    return LedgerEntry(BatchKey(NodeId(group, "n"), epoch, number), device, "ab", 3, 1, 1, at_ms, at_ms + 10)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgresql"])
async def test_the_ledger_page_by_page(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(ledger_pages, "AT_ONCE", 4)
    place = request.getfixturevalue("postgres").new() if kind == "postgresql" else None
    async with ledger_of(tmp_path, kind, place) as (add, pages):
        wanted = [(g, e, n) for g in ("a", "b") for e in ("e1", "e2") for n in range(1, 8)]
        await add(*(entry(g, e, n, "odd" if n % 2 else "even", T0 + 100 * n) for g, e, n in reversed(wanted)))
        more = iter(range(1000, 2000))

        async def grow(page: int) -> None:
            if page < 9:
                await add(entry("a", "e0", next(more), "new"), entry("b", "e2", next(more), "new"))

        async with client(ledger.router(pages)) as http:
            for limit in (1, 3, 100):
                found = await walked(http, "/api/ledger", grow, limit=limit)
                keys = [(i["group"], i["epoch"], i["number"]) for i in found]
                assert keys == sorted(set(keys))
                assert set(wanted) <= set(keys)
            assert {(i["samples"], i["stored"], i["dead_letters"], i["collided"]) for i in found} == {(3, 1, 1, 1)}

            async def numbers(**asked: Any) -> list[tuple[str, str, int]]:
                items = await walked(http, "/api/ledger", lambda page: asyncio.sleep(0), limit=2, **asked)
                return [(i["group"], i["epoch"], i["number"]) for i in items]

            assert await numbers(device="odd", group="b") == [k for k in wanted if k[0] == "b" and k[2] % 2]
            assert await numbers(device="odd", epoch="e2") == [k for k in wanted if k[1] == "e2" and k[2] % 2]
            exact = {"group": "a", "node": "n", "epoch": "e1", "number_from": 3, "number_to": 5}
            assert await numbers(**exact) == [("a", "e1", n) for n in (3, 4, 5)]
            in_time = {"from_ms": T0 + 211, "to_ms": T0 + 400, "group": "a"}
            assert await numbers(**in_time) == [("a", "e1", 3), ("a", "e2", 3)]
            assert await numbers(node="nobody") == []


async def test_one_page_of_the_sql_ledger_looks_at_so_many_entries_and_no_more(tmp_path: Path) -> None:
    async with ledger_of(tmp_path, "sqlite") as (add, whole):
        await add(*(entry("a", "e", n, "rare" if n == 39 else "often") for n in range(40)))
        pages = LedgerPages(whole._read, at_once=10)
        after, sizes = None, []
        for _ in range(5):
            rows, after = await pages.page(Entries(device="rare"), 100, after)
            sizes.append(len(rows))
            if after is None:
                break
        assert sizes == [0, 0, 0, 1, 0]
        rows, after = await pages.page(Entries("a", "n", epoch="e", number_from=39), 100, None)
        assert (len(rows), after) == (1, None), "what the key finds is found at once"
