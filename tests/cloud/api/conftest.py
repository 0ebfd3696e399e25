"""One running host with two gateways' data, for everything that only reads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.ids import NodeId

NODES = (NodeId("plant-1", "gw-1"), NodeId("plant-2", "gw-1"))
BATCHES = 20


@dataclass
class Plant:
    """Each gateway: pump-1 and fan-1 with a tag `flow`, BATCHES batches of each, a dead letter of pump-1's."""

    host: HostProcess
    broker: Mosquitto

    @property
    def url(self) -> str:
        return self.host.url


async def _produce(port: int, node: NodeId, host: HostProcess) -> None:
    async with SmallGateway(node, tags("pump-1", "flow") + tags("fan-1", "flow")).connected(port) as gw:
        for i in range(BATCHES):
            await gw.publish(gw.put("pump-1", [row(T0 + 1000 * i, float(i))]))
            await gw.publish(gw.put("fan-1", [row(T0 + 1000 * i, -float(i))]))
        await gw.publish(gw.put("pump-1", [row(1, 2.0)]))
        await gw.drain()
        await gw.say_counters()
        async with asyncio.timeout(60):
            while json.loads(await asyncio.to_thread(host.get, f"/api/balance?gateway={node}"))["in_flight"]:
                await asyncio.sleep(0.1)


def _once_well(host: HostProcess) -> None:
    """Subscribed: a birth that it did not hear is asked for, and what was sent before is history and shown nowhere."""
    until = time.monotonic() + 60
    while "broker is available" not in host.log or json.loads(host.get("/api/health"))["problems"]:
        assert time.monotonic() < until, host.log
        time.sleep(0.05)


@pytest.fixture(scope="package")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder: Path = tmp_path_factory.mktemp("plant")
    broker = Mosquitto(folder / "mosquitto")
    broker.start()
    (folder / "cloud.yaml").write_text("retention: {hot_days: 36500}\n")
    options = ["--config", str(folder / "cloud.yaml"), "--archive", str(folder / "archive")]
    host = HostProcess(folder, ["--broker", broker.url, *options])
    try:
        host.start()
        _once_well(host)
        for node in NODES:
            asyncio.run(_produce(broker.port, node, host))
        yield Plant(host, broker)
        assert host.stop() == 0
        assert "Traceback" not in host.log
    finally:
        if host.process is not None and host.process.poll() is None:
            host.kill()
        broker.stop()
