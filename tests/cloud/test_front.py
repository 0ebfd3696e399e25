"""The page's server: what it shows may change while it serves; and what a standby shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from cloud.front import Front, Shown, listening
from cloud.lease import Lease, Seen, Term
from cloud.standby import Turns, waiting_room
from cloud.state.place import PostgresDb
from tests.servers import free_port


def shown(word: str) -> Shown:
    found = Shown()
    app = FastAPI()

    @app.get("/")
    async def page() -> str:
        return word

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield f"{word} begins\n"
            await found.closing.wait()
            yield f"{word} ends\n"

        return StreamingResponse(lines())

    found.app = app
    return found


async def test_one_application_follows_the_other_at_the_same_address_and_open_streams_end() -> None:
    front, port = Front(), free_port()
    sock = listening(("127.0.0.1", port))
    serving = asyncio.create_task(front.serve(sock))
    first, second = shown("first"), shown("second")
    front.show(first)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
        assert (await http.get("/")).json() == "first"
        async with http.stream("GET", "/stream") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "first begins"
            front.show(second)
            assert (await http.get("/")).json() == "second"
            await first.end()
            assert await anext(lines) == "first ends"
        assert front.serving
    front.end()
    await serving
    sock.close()


async def test_a_standby_says_what_it_is_and_who_is_active() -> None:
    lease = Lease(PostgresDb("127.0.0.1", "x", free_port(), "u"), "gaugeline", "host-b", 5.0)
    turns = Turns(lease)
    transport = httpx.ASGITransport(waiting_room(turns))
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:
        health = (await http.get("/api/health")).json()
        assert (health["status"], health["role"], health["name"]) == ("standby", "standby", "host-b")
        assert "nobody is active at this moment" in (await http.get("/api/balance")).json()["detail"]
        lease.seen = Seen("host-<a>", 7, 1, 3.21)
        health = (await http.get("/api/health")).json()
        assert health["lease"] == {"holder": "host-<a>", "token": 7, "since_ms": 1, "expires_s": 3.2}
        page = await http.get("/")
        assert page.status_code == 503
        assert "host-&lt;a&gt; is active: ask that one" in page.text
        assert "备用主机" in page.text
        answer = await http.post("/api/refill")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        turns.problem = "nobody can know"
        health = (await http.get("/api/health")).json()
        assert (health["status"], health["problems"]) == ("degraded", ["nobody can know"])
        assert "waits: nobody can know" in (await http.get("/")).text
    turns.term = Term(lease, 8, 0.0, 1)
    assert (turns.as_json()["role"], turns.as_json()["status"]) == ("leaving", "leaving")
