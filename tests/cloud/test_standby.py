"""Two hosts with one id beside one PostgreSQL and one InfluxDB: one is active, the other one takes its place."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import urllib.error
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import pytest

from cloud.cli import main
from cloud.duty import Duty
from tests.cloud.hosts import HostProcess, running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import InfluxDB, Mosquitto, Postgres
from wire.ids import NodeId
from wire.topic import state_topic

NODE = NodeId("plant", "gw-1")
LEASE_S = 1.0


class Plant:
    """Host a and host b, and a listener to their STATE."""

    def __init__(self, folder: Path, mosquitto: Mosquitto, influxdb: InfluxDB, state: str) -> None:
        self.said: list[bool] = []
        self.database = f"db-{uuid4().hex}"
        self.influxdb, self.mosquitto = influxdb, mosquitto
        self.a, self.b = (self._host(folder / name, name, state) for name in ("host-a", "host-b"))

    def _host(self, folder: Path, name: str, state: str) -> HostProcess:
        folder.mkdir()
        server = self.influxdb.url.removeprefix("http://")
        (folder / "cloud.yaml").write_text(
            f"broker: {self.mosquitto.url}\nstore: influxdb+v1://{server}/{self.database}\nstate: {state}\n"
            f"standby: {{name: {name}, lease_s: {LEASE_S}}}\narchive: ../archive\n"
        )
        return HostProcess(folder, ["--config", "cloud.yaml"])

    async def health(self, host: HostProcess) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.to_thread(host.get, "/api/health"))
        return found

    async def until_role(self, host: HostProcess, role: str, problems: bool = False) -> dict[str, Any]:
        return await self.until(host, lambda h: h["role"] == role and bool(h["problems"]) == problems)

    async def until(self, host: HostProcess, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(40):
            while not true(found := await self.health(host)):
                await asyncio.sleep(0.1)
            return found

    async def start(self) -> None:
        await asyncio.to_thread(self.a.start)
        await self.until_role(self.a, "active")
        await asyncio.to_thread(self.b.start)
        await self.until(self.b, lambda h: h["role"] == "standby" and h["lease"]["holder"] == "host-a")

    async def listen(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self.mosquitto.port) as mqtt:
            await mqtt.subscribe(state_topic("gaugeline"), 1)
            async for message in mqtt.messages:
                self.said.append(json.loads(bytes(message.payload))["online"])

    async def archived(self, host: HostProcess) -> dict[str, int]:
        """Samples of each day in the archive, after a run there."""
        code, text = await asyncio.to_thread(command, "archive", "run", "--url", host.url)
        assert code == 0, text
        place = str(host.folder.parent / "archive")
        code, text = await asyncio.to_thread(command, "archive", "list", "--json", "--path", place)
        return {one["day"]: one["rows"] for one in json.loads(text)["days"]}

    async def balance(self, host: HostProcess, gw: SmallGateway, produced: int) -> dict[str, Any]:
        await gw.say_counters()
        async with asyncio.timeout(20):
            while True:
                found: dict[str, Any] = json.loads(await asyncio.to_thread(host.get, "/api/balance"))
                if found["produced"] == produced:
                    return found
                await asyncio.sleep(0.1)

    def end(self) -> None:
        for host in (self.a, self.b):
            if host.process is not None and host.process.poll() is None:
                host.process.send_signal(signal.SIGCONT)
                host.kill()


@pytest.fixture
async def plant(tmp_path: Path, mosquitto: Mosquitto, influxdb: InfluxDB, postgres: Postgres) -> AsyncIterator[Plant]:
    found = Plant(tmp_path, mosquitto, influxdb, str(postgres.new()))
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        found.end()


def command(*words: str) -> tuple[int, str]:
    """In this process: a new one takes longer to begin than to ask."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    return code, out.getvalue() or err.getvalue()


async def publish(gw: SmallGateway, batches: int, pause_s: float = 0.003) -> None:
    for _ in range(batches):
        first = T0 + len(gw.batches) * 10
        await gw.publish(gw.put("pump-1", [row(first + i, 1.0 + i) for i in range(5)]))
        await asyncio.sleep(pause_s)


