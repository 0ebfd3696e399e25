"""Sites in this process: who is online, the balance, and what is said while the database is away."""

from __future__ import annotations

from pathlib import Path

import httpx
from starlette.datastructures import Headers

from cloud.api.balance import desk_router
from cloud.api.sites import router
from cloud.guard import refusal
from tests.cloud.api.test_paging import client
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.ids import NodeId


async def test_sites_while_gateways_come_and_go_and_while_the_database_is_away(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    near, far = NodeId("plant-a", "gw-1"), NodeId("plant-b", "gw-2")
    async with running(tmp_path, mosquitto.port) as host:
        http = client(router(host.host, host.desk), desk_router(host.desk))

        async def sites(**asked: str | int) -> list[dict[str, object]]:
            answer = await http.get("/api/sites", params=asked)
            assert answer.status_code == 200, answer.text
            found: list[dict[str, object]] = answer.json()["items"]
            return found

        assert await sites() == []
        async with (
            SmallGateway(far, tags("fan-1", "flow")).connected(mosquitto.port),
            SmallGateway(near, tags("pump-1", "flow")).connected(mosquitto.port) as gw,
        ):
            await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
            await gw.drain()
            await host.balance_after(gw)
            await until(lambda: len(host.desk.all_nodes()) == 2)
            first, second = await sites()
            assert (first["id"], first["online"], first["tags"]) == ("plant-a", 1, 1)
            assert first["balance"] is not None
            assert (second["id"], second["online"]) == ("plant-b", 1)
            nodes = (await http.get("/api/nodes")).json()
            assert [n["node"] for n in nodes] == ["plant-a/gw-1", "plant-b/gw-2"]
            window = await http.get("/api/window", params={"from_ms": T0, "to_ms": T0 + 1, "gateway": "gw-1"})
            assert (window.json()["ok"], window.json()["batches"]) == (True, 1)
            refill = await http.post("/api/refill", json={"from_ms": T0, "to_ms": T0 + 1, "gateway": "plant-b/gw-2"})
            assert refill.json() == {"asked": ["plant-b/gw-2"], "away": []}
        await until(lambda: not any(n["state"] == "alive" for n in host.desk.all_nodes()))
        assert [s["online"] for s in await sites(balance="false")] == [0, 0]
        page = await http.get("/api/sites", params={"limit": 1})
        assert [s["id"] for s in await sites(after=page.json()["next"])] == ["plant-b"]
        await host.kept.store.close()
        assert [s["balance"] for s in await sites()] == [None, None]
        await http.aclose()


def test_what_the_guard_says() -> None:
    assert refusal(Headers({"host": "localhost:8080"})) is None
    assert refusal(Headers({"host": "[::1]:8080", "origin": "http://[::1]:8080"})) is None
    assert (refusal(Headers({})) or (0,))[0] == 421
    assert (refusal(Headers({"host": "localhost", "origin": "https://a.example"})) or (0,))[0] == 403
    assert httpx.codes(421).name == "MISDIRECTED_REQUEST"
