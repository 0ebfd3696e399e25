"""Who may ask: this machine, and no page of somewhere else. What fails is told without a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from cloud.api import problems
from cloud.cli import main
from cloud.config import load_config
from cloud.front import Front, Shown, listening
from cloud.loopback import is_loopback, names_loopback
from tests.cloud.api.conftest import Plant
from tests.servers import free_port
from wire.errors import ConfigError, StoreDown


def test_which_names_are_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "", "gw-1")))
    assert all(map(names_loopback, ("127.0.0.1:8080", "[::1]:80", "localhost", "localhost:9")))
    assert not any(map(names_loopback, ("evil.example:8080", "[::1", "127.0.0.1.evil.example", "", "a@b", "::1")))


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8080", "192.168.1.5:8080", "127.0.0.1.nip.io"])
def test_a_foreign_host_header_is_refused(plant: Plant, name: str) -> None:
    for path in ("/", "/api/health", "/static/x", "/openapi.json"):
        answer = httpx.get(plant.url + path, headers={"Host": name}, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")
        assert "ssh -L" in answer.json()["detail"]


def test_a_page_of_another_origin_is_refused(plant: Plant) -> None:
    for origin in ("https://evil.example", "null", "http://192.168.1.5:8080"):
        answer = httpx.post(f"{plant.url}/api/refill", headers={"Origin": origin}, trust_env=False)
        assert (answer.status_code, answer.json()["status"]) == (403, 403)
    own = httpx.get(f"{plant.url}/api/health", headers={"Origin": "http://localhost:8080"}, trust_env=False)
    assert own.status_code == 200


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "192.168.1.5:80", "[::]:8080", "plant.example:80"])
def test_an_address_that_others_reach_is_refused_before_anything_starts(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="no users and roles yet"):
        load_config(None, {"http": address})
    assert main(["run", "--http", address, "--state", str(tmp_path / "s.db")]) == 1
    assert "ssh -L" in capsys.readouterr().err
    assert not (tmp_path / "s.db").exists()


async def test_faults_are_told_without_a_traceback_and_half_an_answer_is_never_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    problems.add(app)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret detail")

    @app.get("/down")
    async def down() -> None:
        raise StoreDown("no database")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a,b\n"
            raise StoreDown("gone in the middle")

        return StreamingResponse(pieces())

    front, port, shown = Front(), free_port(), Shown()
    shown.app = app
    sock = listening(("127.0.0.1", port))
    serving = asyncio.create_task(front.serve(sock))
    front.show(shown)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
        answer = await http.get("/broken")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "secret" not in answer.text
        assert "its log has the traceback" in answer.json()["detail"]
        answer = await http.get("/down")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "no database" in answer.json()["detail"]
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/half")
    assert "an answer broke off" in caplog.text
    front.end()
    await serving
    sock.close()