async def test_a_paused_and_a_killed_host_are_replaced_and_nothing_is_lost_or_doubled(plant: Plant) -> None:
    await plant.start()
    assert plant.a.process is not None
    async with SmallGateway(NODE, tags("pump-1")).connected(plant.mosquitto.port) as gw:
        await publish(gw, 30)
        await until(lambda: gw.confirmed, 20)
        await publish(gw, 30, 0)
        os.kill(plant.a.process.pid, signal.SIGSTOP)
        await publish(gw, 30)
        seen = await plant.until_role(plant.b, "active")
        taken = seen["lease"]["token"]  # on a machine that is too busy it may lose its own lease and take it again
        assert (seen["lease"]["holder"], taken > 1) == ("host-b", True)
        await gw.drain(40, every_s=1.0)
        sessions = plant.b.log.count("broker is available")
        os.kill(plant.a.process.pid, signal.SIGCONT)
        # It knows at once that its time is over, and who has taken over when it has looked at the lease.
        seen = await plant.until(plant.a, lambda h: h["role"] == "standby" and h["lease"]["holder"] == "host-b")
        assert (seen["status"], seen["problems"]) == ("standby", [])
        assert "this host is not active any more" in plant.a.log
        await publish(gw, 30)
        await until(lambda: len(gw.confirmed) > 100, 20)
        kept = (await plant.health(plant.b))["lease"]["token"] == taken
        assert not kept or plant.b.log.count("broker is available") == sessions, "its session was not taken away"
        await until(lambda: plant.said[-1], 20)
        rows = 5 * len(gw.batches)
        await gw.drain(40)
        assert await plant.archived(plant.b) == {"2023-11-14": rows}
        code, text = await asyncio.to_thread(command, "archive", "run", "--url", plant.a.url)
        assert (code, "host-b is active: ask that one" in text) == (1, True)
        await publish(gw, 10)
        await asyncio.to_thread(plant.b.kill)
        await publish(gw, 30)
        assert (await plant.until_role(plant.a, "active"))["lease"]["token"] > taken
        await gw.drain(40, every_s=1.0)
        balance = await plant.balance(plant.a, gw, 5 * 160)
    assert (balance["ok"], balance["stored"], balance["lost"], balance["collided"]) == (True, 800, 0, 0)
    assert gw.refused_ranges == 0
    assert await plant.archived(plant.a) == {"2023-11-14": 800}, "what the old host had marked too"
    assert await asyncio.to_thread(plant.a.stop) == 0
    assert "Traceback" not in plant.a.log + plant.b.log
    assert not plant.said[-1]


async def test_while_postgresql_is_down_nobody_is_active_and_afterwards_one_is(
    tmp_path: Path, mosquitto: Mosquitto, influxdb: InfluxDB, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Postgres()
    plant = Plant(tmp_path, mosquitto, influxdb, "")
    listening = asyncio.create_task(plant.listen())
    try:
        server.start()
        for host in (plant.a, plant.b):
            config = host.folder / "cloud.yaml"
            config.write_text(config.read_text().replace("state: \n", f"state: {server.url('postgres')}\n"))
        await plant.start()
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(plant.b.get, "/")
        assert "host-a is active: ask that one" in refused.value.read().decode()
        assert main(["audit", "--url", plant.b.url]) == 1
        assert "host-b) is the standby; host-a is active" in capsys.readouterr().err
        async with SmallGateway(NODE, tags("pump-1")).connected(mosquitto.port) as gw:
            await publish(gw, 20)
            await until(lambda: len(gw.confirmed) == 20, 20)
            # As a server whose machine stands still: it neither answers nor refuses.
            processes = server.all_processes()
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            try:
                await publish(gw, 20)
                await plant.until_role(plant.a, "standby", problems=True)
                await until(lambda: plant.said[-1] is False, 20)
                await publish(gw, 20)
                assert len(gw.confirmed) == 20
            finally:
                for pid in processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            await until(lambda: plant.said[-1] is True, 40)
            await gw.drain(40, every_s=1.0)
            roles = {(await plant.health(host))["role"]: host for host in (plant.a, plant.b)}
            assert set(roles) == {"active", "standby"}
            balance = await plant.balance(roles["active"], gw, 300)
            assert (balance["ok"], balance["stored"], balance["collided"]) == (True, 300, 0)
            assert await asyncio.to_thread(roles["standby"].stop) == 0
            assert await asyncio.to_thread(roles["active"].stop) == 0
        assert "Traceback" not in plant.a.log + plant.b.log
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        plant.end()
        server.remove()


async def test_a_host_collects_its_own_groups_and_leaves_the_others(tmp_path: Path, mosquitto: Mosquitto) -> None:
    other = SmallGateway(NodeId("elsewhere", "gw-1"), tags("pump-1"), "other")
    async with (
        running(tmp_path, mosquitto.port, duty=Duty(("plant", "plant-b"))) as host,
        other.connected(mosquitto.port),
        SmallGateway(NODE, tags("pump-1")).connected(mosquitto.port) as gw,
    ):
        await publish(other, 3)
        await publish(gw, 3)
        await until(lambda: len(gw.confirmed) == 3)
        assert other.confirmed == set()
        assert list(host.collector.session.nodes) == [NODE]
    assert Duty().covers(other.node)
    assert not Duty(("plant",)).covers(other.node)
